"""Jobs of another machine: what travels, how, what comes back, and what is removed; a folder stands for the machine."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from job_case import JOBS, Project, make_project

from pipeline.jobs.checkpoints import Keeper
from pipeline.jobs.remote_files import open_remote_files
from pipeline.jobs.submission import by_reference
from pipeline.releasing.storage import open_repo

pytestmark = pytest.mark.e2e  # DVC's commands take a second or two each


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project; copied, not changed."""
    project = make_project(tmp_path_factory.mktemp("elsewhere"))
    project.set_params(jobs={"launcher": "kubernetes"})
    project.ok("git", "commit", "-q", "-a", "-m", "kubernetes")
    return project


@pytest.fixture
def project(template: Project, tmp_path: Path) -> Project:
    """A copy to work in, with a DVC remote of its own."""
    shutil.copytree(template.root, tmp_path / "project", symlinks=True)
    project = Project(tmp_path / "project")
    project.ok("dvc", "remote", "modify", "-q", "storage", "url", str(project.remote))
    project.ok("git", "commit", "-q", "-a", "-m", "remote")
    return project


def submitted(project: Project) -> dict[str, Any]:
    """Submits the training, and gives the spec that the pod would get."""
    code, said = project.job("submit", "train")
    assert code == 0, said
    pod = yaml.safe_load((project.root / ".segloop/jobs/train-pod.yaml").read_text())
    spec = json.loads(pod["spec"]["containers"][0]["args"][0])
    assert isinstance(spec, dict)
    return spec


def compute(project: Project, spec: dict[str, Any], machine: str = "machine") -> tuple[int, str]:
    """Does what the pod would do, in a folder."""
    (project.root.parent / machine).mkdir(exist_ok=True)
    work = project.root.parent / machine / "work"
    command = (sys.executable, "-m", "pipeline.job_run", json.dumps(spec), "--work", str(work))
    return project.run(*command, cwd=work.parent)


def test_code_travels_as_a_bundle_where_there_is_no_git_remote(project: Project) -> None:
    """The other machine has nothing but the spec and the DVC remote; the workspace restores what it made."""
    spec = submitted(project)
    assert spec["source"]["bundle"].startswith("segloop/jobs/")
    assert len(project.on_remote("segloop/**/*.bundle")) == 1
    code, said = compute(project, spec)
    assert code == 0, said
    assert project.weights is None
    code, said = project.job("restore", "train")
    assert code == 0, said
    assert project.weights == "tile tile tile 3"
    assert "up to date" in project.ok("dvc", "status", "train")


def test_nothing_is_left_of_a_job_that_succeeded(project: Project) -> None:
    """Bundle and checkpoints go; of the run cache only this stage's entry came, and of the cache its objects."""
    project.ok("dvc", "repro", "-q", "train")
    project.set_params(train={"epochs": 5})
    assert compute(project, submitted(project))[0] == 0
    assert project.on_remote("segloop/**/*") == []
    assert len(project.on_remote("runs/**/*")) == 1
    tiles, weights = 2, 2  # a folder and its one file each
    assert len(project.on_remote("files/**/*")) == tiles + weights


def test_code_comes_from_a_git_remote_that_holds_it(project: Project) -> None:
    """Then the DVC remote has no bundle, the git remote a ref that is no branch, and after the job neither."""
    origin = project.root.parent / "origin.git"
    project.ok("git", "init", "-q", "--bare", str(origin))
    project.ok("git", "remote", "add", "origin", str(origin))
    project.ok("git", "push", "-q", "origin", "main")
    spec = submitted(project)
    assert spec["source"]["url"] == str(origin)
    assert project.on_remote("segloop/**/*") == []
    assert compute(project, spec)[0] == 0
    code, said = project.job("restore", "train")
    assert code == 0, said
    assert project.ok("git", "ls-remote", str(origin)).count("refs/") == 1


def test_unpublished_code_is_not_pushed_to_the_git_remote(project: Project) -> None:
    """A git remote without the commit stays as it is: the code travels as a bundle."""
    origin = project.root.parent / "origin.git"
    project.ok("git", "init", "-q", "--bare", str(origin))
    project.ok("git", "remote", "add", "origin", str(origin))
    project.ok("git", "push", "-q", "origin", "main")
    project.ok("git", "commit", "-q", "--allow-empty", "-m", "not published")
    assert "bundle" in submitted(project)["source"]
    assert project.ok("git", "ls-remote", str(origin)).count("refs/") == 1


def test_params_that_git_does_not_have_travel_too(project: Project) -> None:
    """An override stands in params.yaml of the workspace alone, and the job trains with it."""
    project.set_params(train={"epochs": 7})
    assert compute(project, submitted(project))[0] == 0
    assert project.job("restore", "train")[0] == 0
    assert project.weights == "tile tile tile 7"


