"""Tests of processes that are kept: real ones, under a real manager of honcho, in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.files import read_json

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 240
# Keeps one process: its command, how often it is restarted, and what it waits for.
MANAGER = """
import sys
from pathlib import Path
from pipeline.stack import keeper
from pipeline.stack.found import PART
from pipeline.stack.settings import MARKER

folder, command, restarts, after = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] or None
keeper.FIRST_PAUSE_S, keeper.LEFT_OVER_S = 0.05, 1.0
care = keeper.Care(folder / "one.log", 2000, folder / "one.json", restarts, ("hidden",), after)
kept = keeper.Keeper(10)
kept.keep("one", command, care, {"PATH": "/bin:/usr/bin", MARKER: str(folder), PART: "one"}, folder)
kept.loop()
"""


class Managed:
    """A manager with one process."""

    def __init__(self, folder: Path, command: str, restarts: int, after: str = "") -> None:
        self.folder = folder
        words = [sys.executable, "-c", MANAGER, str(folder), command, str(restarts), after]
        self.manager = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Waits until something holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"{what}; the record: {self.record()}"
            time.sleep(0.02)

    def record(self) -> dict[str, Any]:
        """What is told of the process."""
        file = self.folder / "one.json"
        return read_json(file, "") if file.exists() else {}

    def log(self) -> str:
        """Its log."""
        file = self.folder / "one.log"
        return file.read_text() if file.exists() else ""

    def stop(self) -> None:
        """Stops the manager as `segloop down` does."""
        self.manager.send_signal(signal.SIGTERM)
        self.manager.wait(PATIENCE_S)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Managed]]:
    """Starts a manager; whatever is left of it at the end is killed."""
    started: list[Managed] = []

    def begin(command: str, *, restarts: int = 3, after: str = "") -> Managed:
        started.append(Managed(tmp_path, command, restarts, after))
        return started[-1]

    yield begin
    for each in started:
        for process in [*psutil.process_iter()]:
            try:
                if process.environ().get("SEGLOOP_STACK") == str(tmp_path):
                    process.kill()
            except psutil.Error:
                continue
        if each.manager.poll() is None:
            os.killpg(each.manager.pid, signal.SIGKILL)
            each.manager.wait()


def test_a_process_that_is_killed_starts_again(start: Callable[..., Managed]) -> None:
    """Another pid, one end more on the record, the code in the log; a stop leaves neither of them."""
    managed = start("exec sleep 600")
    managed.until(lambda: managed.record().get("pid"), "it runs")
    first = managed.record()["pid"]
    os.kill(first, signal.SIGKILL)
    managed.until(lambda: managed.record().get("pid") not in {None, first}, "it runs again")
    assert managed.record()["ended"] == 1
    assert "ended with code -9 (end 1)" in managed.log()
    second = managed.record()["pid"]
    managed.stop()
    assert not any(map(psutil.pid_exists, (first, second)))


def test_a_process_that_never_stays_is_given_up(start: Callable[..., Managed]) -> None:
    """After its restarts it is left alone, which the record tells, and the manager goes on for the others."""
    managed = start("exec sh -c 'exit 7'", restarts=2)
    managed.until(lambda: managed.record().get("state") == "given up", "it is given up")
    assert (managed.record()["ended"], managed.record()["code"]) == (3, 7)
    assert managed.manager.poll() is None
    managed.stop()


def test_no_secret_gets_into_the_log(start: Callable[..., Managed]) -> None:
    """What a process prints is kept, on both streams, with stars for secrets."""
    managed = start("echo my hidden word; echo aside >&2; exec sleep 600")
    managed.until(lambda: "aside" in managed.log(), "it has printed")
    assert "my *** word" in managed.log()
    managed.stop()
    assert "hidden" not in managed.log()


def test_a_log_does_not_grow_without_end(start: Callable[..., Managed]) -> None:
    """At its limit it is put aside, and the one that was put aside before goes."""
    managed = start("i=0; while [ $i -lt 500 ]; do echo a line of a log $i; i=$((i+1)); done; exec sleep 600")
    managed.until(lambda: "log 499" in managed.log(), "it has printed")
    managed.stop()
    logs = list(managed.folder.glob("one.log*"))
    assert len(logs) == 2
    assert sum(file.stat().st_size for file in logs) <= 4000


def test_what_a_dead_process_left_behind_ends_but_jobs_do_not(start: Callable[..., Managed]) -> None:
    """Its children, also in sessions of their own, end before it starts again; a job that is marked as one lives."""
    managed = start(
        "setsid sleep 601 & SEGLOOP_JOB=a setsid sleep 602 & sh -c 'sleep 603 & wait' & exec sleep 604", restarts=1
    )

    def running(seconds: int) -> set[int]:
        found = set()
        for each in psutil.process_iter():
            try:
                if each.cmdline() == ["sleep", str(seconds)] and each.environ().get("SEGLOOP_STACK") == str(
                    managed.folder
                ):
                    found.add(each.pid)
            except psutil.Error:
                continue
        return found

    managed.until(lambda: all(map(running, (601, 602, 603, 604))), "all run")
    first = {number: running(number) for number in (601, 602, 603)}
    os.kill(managed.record()["pid"], signal.SIGKILL)
    managed.until(lambda: managed.record().get("ended") == 1 and managed.record().get("pid"), "it runs again")
    assert not first[601] & running(601)
    assert not first[603] & running(603)
    assert first[602] <= running(602)
    managed.stop()


def test_nothing_starts_again_without_its_manager(start: Callable[..., Managed]) -> None:
    """After the manager's SIGKILL the process goes on; once it ends, so does who kept it."""
    managed = start("exec sleep 600")
    managed.until(lambda: managed.record().get("pid"), "it runs")
    process = psutil.Process(managed.record()["pid"])
    keeper = process.parent()
    assert keeper is not None
    managed.manager.kill()
    managed.manager.wait()
    assert process.is_running()
    process.terminate()
    keeper.wait(PATIENCE_S)
    assert managed.record()["ended"] == 0


def test_a_process_waits_for_what_it_needs(start: Callable[..., Managed]) -> None:
    """It is not started before an address answers, and a stop in between ends the waiting."""
    managed = start("echo started; exec sleep 600", after="http://127.0.0.1:9/health")
    managed.until(lambda: managed.record().get("state") == "waiting for another", "it waits")
    managed.stop()
    assert managed.log() == ""
