"""Launcher `local`: a job in a session of its own on this machine, which outlives whoever started it."""

import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.command import SIGNALLED
from pipeline.errors import OutageError, UserError
from pipeline.files import read_json, write_atomic, write_json
from pipeline.jobs.launcher import Standing, State
from pipeline.jobs.processes import Leader, end, members
from pipeline.jobs.running import CODE
from pipeline.jobs.spec import Spec
from pipeline.jobs.stage_run import dvc_environment
from pipeline.stack.found import JOB

JOBS, SLOTS = Path(".segloop/jobs"), Path(".segloop/slots")
SPEC, ATTEMPT, LEADER, ENDED = "spec.json", "attempt.json", "leader.json", "ended.json"
CANCEL = "cancel.json"
ALIVE = "alive.lock"  # held by the leader, which inherits it from whoever starts it, and so at no time by nobody
KILLED = SIGNALLED + 9  # what is said of a job that left no word
CANCELLED = SIGNALLED + 15
START_S = 60.0
REMEDY = "remove the job's folder, and submit it again"


@dataclass(frozen=True)
class Local:
    """Jobs of this machine, each in a folder.

    Attributes:
        root: The project's checkout.
        poll_s: Between looks at a log.
        stop_s: How long a cancelled job may take to end by itself.
        slots: How many jobs run at a time; others wait.
    """

    root: Path
    poll_s: float
    stop_s: float
    slots: int

    def folder(self, name: str) -> Path:
        """Where a job's spec, logs, state and unfinished work lie."""
        return self.root / JOBS / name

    def standing(self, name: str) -> Standing:
        """Where the newest attempt stands, by the leader's lock and by the word that it left."""
        folder = self.folder(name)
        if not (folder / ATTEMPT).exists():
            return Standing(State.ABSENT)
        attempt = int(read_json(folder / ATTEMPT, REMEDY)["attempt"])
        ended = _of_attempt(folder / ENDED, attempt)
        if not ended and _is_led(folder):
            return Standing(State.RUNNING, attempt, None, str(folder))
        # It may have ended between the two looks.
        ended = ended or _of_attempt(folder / ENDED, attempt) or {"state": State.FAILED, "code": KILLED}
        if ended["state"] == State.FAILED and _of_attempt(folder / CANCEL, attempt):
            ended = {"state": State.CANCELLED, "code": CANCELLED}
        return Standing(State(ended["state"]), attempt, int(ended["code"]), str(folder))

    def start(self, spec: Spec) -> Standing:
        """Starts an attempt, unless one is running.

        Raises:
            OutageError: It did not start.
        """
        folder = self.folder(spec.name)
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            before = self.standing(spec.name)
            if before.state is State.RUNNING:
                return before
            self._end_all(folder)  # the leader was killed, and others were not
            attempt = before.attempt + 1
            write_atomic(folder / SPEC, spec.model_dump_json(indent=2) + "\n")
            log_file(folder, attempt).touch()
            # Whoever starts it may be killed at any moment: from its birth on the leader is found by the lock.
            with (folder / ALIVE).open("w", encoding="utf-8") as alive:
                fcntl.flock(alive, fcntl.LOCK_EX)
                write_json(folder / ATTEMPT, {"attempt": attempt})
                process = _spawn(folder, attempt, alive.fileno(), (str(self.root / SLOTS), str(self.slots)))
            _await_leader(folder, attempt, process)
        return self.standing(spec.name)

    def follow(self, name: str) -> Iterator[str]:
        """The newest attempt's log, until it ends."""
        attempt = self.standing(name).attempt
        with log_file(self.folder(name), attempt).open(encoding="utf-8", errors="replace") as log:
            while True:
                now = self.standing(name)  # first the state, then the log: nothing is written after the end
                if piece := log.read():
                    yield piece
                if now.state is not State.RUNNING or now.attempt != attempt:
                    return
                time.sleep(self.poll_s)

    def cancel(self, name: str) -> Standing:
        """Ends every process of the job, and records that it was cancelled."""
        folder = self.folder(name)
        if not folder.exists():
            return Standing(State.ABSENT)
        with _locked(folder):
            before = self.standing(name)
            if before.state is State.RUNNING:
                _await_leader(folder, before.attempt)
                # Before it ends: whoever follows it then sees at once why.
                write_json(folder / CANCEL, {"attempt": before.attempt})
                self._end_all(folder)
        return self.standing(name)

    def _end_all(self, folder: Path) -> None:
        leader = _leader(read_json(folder / LEADER, REMEDY)) if (folder / LEADER).exists() else None
        end(members(leader, folder / CODE), self.stop_s)


def _await_leader(folder: Path, attempt: int, process: subprocess.Popen[bytes] | None = None) -> None:
    """Waits until the leader has said who it is.

    Raises:
        OutageError: It ended before, or takes too long.
    """
    deadline = time.monotonic() + START_S
    while not _of_attempt(folder / LEADER, attempt) and _is_led(folder):
        if time.monotonic() > deadline:
            if process:
                process.kill()
            break
        time.sleep(0.02)
    if not _of_attempt(folder / LEADER, attempt):
        raise OutageError(f"The job did not start: see {log_file(folder, attempt)}")


def _is_led(folder: Path) -> bool:
    """Whether the newest attempt has a leader; the lock of a process that ends is released by the system."""
    try:
        with (folder / ALIVE).open(encoding="utf-8") as alive:
            fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: several may look at once
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def log_file(folder: Path, attempt: int) -> Path:
    """What an attempt says."""
    return folder / f"log-{attempt}.txt"


def _spawn(folder: Path, attempt: int, alive: int, slots: tuple[str, str]) -> subprocess.Popen[bytes]:
    """Starts the leader in a session of its own: signals to whoever started it do not reach it.

    Args:
        folder: The job's.
        attempt: Its number.
        alive: Descriptor of the lock that the leader is to hold as long as it lives; no other process inherits it.
        slots: Folder and number of the slots.
    """
    command = [sys.executable, "-m", "pipeline.jobs.attempt", str(folder), str(attempt), *slots]
    environment = dvc_environment()
    environment.pop("SEGLOOP_OUTCOME", None)  # a job tells nothing to the task that started it
    environment[JOB] = folder.name  # what ends a task's processes leaves those that bear it
    with log_file(folder, attempt).open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=environment,
            pass_fds=(alive,),
        )


def _of_attempt(file: Path, attempt: int) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{file} is damaged ({error}): {REMEDY}.") from None
    return content if content["attempt"] == attempt else None


def _leader(content: dict[str, Any]) -> Leader:
    return Leader(int(content["pid"]), float(content["started"]))


def write_leader(folder: Path, attempt: int, leader: Leader) -> None:
    """Records who leads an attempt."""
    write_json(folder / LEADER, {"attempt": attempt, **asdict(leader)})


def write_end(folder: Path, attempt: int, code: int) -> None:
    """Records how an attempt ended."""
    state = State.FAILED if code else State.SUCCEEDED
    write_json(folder / ENDED, {"attempt": attempt, "state": state, "code": code})


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "submit.lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
