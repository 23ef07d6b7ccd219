"""Files on the DVC remote beside its objects: bundles, checkpoints, entries of the run cache."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.files import atomic_path
from pipeline.releasing.storage import Storage, away, open_storage


@dataclass(frozen=True)
class RemoteFiles:
    """The DVC remote as a tree of files.

    Attributes:
        storage: The remote.
        fs: Its file system.
        root: Its path there.
    """

    storage: Storage
    fs: Any
    root: str

    def put(self, file: Path, path: str) -> None:
        """Stores a file.

        Raises:
            OutageError: The remote does not answer.
        """
        with self._asked(f"Storing {path}"):
            target = self._at(path)
            self.fs.makedirs(self.fs.parent(target))
            self.fs.put_file(str(file), target)

    def get(self, path: str, file: Path) -> None:
        """Fetches a file, whole or not at all.

        Raises:
            OutageError: The remote does not answer, or has no such file.
        """
        with self._asked(f"Fetching {path}"), atomic_path(file) as new:
            self.fs.get_file(self._at(path), str(new))

    def find(self, folder: str) -> list[str]:
        """The paths of all files in a folder; none where there is no folder.

        Raises:
            OutageError: The remote does not answer.
        """
        with self._asked(f"Listing {folder}"):
            self.fs.fs.invalidate_cache()
            try:
                found = list(self.fs.find(self._at(folder)))
            except FileNotFoundError:
                return []
            return sorted(self.fs.as_posix(self.fs.relpath(each, self.root)) for each in found)

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return path in self.find(path.rpartition("/")[0])

    def remove(self, folder: str) -> None:
        """Removes a folder with all that is in it.

        Raises:
            OutageError: The remote does not answer.
        """
        for path in self.find(folder):
            with self._asked(f"Removing {path}"):
                self.fs.rm_file(self._at(path))

    def _at(self, path: str) -> str:
        return str(self.fs.join(self.root, *path.split("/")))

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        with away(what, self.storage):
            yield


def open_remote_files(repo: Any) -> RemoteFiles:
    """Opens the default DVC remote.

    Args:
        repo: The DVC repository.

    Raises:
        UserError: There is none, or it is of a kind that has no place for other files.
    """
    if not repo.config["core"].get("remote"):
        raise UserError(
            "A job on another machine gets its inputs from a DVC remote, and none is configured: "
            "dvc remote add --default storage URL. The launcher 'local' needs none."
        )
    storage = open_storage(repo)
    legacy = repo.cloud.get_remote_odb(storage.name, hash_name="md5-dos2unix")  # its path is the remote's root
    return RemoteFiles(storage, legacy.fs, legacy.path)
