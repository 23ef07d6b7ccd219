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

ROOT = Path(__file__).resolve().parents[2]
CONTEXT: Any = {"dag_run": SimpleNamespace(dag_id="training", run_id="manual__2026-01-01T00:00:00+00:00")}
TALKER = """
import json, os, sys, time
from pathlib import Path
at = sys.argv.index("--")
code, *words = sys.argv[at + 1:]
facts = {"words": words, "finished": True} | ({"ended": "verdict"} if code == "1" else {})
Path(os.environ["SEGLOOP_OUTCOME"]).write_text(json.dumps(facts))
print("said something")
if code == "wait":
    Path("started").write_text(str(os.getpid()))
    time.sleep(600)
sys.exit(int(code))
"""
TELLER = """
import os
from pathlib import Path
Path("told").write_text(os.environ.get("SEGLOOP_TRIGGERED_BY", "nobody"))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a command of its own."""
    (tmp_path / "talker.py").write_text(TALKER)
    monkeypatch.setenv("SEGLOOP_ROOT", str(tmp_path))
    return tmp_path


def is_tried_again(task: Command) -> bool:
    """Whether a task that fails is tried again."""
    with pytest.raises(AirflowException) as raised:
        task.execute(CONTEXT)
    return not isinstance(raised.value, AirflowFailException)


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
    assert is_tried_again(command(folder, code))


@pytest.mark.parametrize("accept", [[], [1]])
def test_a_crash_is_no_verdict(folder: Path, accept: list[int]) -> None:
    """Python exits with 1 where a module cannot be imported: no command said that it judged anything."""
    (folder / "talker.py").write_text("import nothing_of_that_name\n")
    assert is_tried_again(command(folder, 0, accept=accept))


def test_a_verdict_is_told_by_the_command_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 of the project's own commands comes with the fact that it was meant."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (folder / "judge.py").write_text(
        "from pipeline.command import run\nfrom pipeline.errors import VerdictError\n"
        "def main() -> None:\n    raise VerdictError('no')\nrun(main)\n"
    )
    assert Command(task_id="t", module="judge", accept=[1]).execute(CONTEXT) == {"ended": "verdict", "returncode": 1}


def test_a_promised_fact_that_is_missing_fails_the_task(folder: Path) -> None:
    """Exit code 0 alone does not say that the work was done."""
    assert command(folder, 0, tells=["finished"]).execute(CONTEXT)
    with pytest.raises(AirflowFailException, match="workspace"):
        command(folder, 0, tells=["finished", "workspace"]).execute(CONTEXT)


def test_words_are_never_taken_for_options(folder: Path) -> None:
    """They come last, behind two dashes."""
    assert command(folder, 0, words=["--help", ""]).execute(CONTEXT)["words"] == ["--help"]


