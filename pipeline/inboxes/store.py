"""What an inbox asks of the place where batches lie."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import Protocol, TypeVar

CHUNK_BYTES = 2**20
DONE, REJECTED = "done", "rejected"
OUTCOMES = (DONE, REJECTED)

Element = TypeVar("Element")


class InterruptedTransferError(Exception):
    """A file stopped in the midst of its bytes; what came is good, and the rest may come at the next attempt."""


class ChangedError(Exception):
    """What was listed is gone or is another file by now."""


@dataclass(frozen=True)
class Entry:
    """A file of a batch as the place lists it.

    Attributes:
        path: Its path within the batch.
        bytes: Its size.
        modified: When it was put there, by the clock of the place.
        etag: Whatever changes when its bytes do.
    """

    path: str
    bytes: int
    modified: datetime
    etag: str


class Store(Protocol):
    """A place with a folder for each batch, and the folders `done` and `rejected` for those that were judged."""

    def batches(self) -> list[str]:
        """The names of the folders that wait to be judged, sorted.

        Raises:
            OutageError: The place is away.
            UserError: It is not there, or does not let us in.
        """
        ...

    def entries(self, batch: str) -> Iterator[Entry]:
        """The files of a batch, a page at a time; raises as `batches` does."""
        ...

    def read(self, batch: str, entry: Entry, offset: int) -> AbstractContextManager[Iterator[bytes]]:
        """Opens a file from a byte on, in chunks of `CHUNK_BYTES` at most.

        Raises:
            ChangedError: It is not the file that was listed.
            InterruptedTransferError: Its bytes stop before their end, as the chunks are read.
            OutageError: The place is away.
        """
        ...

    def move(self, batch: str, manifest: Entry, target: str, report: bytes) -> None:
        """Moves a batch below `target` with a report beside it, the manifest last; called again, it goes on.

        Raises:
            ChangedError: The manifest is not the one that was judged.
            OutageError: The place is away.
        """
        ...


def in_parallel(
    call: Callable[[Element], object], elements: Iterable[Element], width: int, stop: Event | None = None
) -> Iterator[None]:
    """Calls a function for each element in threads, yielding as each is done; the first error ends it.

    Args:
        call: The function.
        elements: What it is called with.
        width: Calls at once.
        stop: Set when nobody waits for the calls under way any more.
    """
    pool = ThreadPoolExecutor(width)
    try:
        for done in as_completed([pool.submit(call, element) for element in elements]):
            done.result()
            yield
    finally:
        if stop:
            stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
