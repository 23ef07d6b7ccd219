"""Processes of a job: found by their session or their working folder, told apart from later ones, ended as a whole."""

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

SAME_START_S = 2.0  # the clock may have been set in between
LOOK_S = 0.1


@dataclass(frozen=True)
class Leader:
    """A process, by what no other has.

    Attributes:
        pid: Its number, which another process gets some day.
        started: When it started, in seconds since 1970.
    """

    pid: int
    started: float

    @property
    def is_replaced(self) -> bool:
        """Whether another process has its number by now, so that a session of that number is none of the job's."""
        try:
            return bool(abs(psutil.Process(self.pid).create_time() - self.started) >= SAME_START_S)
        except psutil.NoSuchProcess:
            return False


def myself() -> Leader:
    """This process."""
    return Leader(os.getpid(), psutil.Process().create_time())


def members(leader: Leader | None, folder: Path) -> list[psutil.Process]:
    """The processes of a job that live: those of its session, and those that work in its folder.

    The callers are not among them.

    Args:
        leader: Whoever leads the session.
        folder: The job's.
    """
    mine = {os.getpid(), *(each.pid for each in psutil.Process().parents())}
    if leader and leader.is_replaced:
        leader = None
    return [each for each in psutil.process_iter() if each.pid not in mine and _belongs(each, leader, folder)]


def end(processes: Iterable[psutil.Process], grace_s: float) -> None:
    """Ends processes: asks them to, and after a while makes them.

    Args:
        processes: Whom.
        grace_s: How long they may take by themselves.
    """
    waiting = list(processes)
    for number, patience in ((signal.SIGTERM, grace_s), (signal.SIGKILL, grace_s + 5)):
        for each in waiting:
            _send(each, number)
        deadline = time.monotonic() + patience
        while waiting and time.monotonic() < deadline:
            waiting = [each for each in waiting if _is_alive(each)]
            time.sleep(LOOK_S if waiting else 0)


def _belongs(process: psutil.Process, leader: Leader | None, folder: Path) -> bool:
    try:
        if not _is_alive(process):
            return False
        # A session keeps its number as long as one of it lives.
        if leader and os.getsid(process.pid) == leader.pid and process.create_time() > leader.started - SAME_START_S:
            return True
        return Path(process.cwd()).is_relative_to(folder)
    except (psutil.Error, ProcessLookupError, PermissionError):
        return False  # it has just ended, or is another user's


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
