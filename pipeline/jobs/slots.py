"""Slots of this machine, such as its GPUs: a job holds one as long as it runs, whatever becomes of its task."""

import fcntl
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

LOOK_S = 0.5


def take_slot(folder: Path, count: int, is_stopped: Callable[[], bool]) -> TextIO | None:
    """Waits for a free slot.

    Airflow's pool gives a slot away when its task ends, which is not when the job ends: a task that a person fails, or
    that is missed, leaves its job at work for a while.

    Args:
        folder: Of the locks, one for all workspaces of a project.
        count: How many slots there are.
        is_stopped: Whether to wait no more.

    Returns:
        The open file whose lock is the slot, until it is closed; None where it was stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    said = False
    while not is_stopped():
        for number in range(count):
            if slot := _taken(folder / f"{number}.lock"):
                return slot
        if not said:
            print(f"waits for one of {count} slots (jobs.slots): other jobs hold them", flush=True)
            said = True
        time.sleep(LOOK_S)
    return None


def _taken(file: Path) -> TextIO | None:
    slot = file.open("w", encoding="utf-8")
    try:
        fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        slot.close()
        return None
    return slot
