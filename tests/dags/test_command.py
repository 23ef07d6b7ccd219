"""The operator that runs the project's commands."""

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from orchestration.command import Command, environment_of, given

CONTEXT: Any = {"dag_run": SimpleNamespace(dag_id="training", run_id="manual__2026-01-01T00:00:00+00:00")}
TALKER = """
import json, os, sys, time
from pathlib import Path
Path(os.environ["SEGLOOP_OUTCOME"]).write_text(json.dumps({"words": sys.argv[2:], "finished": True}))
print("said something")
if sys.argv[1] == "wait":
    Path("started").write_text(str(os.getpid()))
    time.sleep(600)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a command of its own."""
    (tmp_path / "talker.py").write_text(TALKER)
    monkeypatch.setenv("SEGLOOP_ROOT", str(tmp_path))
    return tmp_path


def command(folder: Path, code: object, **more: Any) -> Command:
    """A task that runs the command."""
    return Command(task_id="t", module="talker", words=[str(code), *more.pop("words", [])], folder=str(folder), **more)


def test_what_a_command_tells_is_what_the_task_returns(folder: Path) -> None:
    """The facts come with the exit code."""
    assert command(folder, 0, words=["a"]).execute(CONTEXT) == {"words": ["a"], "finished": True, "returncode": 0}


@pytest.mark.parametrize("code", [1, 2])
def test_a_verdict_or_a_mistake_is_not_tried_again(folder: Path, code: int) -> None:
    """Exit codes 1 and 2 fail the task at once."""
    with pytest.raises(AirflowFailException, match=f"exit code {code}"):
        command(folder, code).execute(CONTEXT)


@pytest.mark.parametrize("code", [3, 70, 137])
def test_an_outage_or_a_crash_is_tried_again(folder: Path, code: int) -> None:
    """Every other exit code is an ordinary failure."""
    with pytest.raises(AirflowException) as raised:
        command(folder, code).execute(CONTEXT)
    assert not isinstance(raised.value, AirflowFailException)


def test_a_stage_that_fails_under_dvc_counts_by_its_own_code(folder: Path) -> None:
    """DVC's own exit code is the same for a mistake in params and for a full disk."""
    said = "ERROR: failed to reproduce 'train': failed to run: python -m pipeline.train, exited with 2"
    (folder / "talker.py").write_text(f"import sys\nprint({said!r})\nsys.exit(255)\n")
    with pytest.raises(AirflowFailException, match="exit code 2"):
        command(folder, 0).execute(CONTEXT)


def test_an_accepted_exit_code_is_a_fact(folder: Path) -> None:
    """A task may go on after a failed verdict, and know of it."""
    assert command(folder, 1, accept=[1]).execute(CONTEXT)["returncode"] == 1


def test_nothing_to_do_skips_what_follows(folder: Path) -> None:
    """A fact can say that all is done."""
    with pytest.raises(AirflowSkipException):
        command(folder, 0, done_when="finished").execute(CONTEXT)


def test_a_task_that_nobody_asked_for_is_skipped(folder: Path) -> None:
    """A condition that renders as nothing skips the task before it runs."""
    with pytest.raises(AirflowSkipException):
        command(folder, 70, when="").execute(CONTEXT)


def test_options_are_left_out_when_empty_and_repeated_when_many() -> None:
    """Templates render to text; lists come as JSON."""
    options = {"--a": "", "--b": "[]", "--c": "x y", "--d": '["p=1", "q=2"]'}
    assert given(options) == ["--c", "x y", "--d", "p=1", "--d", "q=2"]


def test_secrets_of_airflow_do_not_reach_commands() -> None:
    """Connections and the database's password stay with Airflow."""
    every = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "p",
        "AIRFLOW_CONN_X": "p",
        "PATH": "/bin",
        "MLFLOW_TRACKING_URI": "m",
    }
    assert set(environment_of(every)) == {"PATH", "MLFLOW_TRACKING_URI", "SEGLOOP_ROOT"}


def fails(task: Command) -> None:
    """Runs a task that is to end badly."""
    with pytest.raises(AirflowException):
        task.execute(CONTEXT)


def test_a_killed_task_takes_its_command_along(folder: Path) -> None:
    """The command and what it started end with the task."""
    task = command(folder, "wait")
    thread = threading.Thread(target=fails, args=(task,))
    thread.start()
    while not (folder / "started").exists() or not (folder / "started").read_text():
        time.sleep(0.05)
    process = psutil.Process(int((folder / "started").read_text()))
    task.on_kill()
    thread.join(30)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_reports_are_published_under_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link of a task leads to a copy of what it made, which a later run does not overwrite."""
    monkeypatch.setenv("SEGLOOP_REPORTS_URL", "http://127.0.0.1:9")
    (folder / "docs").mkdir()
    (folder / "docs" / "index.html").write_text("fine")
    task = command(folder, 0, publish={"Data Docs": "docs", "Nothing": "absent"})
    task.execute(CONTEXT)
    link = task.operator_extra_links[0].get_link(task, ti_key=None)
    assert link == "http://127.0.0.1:9/training/manual__2026-01-01T00-00-00-00-00/docs/"
    assert (
        folder / ".segloop/reports/training/manual__2026-01-01T00-00-00-00-00/docs/index.html"
    ).read_text() == "fine"
    assert task.operator_extra_links[1].get_link(task, ti_key=None) == ""
    assert json.dumps(task.addresses)
