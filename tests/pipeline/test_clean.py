"""What retention removes."""

import fcntl
import json
import os
import shutil
import time
from pathlib import Path

import pytest
import yaml
from release_case import light_project
from workspace import Workspace

from pipeline import clean
from pipeline.command import exit_code
from pipeline.run_workspace import branch_of
from pipeline.workspaces import MARKER

OLD = time.time() - 100 * clean.DAY_S
KEEP = {"workspaces": 14, "abandoned": 60, "reports": 90, "tasks": 90, "telemetry": 90, "jobs": 30}
GRAPH = """
stages:
  train:
    cmd: mkdir made && echo weights > made/weights.txt
    deps: [data/taxonomy.yaml]
    outs: [made]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project with an old and a young report, task and part of telemetry."""
    project = light_project(tmp_path / "p")
    project.set_params({"clean": {"keep_days": KEEP, "cache": False}})
    project.ok("git", "add", "-A")
    project.ok("git", "commit", "-q", "-m", "start")
    monkeypatch.chdir(project.root)
    for age in ("old", "young"):
        made(project.root / clean.REPORTS / "training" / age, age)
        made(project.root / clean.TASKS / age, age)
        file = project.root / "data/telemetry/day" / f"{age}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
        aged(file, age)
    return project


def made(folder: Path, age: str) -> None:
    """A folder with something in it."""
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("x")
    aged(folder, age)


def aged(place: Path, age: str) -> None:
    """Makes it look as old as its name says."""
    if age == "old":
        os.utime(place, (OLD, OLD))


def workspace(project: Workspace, name: str) -> Path:
    """A workspace of a run, 100 days old."""
    folder = project.root / ".segloop/workspaces" / name
    project.ok("git", "worktree", "add", "--detach", str(folder))
    (folder / MARKER).parent.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text("{}")
    aged(folder / MARKER, "old")
    return folder


def left(project: Workspace) -> set[str]:
    """What is there, by its age."""
    root = project.root
    every = [*(root / clean.REPORTS).glob("*/*"), *(root / clean.TASKS).glob("*"), *root.glob("data/telemetry/*/*")]
    return {each.stem for each in every}


def run(*, dry_run: bool = False) -> int:
    """Runs the command and gives its exit code."""
    return exit_code(lambda: clean.main(dry_run=dry_run, params=Path("params.yaml")))


def test_only_what_is_older_than_it_is_kept_goes(project: Workspace) -> None:
    """Reports, tasks and telemetry of a hundred days are gone, those of today stay."""
    assert run() == 0
    assert left(project) == {"young"}


def test_a_dry_run_removes_nothing(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """It names what would go."""
    assert run(dry_run=True) == 0
    assert left(project) == {"old", "young"}
    assert "would remove .segloop/reports/training/old" in capsys.readouterr().out


def test_a_workspace_whose_run_never_finished_is_kept_longer(project: Workspace) -> None:
    """It may still be wanted; both go in the end, as git wants it."""
    project.set_params({"clean": {"keep_days": {**KEEP, "abandoned": 200}, "cache": False}})
    folder = workspace(project, "a" * 16)
    assert run() == 0
    assert folder.exists()
    project.set_params({"clean": {"keep_days": KEEP, "cache": False}})
    assert run() == 0
    assert not folder.exists()
    assert "aaaa" not in project.ok("git", "worktree", "list")


def test_a_finished_run_keeps_its_branch(project: Workspace) -> None:
    """What it decided and measured stays in git."""
    folder = workspace(project, "b" * 16)
    record = yaml.safe_dump({
        "key": "b" * 16, "release": "data/v1", "release_commit": "c", "commit": "c", "overrides": {},
        "state": "finished",
    })  # fmt: skip
    (folder / "run.json").write_text(record)
    project.ok("git", "-C", str(folder), "checkout", "-q", "-b", branch_of("b" * 16))
    project.ok("git", "-C", str(folder), "add", "-f", "run.json")
    project.ok("git", "-C", str(folder), "commit", "-q", "-m", "ended")
    aged(folder / MARKER, "old")
    assert run() == 0
    assert not folder.exists()
    assert branch_of("b" * 16) in project.ok("git", "branch", "--list", "runs/*")


def test_what_cannot_be_removed_is_told_and_the_rest_goes(
    project: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is no worktree stops nothing else."""
    folder = project.root / ".segloop/workspaces" / ("c" * 16)
    (folder / MARKER).parent.mkdir(parents=True)
    (folder / MARKER).write_text("{}")
    aged(folder / MARKER, "old")
    assert run() == 3
    assert left(project) == {"young"}
    assert "stays" in capsys.readouterr().err


def test_the_cache_loses_what_nothing_names(project: Workspace) -> None:
    """An object that no release, branch or workspace knows is removed; others stay."""
    project.set_params({"clean": {"keep_days": KEEP, "cache": True}})
    kept, lost = project.root / "kept.bin", project.root / "lost.bin"
    kept.write_bytes(b"kept")
    lost.write_bytes(b"lost")
    project.ok("dvc", "add", "kept.bin", "lost.bin")
    (project.root / "lost.bin.dvc").unlink()
    assert run() == 0
    content = {file.read_bytes() for file in (project.root / ".dvc/cache/files/md5").glob("*/*")}
    assert b"kept" in content
    assert b"lost" not in content


def job(project: Workspace) -> Path:
    """A job that has succeeded: its results are in cache and run cache, and in no workspace."""
    (project.root / "dvc.yaml").write_text(GRAPH)
    project.ok("dvc", "repro", "train")
    shutil.rmtree(project.root / "made")
    (project.root / "dvc.lock").unlink()
    (entry,) = (project.root / ".dvc/cache/runs").glob("*/*")
    folder = project.root / ".segloop/jobs" / entry.name[:32]
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps({"key": entry.name}))
    (folder / "attempt.json").write_text(json.dumps({"attempt": 1}))
    (folder / "ended.json").write_text(json.dumps({"attempt": 1, "state": "succeeded", "code": 0}))
    project.set_params({"clean": {"keep_days": KEEP, "cache": True}})
    return folder


def test_results_that_no_workspace_has_taken_over_stay(project: Workspace) -> None:
    """What a job made, a folder with its files, is taken from the run cache after cleaning: nothing is computed."""
    job(project)
    assert run() == 0
    said = project.ok("dvc", "repro", "train")
    assert "Running stage" not in said
    assert (project.root / "made/weights.txt").read_text() == "weights\n"


def test_an_old_job_goes_and_its_results_with_it(project: Workspace) -> None:
    """As long as the folder is kept, so are the results; then nothing holds them."""
    folder = job(project)
    for file in folder.iterdir():
        aged(file, "old")
    assert run() == 0
    assert not folder.exists()
    assert not list((project.root / ".dvc/cache/files/md5").glob("*/*"))


def test_nothing_of_a_running_job_goes(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """However long ago it began: neither its folder nor an object of the cache."""
    folder = job(project)
    (folder / "ended.json").unlink()
    (folder / "alive.lock").touch()
    for file in folder.iterdir():
        aged(file, "old")
    before = list((project.root / ".dvc/cache/files/md5").glob("*/*"))
    with (folder / "alive.lock").open("w") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        aged(folder / "alive.lock", "old")
        assert run() == 0
    assert folder.exists()
    assert list((project.root / ".dvc/cache/files/md5").glob("*/*")) == before
    assert f"job {folder.name} at work" in capsys.readouterr().out
