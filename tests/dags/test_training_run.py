"""The DAG `training`, run by `dag.test()`: the real stages of dvc.yaml on tiny scenes, a job, a registry."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from dag_case import DONE, FAILED, NOT_REACHED, SKIPPED, Ran, at_work, events, read_dag, run_dag, run_event
from loop_case import PATIENCE_S, SIZE, prepare_project
from mlflow import MlflowClient
from release_case import add_batch, tags
from stack_case import RunningStack
from tiny import tiny_items
from workspace import Workspace, make_workspace

from orchestration.assets import RETRAIN
from pipeline.decisions.log import DecisionLog

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),  # the first test's includes the run that the others look at
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning"),
]

MODEL = "segmenter"
GROUPS = 16  # of which every fourth is of the holdout, enough for the gate
AROUND = {"begin", "track", "register", "gate", "dossier", "candidate", "commit", "judge"}
NETWORK = {
    "architecture": "Unet",
    "encoder": "mobilenet_v2",
    "encoder_weights": None,
    "options": {"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
}


@dataclass(frozen=True)
class Project:
    """A project with one release, on which the DAG has run once.

    Attributes:
        workspace: Its checkout.
        dag: The DAG.
        first: What became of the first run.
    """

    workspace: Workspace
    dag: Any
    first: Ran

    @property
    def stages(self) -> set[str]:
        """The stages of dvc.yaml that its dataset needs: it is none that is rendered."""
        declared = yaml.safe_load((self.workspace.root / "dvc.yaml").read_text())["stages"]
        return set(declared) - {"demo_data"}

    @property
    def branches(self) -> list[str]:
        """The runs' branches with their commits."""
        return self.workspace.ok("git", "for-each-ref", "refs/heads/runs").splitlines()

    @property
    def registry(self) -> MlflowClient:
        """A client of its MLflow."""
        return MlflowClient(f"sqlite:///{self.workspace.root / 'mlflow.db'}")

    @property
    def jobs(self) -> list[Path]:
        """The logs of all attempts at a job."""
        return list((self.workspace.root / ".segloop/jobs").glob("*/log-*.txt"))


