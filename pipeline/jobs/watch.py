"""Whether somebody follows a job, from whatever workspace: a lock in the job's own folder, that ends with the process.

Runs whose stage computes the same share one job, so what one of them gives up may be what another waits for.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

FOLLOWED, GIVEN_UP = "followed", "given-up"


@dataclass(frozen=True)
class Watch:
    """Who follows a job, and who ended it.

    Attributes:
        folder: The job's, under the project's root: the same for all workspaces.
    """

    folder: Path

    @contextmanager
    def following(self) -> Iterator[None]:
        """Says that the job is wanted, as long as the block lasts; waits for one who is ending it."""
        with self._lock() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            os.utime(file.fileno())
            yield

    def begin(self) -> float:
        """The time from which on to look for followers, in seconds since 1970."""
        self._lock().close()  # the file is older than that
        return time.time()

    @contextmanager
    def alone_since(self, began: float) -> Iterator[bool]:
        """Whether nobody follows the job, nor has since a time; if so, nobody begins to within the block.

        Args:
            began: What `begin` gave. Whoever has found the job since then and does not follow it yet, or no more, ends
                it by itself when it is told to.
        """
        with self._lock() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield os.fstat(file.fileno()).st_mtime <= began

    def mark(self, *, given_up: bool) -> None:
        """Says, before a job is cancelled, who does it: a task that nobody has tried again, or a person."""
        if given_up:
            (self.folder / GIVEN_UP).touch()
        else:
            (self.folder / GIVEN_UP).unlink(missing_ok=True)

    @property
    def is_given_up(self) -> bool:
        """Whether the job, if it was cancelled, was so by a task; else a person did it."""
        return (self.folder / GIVEN_UP).exists()

    def _lock(self) -> TextIO:
        self.folder.mkdir(parents=True, exist_ok=True)
        return (self.folder / FOLLOWED).open("a", encoding="utf-8")
