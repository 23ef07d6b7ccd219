"""A process under honcho that is started again when it ends, with a log of its own that holds no secret."""

import http.client
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import psutil
from honcho import manager as honcho
from honcho.process import Process as HonchoProcess

from pipeline.files import write_json
from pipeline.stack.accounts import struck
from pipeline.stack.found import end_all, started_by
from pipeline.stack.settings import MARKER

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
LEFT_OVER_S = 5.0
ANSWER_TIMEOUT_S = 5.0
NOBODY = 2**22 + 1  # beyond every pid: a signal to it goes nowhere
SOUND_S = 600.0  # after this long without an end, earlier ones are forgotten


@dataclass(frozen=True)
class Care:
    """How a process is looked after.

    Attributes:
        log: Its log.
        log_bytes: Size at which the log is put aside.
        record: Where its state is told: pid, when it started, how often it ended.
        restarts: How often it is started again before it is given up.
        secrets: Struck from every line.
        after: An address that must answer before the process starts for the first time.
    """

    log: Path
    log_bytes: int
    record: Path
    restarts: int
    secrets: tuple[str, ...]
    after: str | None = None


class Kept(HonchoProcess):  # type: ignore[misc] # honcho has no types
    """Honcho's process, but that an end starts it anew, after a pause that doubles.

    Given up after too many ends, it stays in honcho's list as if it ran: honcho would stop all others with it. That it
    is gone is in its record, and `segloop status` tells.

    Args:
        command: For the shell; it should begin with `exec`, so that the process has the shell's pid.
        care: How it is looked after.
        stopping: Set before the stack is stopped: an end is none to mend then.
        options: Name, environment and working folder, as honcho takes them.
    """

    def __init__(self, command: str, care: Care, stopping: Event, **options: Any) -> None:
        super().__init__(command, **options)
        self._care = care
        self._stopping = stopping

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        """Runs the process until the stack stops; honcho calls it in a process of its own."""
        self._events = events
        if ignore_signals:  # by a handler, since a signal that is ignored stays so in the process that is started
            signal.signal(signal.SIGINT, _ignore)
            signal.signal(signal.SIGTERM, _ignore)
        log = _logger(self._care)
        self._manager = os.getppid()
        ended, code = 0, 0
        self._await()
        while not self._is_over():
            began = time.monotonic()
            code = self._once(log, ended)
            if self._is_over():
                break
            ended = 1 if time.monotonic() - began > SOUND_S else ended + 1
            log.warning("segloop, %s: the process ended with code %s (end %s)", _now(), code, ended)
            if ended > self._care.restarts:
                self._tell("given up", ended, code)
                log.error("segloop, %s: given up; `segloop down` and `segloop up` start it again", _now())
                while not self._is_over():
                    self._stopping.wait(LONGEST_PAUSE_S)
                break
            self._tell("waiting", ended, code)
            if self._stopping.wait(min(FIRST_PAUSE_S * 2 ** (ended - 1), LONGEST_PAUSE_S)):
                break
        self._send_message({"returncode": code}, type="stop")

    def _is_over(self) -> bool:
        """Whether nothing is to be started any more: without the manager, nobody could stop it but by a kill."""
        return self._stopping.is_set() or os.getppid() != self._manager

    def _await(self) -> None:
        """Waits for what the process needs; honcho is told a pid of no process, since it stops nobody without one."""
        if self._care.after is None:
            return
        self._tell("waiting for another", 0, None)
        self._send_message({"pid": NOBODY}, type="start")
        while not self._is_over() and not answers(self._care.after):
            self._stopping.wait(FIRST_PAUSE_S)

    def _once(self, log: logging.Logger, ended: int) -> int:
        child = self._child_ctor(self.cmd, env=self.env, cwd=self.cwd)
        self._tell("running", ended, None, child.pid)
        self._send_message({"pid": child.pid}, type="start")
        if self._stopping.is_set():  # told to stop while it started
            child.terminate()
        reader = threading.Thread(target=self._read, args=(child.stdout, log), daemon=True)
        reader.start()
        code = int(child.wait())
        if not self._stopping.is_set():
            # What it started would run on beside its successor, and hold the pipe open.
            end_all(started_by(child.pid, self.name, str(self.env[MARKER])), patience_s=LEFT_OVER_S)
        reader.join(LEFT_OVER_S)
        return code

    def _read(self, pipe: BinaryIO, log: logging.Logger) -> None:
        for line in iter(pipe.readline, b""):
            log.info(struck(line.decode(errors="replace").rstrip("\n"), self._care.secrets))

    def _tell(self, state: str, ended: int, code: int | None, pid: int | None = None) -> None:
        created = psutil.Process(pid).create_time() if pid else None
        facts = {"state": state, "pid": pid, "created": created, "ended": ended, "code": code, "at": time.time()}
        write_json(self._care.record, facts)


class Keeper(honcho.Manager):  # type: ignore[misc] # honcho has no types
    """Honcho's manager of processes that are kept.

    Args:
        stop_timeout_s: How long a process has to end by itself.
    """

    def __init__(self, stop_timeout_s: float) -> None:
        super().__init__(_Silent())
        # Forked, so that what is imported here is shared by all that wait beside their processes.
        self._stopping = get_context().Event()
        honcho.KILL_WAIT = stop_timeout_s

    def keep(self, name: str, command: str, care: Care, environment: Mapping[str, str], folder: Path) -> None:
        """Adds a process, to be started by `loop`."""
        self._process_ctor = lambda cmd, **options: Kept(cmd, care, self._stopping, **options)
        self.add_process(name, command, env=dict(environment), cwd=str(folder))

    def terminate(self) -> None:
        """Ends all, and keeps them from being started again."""
        self._stopping.set()
        super().terminate()


class _Silent:
    """Takes the place of honcho's printer: what honcho itself says goes to the manager's own log."""

    width = 0

    def write(self, message: Any) -> None:
        """Writes a line of honcho's."""
        print(f"{message.time:%Y-%m-%d %H:%M:%S} {str(message.data).rstrip()}", flush=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def answers(url: str) -> bool:
    """Whether an address on this machine gives a good answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _ignore(*_: object) -> None:
    """Lets a signal pass."""


def _logger(care: Care) -> logging.Logger:
    care.log.parent.mkdir(parents=True, exist_ok=True)
    logger = logging.getLogger(f"segloop.stack.{care.log.stem}")
    logger.propagate = False
    handler = RotatingFileHandler(care.log, maxBytes=care.log_bytes, backupCount=1, encoding="utf-8")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    return logger
