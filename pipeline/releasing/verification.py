"""Whether the remote holds every object of a release unharmed: read back, compared, and put right where it does not."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline.command import progress
from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.releasing.storage import Storage, away

CHUNK_BYTES = 2**20
DIR = ".dir"  # what the digest of a folder's list ends with


def folder_objects(storage: Storage, folder_md5: str) -> list[str]:
    """The objects that a folder consists of: its list and each of its files, named by their MD5.

    The list is read from the cache, or else from the remote.

    Raises:
        UserError: Neither has it unharmed.
    """
    return [folder_md5, *sorted(set(listed_files(storage, folder_md5).values()))]


def listed_files(storage: Storage, folder_md5: str) -> dict[str, str]:
    """DVC's digest of each file of a folder, by its path, from an unharmed copy of the folder's list.

    Raises:
        UserError: Neither the cache nor the remote has one.
    """
    content = next((each for each in _copies(storage, folder_md5) if is_named(each, folder_md5)), None)
    if content is None:
        raise UserError(
            f"Neither the cache nor the remote '{storage.name}' has the list {folder_md5} of the dataset's files "
            f"unharmed. Push it from a clone that has it. {storage.absent}"
        )
    return parse_list(content)


def parse_list(content: bytes) -> dict[str, str]:
    """DVC's digest of each file of a folder, by its path, from the folder's list."""
    return {str(entry["relpath"]): str(entry["md5"]) for entry in json.loads(content)}


class Verifier:
    """Reads objects back from the remote, and remembers what it found unharmed.

    An object is remembered by its digest and by what the file system says of it (size, ETag or times): one that changed
    since is read again.

    Args:
        storage: The remote.
        memory: The file that remembers; what is damaged in it counts as not there.
        jobs: Objects read at a time; a chunk of each is in memory.
    """

    def __init__(self, storage: Storage, memory: Path, jobs: int) -> None:
        self._storage, self._memory, self._jobs = storage, memory, jobs
        self._known: dict[str, dict[str, list[str]]] = _read_memory(memory)
        self.read_back = 0

    def faults(self, objects: list[str]) -> dict[str, str]:
        """What is wrong with each object: `missing` or `corrupt`; those unharmed are left out.

        Raises:
            OutageError: The remote does not answer.
        """
        remote = self._storage.remote
        remote.fs.fs.invalidate_cache()
        known = self._known.setdefault(self._storage.url, {})
        found = {}
        for name, fault, signature in self._looked_at(objects):
            if fault:
                found[name] = fault
                known.pop(name, None)
            elif signature:
                known[name] = signature
        return found

    def _looked_at(self, objects: list[str]) -> Iterator[tuple[str, str | None, list[str] | None]]:
        """Each object with its fault and its signature; what was found is written down however this ends."""
        with away("Verification", self._storage), ThreadPoolExecutor(self._jobs) as pool:
            try:
                results = progress(pool.map(self._look, objects), total=len(objects), label="verify the remote")
                for name, (fault, signature, read) in zip(objects, results, strict=True):
                    self.read_back += read
                    yield name, fault, signature
            finally:
                pool.shutdown(cancel_futures=True)
                write_json(self._memory, self._known)

    def _look(self, name: str) -> tuple[str | None, list[str] | None, bool]:
        remote = self._storage.remote
        path = remote.oid_to_path(name)
        try:
            signature = _signature(remote.fs.info(path))
            if signature and self._known[self._storage.url].get(name) == signature:
                return None, signature, False
            with remote.fs.open(path, "rb") as file:
                return (None if md5_of(file) == name.removesuffix(DIR) else "corrupt"), signature, True
        except FileNotFoundError:
            return "missing", None, False


def send_again(storage: Storage, faults: dict[str, str]) -> None:
    """Puts objects in the place of those that are missing or corrupt on the remote.

    DVC's own push leaves both as they are: it looks at names, and at the list of a folder instead of its files.

    Raises:
        UserError: The cache does not have one of them unharmed.
        OutageError: The remote does not take them.
    """
    lost = [name for name in faults if not _in_cache(storage, name)]
    if lost:
        raise UserError(
            f"{len(lost)} objects of the release are {faults[lost[0]]} on the remote '{storage.name}' ({storage.url}) "
            f"and not unharmed in the cache either, first {lost[0]}. Run `dvc pull` from another remote, or "
            "`dvc push` in a clone that has them."
        )
    with away("Sending again", storage):
        for name, fault in progress(list(faults.items()), total=len(faults), label="send again"):
            if fault == "corrupt":
                storage.remote.delete(name)
            source = storage.cache.oid_to_path(name)
            storage.remote.add([source], storage.cache.fs, [name], check_exists=False, verify=False)


def _copies(storage: Storage, name: str) -> Iterator[bytes]:
    for place in (storage.cache, storage.remote):
        with away("Reading", storage):
            try:
                with place.fs.open(place.oid_to_path(name), "rb") as file:
                    content: bytes = file.read()
            except FileNotFoundError:
                continue
        yield content


def is_named(content: bytes, name: str) -> bool:
    """Whether an object's content is what its name says, the MD5 digest."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == name.removesuffix(DIR)


def _in_cache(storage: Storage, name: str) -> bool:
    try:
        with Path(storage.cache.oid_to_path(name)).open("rb") as file:
            return md5_of(file) == name.removesuffix(DIR)
    except FileNotFoundError:
        return False


def md5_of(file: Any) -> str:
    """The MD5 digest of a file that is open for reading, as DVC names it."""
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _signature(info: dict[str, Any]) -> list[str] | None:
    """What changes whenever an object is written; None where the file system tells nothing of the kind."""
    tag = info.get("ETag") or info.get("etag")
    times = [info.get(name) for name in ("LastModified", "last_modified", "mtime", "created", "ino")]
    if not tag and not any(times):
        return None
    return [str(each) for each in (info.get("size"), tag, *times)]


def _read_memory(file: Path) -> dict[str, dict[str, list[str]]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {str(url): dict(objects) for url, objects in content.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
