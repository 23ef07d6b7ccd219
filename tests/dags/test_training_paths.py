"""The ways that a run of the DAG `training` can take, with a stand-in for the interpreter that runs the commands."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from dag_case import DONE, FAILED, NOT_REACHED, ROOT, SKIPPED, events, read_dag, run_dag, run_event

from orchestration import settings
from orchestration.assets import RETRAIN

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning"),
]

INTERPRETER = """
import json, os, sys
from pathlib import Path

root, module, words = Path(os.environ["SEGLOOP_ROOT"]), sys.argv[2], sys.argv[3:]
with (root / "called.txt").open("a") as log:
    log.write(json.dumps([module, *words]) + "\\n")
code, facts = json.loads((root / "says.json").read_text()).get(module, [0, {}])
if module == "pipeline.workspace_make":
    facts = facts | {"finished": (root / "finished").exists()}
if module == "pipeline.workspace_commit" and code == 0:
    (root / "finished").touch()
Path(os.environ["SEGLOOP_OUTCOME"]).write_text(json.dumps(facts))
sys.exit(code)
"""
AFTER_GATE = ("gate", "dossier", "candidate", "commit", "judge")


@dataclass
class Project:
    """A project whose commands do nothing but tell what they are told to.

    Attributes:
        root: Where it is.
        dag: The DAG.
    """

    root: Path
    dag: Any

    def say(self, **facts: list[Any]) -> None:
        """Sets exit codes and facts of commands by their names."""
        file = self.root / "says.json"
        told = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(told | {f"pipeline.{name}": each for name, each in facts.items()}))

    def states(self) -> tuple[str, ...]:
        """Runs the DAG, and gives the states of the tasks from the gate on."""
        states = run_dag(self.dag).states
        return tuple(states[name] for name in AFTER_GATE)

    def words(self, module: str) -> list[str]:
        """What a command was last given."""
        lines = [json.loads(line) for line in (self.root / "called.txt").read_text().splitlines()]
        return next(each[1:] for each in reversed(lines) if each[0] == f"pipeline.{module}")

    def options(self, module: str) -> dict[str, str]:
        """Likewise, where there is nothing but options with values."""
        words = self.words(module)
        return dict(zip(words[::2], words[1::2], strict=True))


@pytest.fixture
def project(bag: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """One in which everything goes well."""
    assert bag  # Airflow's database is there
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    workspace = tmp_path / ".segloop/workspaces/k"
    workspace.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", workspace)
    (tmp_path / "interpreter.py").write_text(INTERPRETER)
    python = tmp_path / "python"
    itself = f'[ "$1" = -m ] || exec {sys.executable} "$@"'  # what a task starts beside the commands
    python.write_text(f'#!/bin/sh\n{itself}\nexec {sys.executable} -S {tmp_path}/interpreter.py "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("SEGLOOP_ROOT", str(tmp_path))
    monkeypatch.setenv("SEGLOOP_PYTHON", str(python))
    dag = read_dag("training")
    for task in dag.tasks:
        task.retries = 0
    made = Project(tmp_path, dag)
    version = tmp_path.name  # of no other test: all have one database
    made.say(
        workspace_make=[0, {"workspace": str(workspace)}],
        job_submit=[0, {"job": "j", "finished": False}],
        job_status=[0, {"jobs": {"train": {"state": "succeeded"}}}],
        register=[0, {"version": version}],
        gate=[0, {"version": version, "verdict": "passed", "gate_digest": "d1"}],
        dossier=[0, {"dossier": "page.html"}],
        workspace_commit=[0, {"branch": "runs/k"}],
    )
    yield made
    settings.params.cache_clear()


def test_a_version_that_passes_is_announced_and_recorded(project: Project) -> None:
    """Every task succeeds."""
    assert project.states() == (DONE,) * 5
    assert events("candidate").count(project.root.name) == 1
    assert project.options("workspace_commit")["--verdict"] == "passed"


def test_a_version_that_does_not_pass_is_recorded_and_the_run_fails(project: Project) -> None:
    """The dossier is written, nobody is asked, and the run ends in red."""
    blocked = {"version": project.root.name, "verdict": "blocked", "gate_digest": "d1", "ended": "verdict"}
    project.say(gate=[1, blocked])
    assert project.states() == (DONE, DONE, SKIPPED, DONE, FAILED)
    assert project.root.name not in events("candidate")
    assert project.options("workspace_commit")["--verdict"] == "blocked"


def test_a_gate_that_crashes_is_no_verdict(project: Project) -> None:
    """Python's own exit code 1 fails the task, and nothing is recorded as finished."""
    project.say(gate=[1, {}])
    assert project.states() == (FAILED, *[NOT_REACHED] * 4)


