"""Runs' workspaces for tests: a project with one release, and the commands that make and record a run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import release_case
import yaml
from job_case import JOBS
from release_case import light_project, tag_by_hand
from workspace import Workspace

from pipeline import workspace_commit, workspace_make

GRAPH = """
stages:
  evaluate:
    cmd: "true"
metrics:
  - data/evaluation/metrics.json
"""


def make_released(folder: Path) -> Workspace:
    """A project with a release."""
    project = light_project(folder)
    (project.root / "dvc.yaml").write_text(GRAPH)
    (project.root / ".gitignore").write_text((project.root / ".gitignore").read_text() + "/.segloop/\n")
    file = project.root / "params.yaml"
    more = {"jobs": JOBS, "workspace": {"max_report_bytes": 10_000}}
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | more))
    tag_by_hand(project, "data/v1")
    return project


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Lets a command work in a folder, and forgets what an earlier one told."""
    with chdir(folder):
        yield


def told(project: Workspace) -> dict[str, object]:
    """What commands told their caller."""
    content = json.loads((project.root.parent / "told.json").read_text())
    assert isinstance(content, dict)
    return content


def make(project: Workspace, *changes: str) -> Path:
    """Makes the workspace of a run."""
    with inside(project.root):
        workspace_make.main("data/v1", list(changes))
    return Path(str(told(project)["workspace"]))


def evaluated(folder: Path) -> Path:
    """The workspace with what a run leaves in it."""
    metrics = folder / "data/evaluation/metrics.json"
    metrics.parent.mkdir(parents=True, exist_ok=True)
    metrics.write_text('{"miou": 0.7}')
    (folder / "dvc.lock").write_text("schema: '2.0'\n")
    return folder


def commit(folder: Path, version: str = "4") -> None:
    """Records the end of a run."""
    with inside(folder):
        workspace_commit.main(version=version, verdict="passed")


def at_once(project: Workspace, *commands: list[str]) -> list[dict[str, str]]:
    """Runs commands at the same time, which must succeed, and gives what they told."""
    started = []
    for number, words in enumerate(commands):
        told_to = str(project.root.parent / f"told-{number}.json")
        environment = {**os.environ, "SEGLOOP_OUTCOME": told_to, "PYTHONPATH": str(release_case.ROOT)}
        command = [sys.executable, "-m", *words]
        started.append((told_to, subprocess.Popen(command, cwd=project.root, env=environment)))
    assert [process.wait(timeout=240) for _, process in started] == [0] * len(started)
    return [json.loads(Path(told_to).read_text()) for told_to, _ in started]
