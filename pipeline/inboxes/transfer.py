"""Fetches the files of a batch into a staging folder: digested as they come, continued where they stopped."""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import OutageError
from pipeline.files import sha256_bytes
from pipeline.inboxes.manifest import BatchError, Manifest, ManifestFile
from pipeline.inboxes.store import CHUNK_BYTES, Entry, InterruptedTransferError, Store, in_parallel

# Bytes that differ once may have been garbled under way; twice, they are what lies there.
READINGS = 2


class _OtherBytesError(Exception):
    """A whole file came whose bytes are not those of the manifest."""


@dataclass(frozen=True)
class Pace:
    """How files are fetched.

    Attributes:
        transfers: Files under way at once.
        attempts: Attempts at the rest of a file that stopped in the midst.
        longest_pause_s: Longest pause between two of them, in seconds.
    """

    transfers: int
    attempts: int
    longest_pause_s: float


class Fetch:
    """Brings the files of one batch into `STAGING/files`; what is under way lies in `STAGING/parts`.

    Args:
        store: Where the batch lies.
        batch: Its name.
        staging: The folder, which an earlier run may have begun to fill.
        pace: How.
    """

    def __init__(self, store: Store, batch: str, staging: Path, pace: Pace) -> None:
        self._store, self._batch, self._staging, self._pace = store, batch, staging, pace
        self._stop = threading.Event()

    def all(self, manifest: Manifest, entries: Mapping[str, Entry]) -> Iterator[None]:
        """Fetches every file of a manifest, yielding as each is there and is what the manifest says.

        Args:
            manifest: What the batch holds.
            entries: Its files as the store lists them, by path.

        Raises:
            BatchError: A file's bytes are not those of the manifest.
            ChangedError: A file is another one than was listed.
            OutageError: The rest of a file does not come, also after all attempts; what came is kept.
        """
        (self._staging / "parts").mkdir(parents=True, exist_ok=True)
        pairs = [(file, entries[file.path]) for file in manifest.files]
        yield from in_parallel(lambda pair: self._one(*pair), pairs, self._pace.transfers, self._stop)

    def _one(self, file: ManifestFile, entry: Entry) -> None:
        target = self._staging / "files" / file.path
        if target.is_file() and _digest(target).hexdigest() == file.sha256:
            return
        # Named by the version it is a part of: a part of another version is never continued.
        part = self._staging / "parts" / sha256_bytes(f"{entry.path}\0{entry.etag}".encode())
        self._whole(file, entry, part)
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)

    def _whole(self, file: ManifestFile, entry: Entry, part: Path) -> None:
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

        pause = wait_random_exponential(max=self._pace.longest_pause_s)
        again = Retrying(
            stop=stop_after_attempt(READINGS),
            wait=pause,
            retry=retry_if_exception_type(_OtherBytesError),
            reraise=True,
        )
        onwards = Retrying(
            stop=stop_after_attempt(self._pace.attempts),
            wait=pause,
            retry=retry_if_exception_type(InterruptedTransferError),
            reraise=True,
        )
        try:
            again(onwards, self._rest, file, entry, part)
        except _OtherBytesError as error:
            raise BatchError(str(error)) from None
        except InterruptedTransferError as error:
            raise OutageError(
                f"The inbox stops in the midst of a file: {error}. Run again: it goes on there."
            ) from None

    def _rest(self, file: ManifestFile, entry: Entry, part: Path) -> None:
        digest = _digest(part)
        size = part.stat().st_size if part.exists() else 0
        with part.open("ab") as out:
            if size < file.bytes:
                with self._store.read(self._batch, entry, size) as chunks:
                    for chunk in chunks:
                        size += len(chunk)
                        self._check(file, size)
                        out.write(chunk)
                        digest.update(chunk)
        self._judge(file, part, size, digest.hexdigest())

    def _check(self, file: ManifestFile, size: int) -> None:
        if self._stop.is_set():
            raise OutageError("stopped, since another file of the batch failed")
        if size > file.bytes:
            raise InterruptedTransferError(f"{file.path}: more came than its {file.bytes} bytes")

    def _judge(self, file: ManifestFile, part: Path, size: int, digest: str) -> None:
        if size < file.bytes:
            raise InterruptedTransferError(f"{file.path}: it ended after {size} of {file.bytes} bytes")
        if digest != file.sha256:
            part.unlink()
            raise _OtherBytesError(f"{file.path}: its SHA-256 is {digest}, the manifest says {file.sha256}")


def _digest(file: Path) -> "hashlib._Hash":
    digest = hashlib.sha256()
    if file.exists():
        with file.open("rb") as stream:
            for chunk in iter(lambda: stream.read(CHUNK_BYTES), b""):
                digest.update(chunk)
    return digest