def test_a_bundle_has_a_limit(project: Project) -> None:
    """Code too large to travel is the user's mistake: size, limit and remedy are named, and nothing is stored."""
    project.set_params(jobs={"max_bundle_bytes": 100})
    code, said = project.job("submit", "train")
    assert code == 2
    assert "max_bundle_bytes (100)" in said
    assert project.on_remote("segloop/**/*") == []


def test_no_secret_travels(project: Project) -> None:
    """Of the remote's configuration only what is needed and public goes into the spec."""
    file = project.root / ".dvc/config.local"
    file.write_text(
        "['remote \"storage\"']\n    url = s3://bucket/prefix\n    endpointurl = https://objects.internal\n"
        "    access_key_id = ada\n    secret_access_key = hush\n    profile = mine\n    session_token = hush\n"
    )
    options = by_reference(open_repo(project.root)).options
    assert options.items() >= {"url": "s3://bucket/prefix", "endpointurl": "https://objects.internal"}.items()
    assert not {"access_key_id", "secret_access_key", "profile", "session_token"} & set(options)


def test_restoring_computes_nothing(project: Project) -> None:
    """Without results on the remote it is an outage, and the stage is not run here instead."""
    submitted(project)
    code, said = project.job("restore", "train")
    assert code == 3
    assert "no results" in said
    assert project.weights is None


def test_inputs_that_changed_since_are_noticed(project: Project) -> None:
    """Results of other params are not taken for those that were asked for."""
    submitted(project)
    project.set_params(train={"epochs": 4})
    code, said = project.job("restore", "train")
    assert (code, "submit it again" in said) == (2, True), said


def test_a_commit_that_is_another_is_refused(project: Project) -> None:
    """What was fetched is checked against the commit of the submission, before anything of it runs."""
    spec = submitted(project)
    code, said = compute(project, spec | {"commit": "0" * 40})
    assert code == 2
    assert "0" * 40 in said


def test_without_a_remote_the_user_is_told(project: Project) -> None:
    """A job elsewhere has nowhere to get its inputs from: the remedy is named."""
    project.ok("dvc", "remote", "remove", "-q", "storage")
    code, said = project.job("submit", "train")
    assert code == 2
    assert "dvc remote add" in said


def test_a_remote_that_is_away_is_an_outage(project: Project) -> None:
    """The other machine cannot reach it: exit code 3, so that the job is tried again."""
    spec = submitted(project)
    project.remote.rename(project.root.parent / "gone")
    code, said = compute(project, spec)
    assert code == 3, said


def test_checkpoints_travel_whole(project: Project) -> None:
    """What one machine kept another gets, without the file that is being written; the same twice is sent once."""
    first, second = project.root.parent / "a", project.root.parent / "b"
    store = first / ".segloop/training/one"
    store.mkdir(parents=True)
    (store / "last.ckpt").write_text("epoch 2")
    (store / "last.part").write_text("epo")
    files = open_remote_files(open_repo(project.root))
    keeper = Keeper(first, files, "segloop/jobs/x", 60)
    keeper.send()
    kept = project.remote / "segloop/jobs/x/checkpoints.tar"
    stamp = kept.stat().st_mtime_ns
    keeper.send()
    assert kept.stat().st_mtime_ns == stamp
    assert Keeper(second, files, "segloop/jobs/x", 60).restore()
    assert [each.name for each in (second / ".segloop/training/one").iterdir()] == ["last.ckpt"]


def test_a_checkpoint_that_cannot_be_resumed_is_not_sent(project: Project) -> None:
    """The best of the first epoch is written before the last: alone it is of no use to another machine."""
    store = project.root.parent / "a/.segloop/training/one"
    store.mkdir(parents=True)
    (store / "best.ckpt").write_text("epoch 1")
    keeper = Keeper(project.root.parent / "a", open_remote_files(open_repo(project.root)), "segloop/jobs/y", 60)
    keeper.send()
    assert project.on_remote("segloop/jobs/y/*") == []
    (store / "last.ckpt").write_text("epoch 1")
    keeper.send()
    assert project.on_remote("segloop/jobs/y/*") == ["segloop/jobs/y/checkpoints.tar"]


def test_the_launcher_of_a_run_can_differ(project: Project) -> None:
    """`--launcher` goes before params.yaml; a name that is none is refused."""
    assert project.job("submit", "train", "--launcher", "local")[0] == 0
    assert project.job("follow", "train")[0] == 0
    code, said = project.job("submit", "train", "--launcher", "slurm")
    assert (code, "slurm" in said) == (2, True)
    assert JOBS["launcher"] == "local"