@pytest.fixture(scope="module")
def project(bag: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Scenes that a network learns in seconds, released; MLflow and the decision log are files."""
    assert bag  # Airflow's database is there
    folder = tmp_path_factory.mktemp("training")
    workspace = make_released(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SEGLOOP_PROMOTER_KEY", raising=False)
        for name, value in {
            "HOME": str(folder),
            "SEGLOOP_ROOT": str(workspace.root),
            "MLFLOW_TRACKING_URI": f"sqlite:///{workspace.root / 'mlflow.db'}",
            "SEGLOOP_DECISIONS": f"sqlite:///{workspace.root / 'decisions.db'}",
            "DVC_SITE_CACHE_DIR": str(workspace.root / ".site"),
        }.items():
            patch.setenv(name, value)
        dag = read_dag("training")
        yield Project(workspace, dag, run_dag(dag, release="data/v1"))


def make_released(folder: Path) -> Workspace:
    """A project with the release data/v1."""
    workspace = make_workspace(folder / "project")
    ignore = workspace.root / ".gitignore"
    ignore.write_text(ignore.read_text() + "/.site/\n")
    workspace.ok("git", "rm", "-r", "-q", "--cached", ".site")
    workspace.ok("git", "config", "user.name", "Ada")
    workspace.ok("git", "config", "user.email", "ada@localhost")
    workspace.set_params({"train": {"network": NETWORK}})
    add_batch(workspace, "first", tiny_items(groups=GROUPS, size=SIZE))
    prepare_project(RunningStack(workspace, folder, 0))
    workspace.ok("python", "-m", "pipeline.release", "--message", "the first one")
    assert tags(workspace) == ["data/v1"]
    return workspace


def test_a_release_becomes_a_candidate(project: Project) -> None:
    """There is a task for each stage that the dataset needs, and every task succeeds at its first try."""
    assert project.first.states == dict.fromkeys(project.stages | AROUND, DONE)
    assert set(project.first.tries.values()) == {1}
    assert events("candidate").count("1") == 1


def test_a_run_is_recorded_on_its_branch(project: Project) -> None:
    """dvc.lock, metrics and what it ended in are in git, and the checkout of whoever runs it is untouched."""
    begun, git = project.first.facts("begin"), project.workspace.ok
    listed = git("git", "ls-tree", "-r", "--name-only", f"runs/{begun['key']}").split()
    assert {"dvc.lock", "run.json", "data/evaluation/metrics.json"} <= set(listed)
    record = json.loads(git("git", "show", f"runs/{begun['key']}:run.json"))
    assert (record["release"], record["state"], record["version"]) == ("data/v1", "finished", "1")
    assert record["verdict"] == project.first.facts("gate")["verdict"]
    assert git("git", "status", "--porcelain", "--untracked-files=no") == ""


def test_the_version_has_its_verdict_and_its_dossier(project: Project) -> None:
    """The decision log has the gate's verdict, MLflow the page, and the task links to a copy of it."""
    (entry,) = DecisionLog(f"sqlite:///{project.workspace.root / 'decisions.db'}").entries(MODEL)
    assert (entry.kind, entry.version, entry.payload["verdict"]["passed"]) == ("gate", 1, True)
    (version,) = project.registry.search_model_versions(f"name = '{MODEL}'")
    page = f"dossier/{MODEL}-{version.version}.html"
    assert page in [each.path for each in project.registry.list_artifacts(version.run_id, "dossier")]
    (copy,) = (project.workspace.root / ".segloop/reports/training").glob(f"*/{MODEL}-1.html")
    assert entry.gate_digest in copy.read_text()


def test_the_job_is_over_when_the_run_is(project: Project) -> None:
    """The detached process that trained was started once, and nothing works in the project any more."""
    assert len(project.jobs) == 1
    deadline = time.monotonic() + PATIENCE_S
    while (left := at_work(project.workspace.root)) and time.monotonic() < deadline:
        time.sleep(0.5)  # what DVC leaves behind ends by itself
    assert left == []


@pytest.mark.parametrize("release", ["data/v1", ""])
def test_the_same_release_again_is_nothing_to_do(project: Project, release: str) -> None:
    """By its name, or as the newest: the run is skipped as a whole, and nothing is trained, registered or announced."""
    before = project.branches
    again = run_dag(project.dag, release=release)
    assert again.states == dict.fromkeys(project.first.states, SKIPPED)
    assert project.branches == before
    assert len(project.jobs) == 1
    assert events("candidate").count("1") == 1


def test_a_retrain_event_with_everything_as_it_was_is_nothing_to_do(project: Project) -> None:
    """The newest release was trained with this code and these params: the run that the event made is skipped."""
    before = project.branches
    assert run_event(project.dag, RETRAIN, "drift-7").states == dict.fromkeys(project.first.states, SKIPPED)
    assert (project.branches, len(project.jobs)) == (before, 1)


def test_a_release_that_does_not_exist_fails_at_once(project: Project) -> None:
    """Trying again does not mend a user's mistake, though outages are tried again."""
    assert project.dag.get_task("begin").retries > 0
    wrong = run_dag(project.dag, release="data/v99")
    assert wrong.states == dict.fromkeys(project.first.states, NOT_REACHED) | {"begin": FAILED}
    assert wrong.tries["begin"] == 1


def test_the_models_files_outlive_workspace_and_job(project: Project) -> None:
    """They lie beside MLflow's database, wherever the training ran."""
    experiment = project.registry.get_experiment_by_name("segloop")
    assert experiment is not None
    assert experiment.artifact_location == (project.workspace.root / "mlartifacts").as_uri()
