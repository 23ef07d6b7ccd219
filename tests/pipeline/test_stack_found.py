"""Tests of finding and ending processes, with real ones."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.stack.found import end_all, memory_bytes, of_stack, started_by

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes of a test, which end with it."""
    listed: list[subprocess.Popen[bytes]] = []
    yield listed
    for each in listed:
        each.kill()
        each.wait()
        if each.stdout is not None:
            each.stdout.close()


def test_a_process_is_found_by_its_mark_or_its_session(tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    """The mark counts for one root only; a session counts even where the environment is gone."""
    marked = {"PATH": os.environ["PATH"], "SEGLOOP_STACK": str(tmp_path)}
    started.append(subprocess.Popen(["sleep", "600"], env=marked))
    started.append(subprocess.Popen(["sleep", "600"], env={"PATH": os.environ["PATH"]}, start_new_session=True))
    started.append(subprocess.Popen(["sleep", "600"], env=marked | {"SEGLOOP_STACK": f"{tmp_path}/other"}))
    first, second, _ = (each.pid for each in started)
    deadline = time.monotonic() + 60
    while {each.pid for each in of_stack(tmp_path)} != {first}:  # until all are what they are to become
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert {each.pid for each in of_stack(tmp_path, [second])} == {first, second}
    assert started_by(second, "scheduler", str(tmp_path))[0].pid == second


def test_whoever_looks_does_not_find_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`segloop down` from a shell of a task would otherwise end itself before it is done."""
    code = "from pathlib import Path; from pipeline.stack.found import of_stack; print(of_stack(Path(%r)))"
    monkeypatch.setenv("SEGLOOP_STACK", str(tmp_path))
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code % str(tmp_path)], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_who_does_not_end_when_asked_is_killed(started: list[subprocess.Popen[bytes]]) -> None:
    """One obeys, one does not: neither is left, and one that has gone already does no harm."""
    started.append(subprocess.Popen(["sleep", "600"]))
    started.append(subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE))
    assert started[1].stdout is not None
    started[1].stdout.readline()
    processes = [psutil.Process(each.pid) for each in started]
    assert end_all(processes, patience_s=2) == []
    assert end_all(processes, patience_s=2) == []


def test_shared_memory_counts_once() -> None:
    """This process uses something, and one that is gone nothing."""
    process = subprocess.Popen(["sleep", "600"])
    gone = psutil.Process(process.pid)
    process.kill()
    process.wait()
    mine = memory_bytes([psutil.Process()])
    assert mine > 2**20
    assert memory_bytes([psutil.Process(), gone]) == pytest.approx(mine, rel=0.2)