@pytest.mark.parametrize("name", ["promotion_ask", "workspace_make", "approval", "gate", "dossier", "ingest"])
def test_commands_take_a_word_that_begins_with_a_dash(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The help, with exit code 0, would pass for work that was done; here a file is missing."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with pytest.raises(AirflowFailException, match="exit code 2"):
        Command(task_id="t", module=f"pipeline.{name}", words=["--help"], folder=str(folder)).execute(CONTEXT)


def test_dvc_takes_a_word_that_begins_with_a_dash(folder: Path) -> None:
    """It looks for a stage of that name."""
    with pytest.raises(AirflowException):
        Command(task_id="t", module="dvc repro", words=["--help"], folder=str(folder)).execute(CONTEXT)


@pytest.mark.parametrize("place", ["..", ".segloop", ".segloop/workspaces", ".segloop/workspaces/k/data", "link"])
def test_nothing_runs_outside_of_workspaces(folder: Path, place: str) -> None:
    """The folder comes from XCom, which anybody may write who may edit a run."""
    (folder / ".segloop/workspaces/k/data").mkdir(parents=True)
    (folder / "link").symlink_to(folder.parent)
    with pytest.raises(AirflowFailException, match="no workspace"):
        Command(task_id="t", module="talker", words=["0"], folder=str(folder / place)).execute(CONTEXT)


def test_a_command_runs_in_a_workspace(folder: Path) -> None:
    """A folder right under the workspaces is one."""
    place = folder / ".segloop/workspaces/k"
    place.mkdir(parents=True)
    (place / "talker.py").write_text(TALKER)
    assert Command(task_id="t", module="talker", words=["0"], folder=str(place)).execute(CONTEXT)["finished"]


@pytest.mark.parametrize(("user", "told"), [("alice", "alice"), (None, "nobody")])
def test_commands_learn_who_started_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, user: str | None, told: str
) -> None:
    """A person's account reaches them; a schedule or an event has none, whatever the worker's says."""
    monkeypatch.setenv("SEGLOOP_TRIGGERED_BY", "mallory")
    (folder / "teller.py").write_text(TELLER)
    run = SimpleNamespace(**vars(CONTEXT["dag_run"]), triggering_user_name=user)
    context: Any = {"dag_run": run}
    Command(task_id="t", module="teller").execute(context)
    assert (folder / "told").read_text() == told


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nobody waits for it
def test_what_outlives_a_task_learns_who_started_the_run(folder: Path) -> None:
    """A detached command is told as well."""
    (folder / "teller.py").write_text(TELLER)
    task = Command(task_id="t", module="teller")
    context: Any = {"dag_run": SimpleNamespace(**vars(CONTEXT["dag_run"]), triggering_user_name="alice")}
    task.enter(context)
    task.detach("teller", [])
    while not (folder / "told").exists() or not (folder / "told").read_text():
        time.sleep(0.05)
    assert (folder / "told").read_text() == "alice"


def test_parameters_that_nobody_reads_are_refused(folder: Path) -> None:
    """A misspelt one would otherwise be taken for its default without a word."""
    run = SimpleNamespace(dag_id="training", run_id="r", conf={"relaese": "data/v3"})
    context: Any = {"dag_run": run, "dag": SimpleNamespace(params={"release": "", "changes": []})}
    with pytest.raises(AirflowFailException, match="no parameter relaese; there are release, changes"):
        command(folder, 0).execute(context)


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
    """Templates render to text; lists come as JSON, and a flag stands alone."""
    options = {"--a": "", "--b": "[]", "--c": "x y", "--d": '["p=1", "q=2"]', "--e": "True", "--f": ""}
    words = given(options, lists=["--b", "--d"], flags=["--e", "--f"])
    assert words == ["--c", "x y", "--d", "p=1", "--d", "q=2", "--e"]


@pytest.mark.parametrize("text", ["[urgent] new batch", '["May"]'])
def test_text_that_looks_like_a_list_is_text(text: str) -> None:
    """Only an option that takes many values has its value read as a list."""
    assert given({"--message": text}) == ["--message", text]


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


def test_addresses_that_another_task_found_are_links(folder: Path) -> None:
    """Also where the command fails; what is no address of a web page is no link."""
    see = {"MLflow run": "https://mlflow/#/runs/1", "MLflow version": "", "Bad": "javascript:alert(1)"}
    task = command(folder, 2, see=see)
    fails(task)
    links = {each.name: each.get_link(task, ti_key=None) for each in task.operator_extra_links}
    assert links == {"MLflow run": "https://mlflow/#/runs/1", "MLflow version": "", "Bad": ""}


def test_a_failed_verdict_leaves_its_reports(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is told that a dataset was refused looks at why."""
    monkeypatch.setenv("SEGLOOP_REPORTS_URL", "http://127.0.0.1:9")
    (folder / "docs").mkdir()
    task = command(folder, 1, publish={"Data Docs": "docs", "Dossier": "{where}"})
    with pytest.raises(AirflowFailException):
        task.execute(CONTEXT)
    links = [link.get_link(task, ti_key=None) for link in task.operator_extra_links]
    assert links == ["http://127.0.0.1:9/training/manual__2026-01-01T00-00-00-00-00/docs/", ""]


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
