"""Finds the processes of a stack on this machine, however they were started, and ends them."""

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.stack.settings import MARKER

PART = "SEGLOOP_STACK_PART"  # in the environment of all that one process of a stack has started: its name
JOB = "SEGLOOP_JOB"  # in that of a job which outlives the task that started it
UNREADABLE = (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess)


@dataclass(frozen=True)
class Member:
    """A process of a stack.

    Attributes:
        process: Of psutil; it is not fooled by another process that got the same pid.
        environment: As it was when the process started.
        session: The leader's pid.
    """

    process: psutil.Process
    environment: dict[str, str]
    session: int


def of_stack(root: Path, sessions: Iterable[int] = ()) -> list[psutil.Process]:
    """Every process of a stack, but for this one and those that it stems from.

    A process that renames itself may lose the environment that others see; it is found by its session then.

    Args:
        root: The checkout that the stack belongs to.
        sessions: Pids of processes that were started as leaders of sessions of their own.
    """
    known = set(sessions)
    return _found(lambda each: each.environment.get(MARKER) == str(root) or each.session in known)


def started_by(leader: int, part: str, root: str) -> list[psutil.Process]:
    """What a process of a stack has left behind, but for jobs that are to outlive it.

    Args:
        leader: Its pid, which was that of a session.
        part: Its name.
        root: The stack's root.
    """

    def belongs(each: Member) -> bool:
        same_part = each.environment.get(MARKER) == root and each.environment.get(PART) == part
        return each.session == leader or (same_part and JOB not in each.environment)

    return _found(belongs)


def end_all(processes: Iterable[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Ends processes: asks them first, and kills what is left.

    Args:
        processes: Which.
        patience_s: How long they have after being asked, and again after the kill.

    Returns:
        Those that are still there: none but what the system holds.
    """
    alive = list(processes)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for each in alive:
            _signal(each, number)
        _, alive = psutil.wait_procs(alive, timeout=patience_s)
        if not alive:
            break
    return alive


def memory_bytes(processes: Iterable[psutil.Process]) -> int:
    """The memory that processes use together; what they share counts once (PSS), where the system can tell."""
    total = 0
    for each in processes:
        try:
            full = each.memory_full_info()
        except UNREADABLE:
            continue
        total += int(getattr(full, "pss", full.rss))
    return total


def _found(belongs: Callable[[Member], bool]) -> list[psutil.Process]:
    own = {os.getpid(), *(each.pid for each in psutil.Process().parents())}
    members = (_member(each) for each in psutil.process_iter() if each.pid not in own)
    return [each.process for each in members if each is not None and belongs(each)]


def _member(process: psutil.Process) -> Member | None:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        session = os.getsid(process.pid)
    except (*UNREADABLE, ProcessLookupError, PermissionError):
        return None
    try:
        environment = process.environ()
    except (*UNREADABLE, OSError):  # of another user, or ending just now
        environment = {}
    return Member(process, environment, session)


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except UNREADABLE:
        return
