"""A run from release to record: its workspace, its training as a job, its results restored, its branch."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import release_case
import yaml
from job_case import JOBS
from workspace import Workspace

from pipeline.files import sha256_file

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TINY = {
    "prepare": {"tile_px": 64, "overlap_px": 8, "scale": 1.0, "workers": 1},
    "train": {"max_epochs": 1, "batch_size": 4, "accelerator": "cpu"},
}
WEIGHTS = Path("data/training/model.safetensors")


@dataclass
class Run:
    """A run that went from release to record.

    Attributes:
        project: The operator's checkout.
        folder: The run's workspace.
        said: What each command printed.
        seconds: What each command took.
    """

    project: Workspace
    folder: Path = Path()
    said: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def do(self, name: str, *command: str) -> None:
        """Runs a command in the run's workspace, or in the checkout before there is one."""
        told_to = self.project.root.parent / "told.json"
        environment = {
            **os.environ,
            "SEGLOOP_OUTCOME": str(told_to),
            "DVC_SITE_CACHE_DIR": str(self.project.root / ".site"),
        }
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        where, began = self.folder if self.folder.name else self.project.root, time.monotonic()
        done = subprocess.run(
            command,
            cwd=where,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command} exited {done.returncode}:\n{done.stdout}"
        self.said[name], self.seconds[name] = done.stdout, time.monotonic() - began
        if name == "make":
            self.folder = Path(json.loads(told_to.read_text())["workspace"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run."""
    project = release_case.make_template(tmp_path_factory.mktemp("run") / "workspace")
    project.set_params(TINY)
    file = project.root / "params.yaml"
    sections = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**sections, "jobs": JOBS, "workspace": {"max_report_bytes": 1_000_000}}))
    project.ok("dvc", "remote", "add", "-q", "-d", "storage", "../segloop-remote")
    project.ok("git", "commit", "-q", "-a", "-m", "tiny")
    release_case.tag_by_hand(project, "data/v1")
    run, python = Run(project), (sys.executable, "-m")
    run.do("make", *python, "pipeline.workspace_make", "data/v1", "--set", "train.max_epochs=2")
    run.do("prepare", "dvc", "repro", "prepare")
    for act in ("submit", "follow", "restore"):
        run.do(act, *python, f"pipeline.job_{act}", "train")
    run.do("commit", *python, "pipeline.workspace_commit", "--version", "1", "--verdict", "passed")
    print({name: round(seconds, 1) for name, seconds in run.seconds.items()})
    return run


def test_the_job_trains_with_the_runs_data_and_params(finished: Run) -> None:
    """The override reaches the job, whose results are restored without a training in the workspace."""
    assert "epoch 2 of 2" in finished.said["follow"]
    assert "Running stage 'train'" not in finished.said["restore"]
    assert (finished.folder / WEIGHTS).is_file()


def test_the_job_gives_what_the_workspace_itself_would(finished: Run) -> None:
    """Trained again in place, the weights are the same bytes."""
    before = sha256_file(finished.folder / WEIGHTS)
    finished.do("again", "dvc", "repro", "--force", "--single-item", "train")
    assert sha256_file(finished.folder / WEIGHTS) == before


def test_the_branch_says_what_was_trained(finished: Run) -> None:
    """Its dvc.lock names the very weights, its params the override."""
    branch = f"runs/{finished.folder.name}"
    lock = yaml.safe_load(finished.project.ok("git", "show", f"{branch}:dvc.lock"))
    assert re.fullmatch(r"[0-9a-f]{32}\.dir", lock["stages"]["train"]["outs"][0]["md5"])
    assert "max_epochs: 2" in finished.project.ok("git", "show", f"{branch}:params.yaml")
    assert "runs/" not in finished.project.ok("git", "branch", "--show-current")


def test_the_operators_checkout_is_as_it_was(finished: Run) -> None:
    """Neither changed files nor a training of its own."""
    assert finished.project.ok("git", "status", "--porcelain", "--", ".", ":!.site") == ""
    assert not (finished.project.root / "data/training").exists()
