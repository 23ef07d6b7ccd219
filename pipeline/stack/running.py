"""What runs of a stack, by the records that its manager and its keepers leave; and the manager's start."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import TypeAdapter

from pipeline.errors import OutageError, UserError
from pipeline.files import read_json, write_json
from pipeline.stack.closed import snapshot
from pipeline.stack.found import of_stack
from pipeline.stack.processes import denied_folders
from pipeline.stack.settings import MARKER, Stack

REMEDY = "run `segloop down`, which needs no record"
MANAGER = "manager"
BEGIN_S, LOOK_S = 120, 0.1
LAST_LINES = 15


@dataclass(frozen=True)
class Part:
    """A process of a stack, as its keeper has told.

    Attributes:
        name: Its name.
        state: `running`, `waiting` for its next start, or `given up`.
        process: None where no such process lives.
        since: When it began, in seconds since 1970.
        ended: How often it has ended since the last hour without a fault.
    """

    name: str
    state: str
    process: psutil.Process | None
    since: float
    ended: int


def record_of(stack: Stack, name: str) -> Path:
    """The file in which the state of a process is told."""
    return stack.folder / "run" / f"{name}.json"


def write_manager(stack: Stack) -> None:
    """Tells that this process is the stack's manager, and what it manages."""
    me = psutil.Process()
    facts = {"pid": me.pid, "created": me.create_time(), "offset": stack.offset, "without": sorted(stack.without)}
    write_json(record_of(stack, MANAGER), facts | {"opened": snapshot(denied_folders())})


def manager(folder: Path) -> psutil.Process | None:
    """The manager that runs, None where there is none.

    Args:
        folder: The stack's own folder.
    """
    return _alive(_read(folder / "run" / f"{MANAGER}.json"))


def offset_of(folder: Path) -> int:
    """By how much the ports of the stack were shifted that was started last."""
    return int(str(_read(folder / "run" / f"{MANAGER}.json").get("offset", 0)))


def left_out(folder: Path) -> frozenset[str]:
    """What the stack that was started last does without."""
    names = _read(folder / "run" / f"{MANAGER}.json").get("without", [])
    return frozenset(names) if isinstance(names, list) else frozenset()


def opened(folder: Path) -> dict[str, int]:
    """What people's tools read in the home folder, as it was when the stack was started: see `closed`."""
    return TypeAdapter(dict[str, int]).validate_python(_read(folder / "run" / f"{MANAGER}.json").get("opened", {}))


def parts(stack: Stack, names: list[str]) -> list[Part]:
    """The processes of a stack, as they are now."""
    return [_part(stack, name) for name in names]


def all_processes(stack: Stack) -> list[psutil.Process]:
    """Every process that belongs to the stack, also without a manager."""
    records = [_read(file) for file in sorted((stack.folder / "run").glob("*.json"))]
    leaders = [each for each in map(_leader, records) if each]
    return of_stack(stack.root, leaders)


def start_manager(stack: Stack, params: Path) -> None:
    """Starts the manager in a session of its own, so that it outlives the terminal, and waits until it is at work.

    Args:
        stack: What it is to manage.
        params: The parameters.

    Raises:
        OutageError: It ends at once, or does not begin.
    """
    stack.logs.mkdir(parents=True, exist_ok=True)
    for old in (stack.folder / "run").glob("*.json"):
        old.unlink()
    command = [sys.executable, "-m", "pipeline.stack.manage", "--port-offset", str(stack.offset)]
    command += ["--params", str(params.absolute())]
    for name in sorted(stack.without):
        command += ["--without", name]
    with (stack.logs / f"{MANAGER}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=stack.root,
            env=os.environ | {MARKER: str(stack.root)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + BEGIN_S
    while manager(stack.folder) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise OutageError(f"The manager of the stack does not begin:\n{last_lines(stack, MANAGER)}")
        time.sleep(LOOK_S)


def last_lines(stack: Stack, name: str) -> str:
    """The end of a process's log."""
    file = stack.logs / f"{name}.log"
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    return "\n".join(lines[-LAST_LINES:])


@contextmanager
def alone(stack: Stack) -> Iterator[None]:
    """Keeps two commands from starting or stopping the same stack at once.

    Raises:
        UserError: Another one is at it.
    """
    import fcntl

    stack.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (stack.folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                "Another `segloop up` or `segloop down` works on this stack: wait until it is done."
            ) from None
        yield


def _part(stack: Stack, name: str) -> Part:
    record = _read(record_of(stack, name))
    process = _alive(record)
    state = str(record.get("state", "missing"))
    if state == "running" and process is None:
        state = "ended"
    since = float(str(record.get("at") or time.time()))
    return Part(name, state, process, since, int(str(record.get("ended") or 0)))


def _read(file: Path) -> dict[str, object]:
    if not file.exists():
        return {}
    try:
        return read_json(file, REMEDY)
    except (UserError, json.JSONDecodeError):  # cut short by a full disk: as good as none
        return {}


def _leader(record: dict[str, object]) -> int | None:
    """The pid of a record as that of a session; None once another process has got it."""
    pid = record.get("pid")
    if not isinstance(pid, int):
        return None
    # The leader may be gone while its session lives on; a pid that is in use by somebody else is not ours.
    return pid if _alive(record) is not None or not psutil.pid_exists(pid) else None


def _alive(record: dict[str, object]) -> psutil.Process | None:
    pid, created = record.get("pid"), record.get("created")
    if not isinstance(pid, int) or not isinstance(created, int | float):
        return None
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return None
    return process if same else None
