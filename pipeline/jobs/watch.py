"""Whether somebody follows a job: a lock that whoever follows holds, and that ends with the process."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.jobs.submission import RECORDS


@contextmanager
def following(workspace: Path, stage: str) -> Iterator[None]:
    """Says that the stage's job is followed, as long as the block lasts."""
    with _lock(workspace, stage).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def is_followed(workspace: Path, stage: str) -> bool:
    """Whether anybody follows the stage's job now."""
    with _lock(workspace, stage).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _lock(workspace: Path, stage: str) -> Path:
    folder = workspace / RECORDS
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{stage}.followed"
