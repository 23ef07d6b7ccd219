"""An inbox that is a folder of this machine, or of a share that it mounts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import OutageError, UserError
from pipeline.files import write_atomic
from pipeline.inboxes.manifest import MANIFEST, REPORT
from pipeline.inboxes.store import CHUNK_BYTES, OUTCOMES, ChangedError, Entry


class FolderStore:
    """Batches in a folder; links are not followed, so that a batch holds what lies in it and nothing else.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def batches(self) -> list[str]:
        """The names of the folders that wait to be judged, sorted."""
        if not self._root.is_dir():
            raise UserError(f"There is no folder {self._root}. Make it or mount it, or name another inbox.")
        with _reachable(self._root), os.scandir(self._root) as found:
            folders = [each.name for each in found if each.is_dir(follow_symlinks=False)]
        return sorted(name for name in folders if name not in OUTCOMES and not name.startswith("."))

    def entries(self, batch: str) -> Iterator[Entry]:
        """The files of a batch, links left out."""
        base = self._root / batch
        with _reachable(base):
            for folder, _, names in os.walk(base, onerror=_raise):
                for file in (Path(folder) / name for name in names):
                    if file.is_file() and not file.is_symlink():
                        yield _entry(file.relative_to(base).as_posix(), file.stat())

    @contextmanager
    def read(self, batch: str, entry: Entry, offset: int) -> Iterator[Iterator[bytes]]:
        """Opens a file from a byte on."""
        file = self._root / batch / entry.path
        with _reachable(file):
            stream = file.open("rb")
        with stream:
            if _entry(entry.path, os.fstat(stream.fileno())) != entry:
                raise ChangedError(f"{entry.path} has changed since it was listed")
            stream.seek(offset)
            # What goes wrong with the chunks is the reader's own trouble; only the reading of them is this place's.
            yield _chunks(stream, file)

    def move(self, batch: str, manifest: Entry, target: str, report: bytes) -> None:
        """Renames a batch, at once; one of the same name that lies there already stays as it is."""
        source = self._root / batch
        with _reachable(source):
            if _entry(MANIFEST, (source / MANIFEST).stat()) != manifest:
                raise ChangedError(f"{MANIFEST} has changed since it was judged")
            write_atomic(source / REPORT, report)
            free = self._free(target)
            free.parent.mkdir(exist_ok=True)
            source.rename(free)

    def _free(self, target: str) -> Path:
        place, number = self._root / target, 1
        while place.exists():
            number += 1
            place = self._root / f"{target}.{number}"
        return place


def _chunks(stream: BinaryIO, file: Path) -> Iterator[bytes]:
    with _reachable(file):
        yield from iter(lambda: stream.read(CHUNK_BYTES), b"")


def _raise(error: OSError) -> None:
    raise error


def _entry(path: str, stat: os.stat_result) -> Entry:
    # Nanoseconds, since two files of one second would look the same; the inode tells a file put in its place.
    etag = f"{stat.st_mtime_ns}-{stat.st_size}-{stat.st_ino}"
    return Entry(path, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC), etag)


@contextmanager
def _reachable(place: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ChangedError(f"{error.filename} is gone since it was listed") from None
    except OSError as error:
        raise OutageError(f"The inbox fails at {place}: {error}. See to the disk or share; then run again.") from None
