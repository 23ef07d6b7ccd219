"""Commands end with the task that started them, however that ends; what is to outlive it does."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from airflow.sdk.exceptions import AirflowException
from job_case import Project, make_project, until

from orchestration.command import Command

ROOT = Path(__file__).resolve().parents[2]
CONTEXT: Any = {"dag_run": SimpleNamespace(dag_id="training", run_id="r")}
STUBBORN = """
import os, signal, subprocess, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
Path("new").write_text(f"{os.getpid()} {child.pid}")
Path("new").rename("started")
time.sleep(600)
"""
TIDY = """
import signal, time
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: Path("tidied").touch())
Path("started").touch()
time.sleep(600)
"""
TASK = """
import sys
from types import SimpleNamespace
sys.path[:0] = [f"{sys.argv[1]}/dags", f"{sys.argv[1]}/ops/airflow/plugins"]  # as Airflow's own, not its commands'
from orchestration.command import Command
task = Command(task_id="t", module="none")
task.enter({"dag_run": SimpleNamespace(dag_id="d", run_id="r")})
for line in sys.argv[2:]:
    module, *words = line.split()
    task.run(module, words)
"""


@contextmanager
def task_process(root: Path, lines: Sequence[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process like that of a task, which runs commands in a project one after the other."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SEGLOOP_ROOT": str(root)}
    words = [sys.executable, "-W", "ignore", "-c", TASK, str(ROOT), *lines]
    with log.open("wb") as output:
        task = subprocess.Popen(words, env=environment, cwd=root, stdout=output, stderr=output)
    try:
        yield task
    finally:
        task.kill()
        task.wait()


def is_over(number: int) -> bool:
    """Whether a process has ended, whether or not somebody has asked about it since."""
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a command that is deaf to SIGTERM, as is a process that it starts."""
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    monkeypatch.setenv("SEGLOOP_ROOT", str(tmp_path))
    return tmp_path


def test_a_command_that_is_deaf_to_being_asked_is_killed(folder: Path) -> None:
    """The grace is the command's, not the task's: Airflow would kill a task that waits for it."""
    task = Command(task_id="t", module="stubborn")
    thread = threading.Thread(target=_fails, args=(task,))
    thread.start()
    until((folder / "started").exists, "the command has started")
    numbers = [int(word) for word in (folder / "started").read_text().split()]
    task.on_kill()
    thread.join()
    assert [number for number in numbers if not is_over(number)] == []


def test_a_command_may_tidy_up_before_it_ends(folder: Path, tmp_path: Path) -> None:
    """It is asked first, even where its task was shot."""
    (folder / "tidy.py").write_text(TIDY)
    with task_process(folder, ["tidy"], tmp_path / "log.txt") as task:
        until((folder / "started").exists, "the command has started")
        task.kill()
        until((folder / "tidied").exists, "the command has tidied up")


def test_a_signal_that_ends_a_command_is_told_as_shells_do(folder: Path) -> None:
    """128 and its number: the system's end of a process that took too much memory is 137."""
    (folder / "shot.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(AirflowException, match="exit code 137"):
        Command(task_id="t", module="shot").execute(CONTEXT)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_command_ends_with_a_task_that_is_killed(folder: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Also where the task's process is shot, and can do nothing: the command, deaf to SIGTERM, and what it started."""
    with task_process(folder, ["stubborn"], tmp_path / "log.txt") as task:
        until((folder / "started").exists, "the command has started")
        numbers = [int(word) for word in (folder / "started").read_text().split()]
        assert not any(map(is_over, numbers))
        task.send_signal(number)
        until(lambda: all(map(is_over, numbers)), "the command and its child have ended")


@pytest.mark.e2e
def test_a_local_job_outlives_a_task_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends the command that follows a training does not reach the training, which goes on to its end."""
    project = make_project(tmp_path)
    project.hold.touch()
    for name in ("HOLD", "PATH", "DVC_SITE_CACHE_DIR"):
        monkeypatch.setenv(name, project.environment[name])
    lines = ["pipeline.job_submit train", "pipeline.job_follow train"]
    with task_process(project.root, lines, tmp_path / "log.txt") as task:
        process = psutil.Process(task.pid)
        until(lambda: task.poll() is not None or _is_followed(process), "the job is followed")
        followers = [each.pid for each in process.children(recursive=True)]
        until(lambda: "epoch 2" in "".join(each.read_text() for each in _logs(project)), "the second epoch")
        assert not any(map(is_over, followers))
        task.kill()
        until(lambda: all(map(is_over, followers)), "the commands have ended")
    assert _state(project) == "running"
    project.hold.unlink()
    code, said = project.job("follow", "train")
    assert (code, "epoch 3" in said) == (0, True), said


def _fails(task: Command) -> None:
    with pytest.raises(AirflowException):
        task.execute(CONTEXT)


def _is_followed(task: psutil.Process) -> bool:
    try:
        return any("pipeline.job_follow" in each.cmdline() for each in task.children(recursive=True))
    except psutil.Error:
        return False  # one of them has just ended


def _logs(project: Project) -> list[Path]:
    return list((project.root / ".segloop/jobs").glob("*/log-*.txt"))


def _state(project: Project) -> str:
    code, said = project.job("status", "train")
    assert code == 0, said
    facts = json.loads((project.root.parent / "told.json").read_text())
    return str(facts["jobs"]["train"]["state"])