def test_the_champion_itself_is_not_judged(project: Project) -> None:
    """The run says so on its branch, and ends well; the next one has nothing to do."""
    project.say(register=[0, {"version": project.root.name, "is_champion": True}])
    assert project.states() == (SKIPPED, SKIPPED, SKIPPED, DONE, SKIPPED)
    assert "champion already" in project.options("workspace_commit")["--note"]
    assert project.states() == (SKIPPED,) * 5


def test_a_version_is_announced_by_a_later_run_when_the_first_could_not(project: Project) -> None:
    """A run is recorded as finished, and so never run again, only after the announcement."""
    task, reason = project.dag.get_task("candidate"), "the database is away"

    def fail(**_: Any) -> None:
        raise AirflowFailException(reason)

    announce, task.python_callable = task.python_callable, fail
    task.op_args, args = (), task.op_args
    assert project.states() == (DONE, DONE, FAILED, NOT_REACHED, NOT_REACHED)
    task.python_callable, task.op_args = announce, args
    assert project.states() == (DONE,) * 5
    assert events("candidate").count(project.root.name) == 1


def test_a_version_is_announced_once_for_each_verdict(project: Project) -> None:
    """When the record could not be written, the next run judges again, and asks nobody again unless it differs."""
    project.say(workspace_commit=[70, {}])
    assert project.states() == (DONE, DONE, DONE, FAILED, NOT_REACHED)
    assert project.states() == (DONE, DONE, SKIPPED, FAILED, NOT_REACHED)
    project.say(gate=[0, {"version": project.root.name, "verdict": "passed", "gate_digest": "d2"}])
    assert project.states() == (DONE, DONE, DONE, FAILED, NOT_REACHED)
    assert events("candidate").count(project.root.name) == 2


def test_a_retrain_event_trains_the_newest_release_once(project: Project) -> None:
    """Its key names the evidence and no release; with everything as it was, another event has nothing to do."""
    first = run_event(project.dag, RETRAIN, "drift-7")
    assert project.words("workspace_make") == ["--owner", first.run.run_id, "--", "latest"]
    assert set(first.states.values()) == {DONE}
    again = run_event(project.dag, RETRAIN, "drift-8")
    assert set(again.states.values()) == {SKIPPED}
    assert project.words("workspace_make") == ["--owner", again.run.run_id, "--", "latest"]


def test_a_run_with_nothing_to_do_says_why(project: Project) -> None:
    """In the words of the command that found it out."""
    workspace = str(project.root / ".segloop/workspaces/k")
    project.say(workspace_make=[0, {"workspace": workspace, "said": "run k has finished, in version 4"}])
    (project.root / "finished").touch()
    begin = project.dag.get_task("begin")
    begin.words, begin.options = ["latest"], {}
    with pytest.raises(AirflowSkipException, match="Nothing to do: run k has finished, in version 4"):
        begin.execute({"ti": None, "dag_run": SimpleNamespace(dag_id="training", run_id="r")})


def test_a_parameter_that_does_not_exist_is_refused(project: Project) -> None:
    """A misspelt release would be taken for the newest one."""
    assert run_dag(project.dag, relaese="data/v3").states["begin"] == FAILED
