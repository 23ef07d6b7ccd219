"""A small project whose stage `train` is a script: it counts epochs, keeps a checkpoint, and waits where told to."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from workspace import ROOT

JOBS: dict[str, object] = {
    "launcher": "local",
    "poll_s": 0.1,
    "stop_s": 5,
    "slots": 1,
    "checkpoint_s": 0.2,
    "max_bundle_bytes": 5_000_000,
    "ray": {
        "address": "http://127.0.0.1:8265",
        "cpus": 1,
        "gpus": 0,
        "work": "/tmp/segloop-jobs",  # noqa: S108 - tests that run there name another
        "python": "python",
        "env": [],
    },
    "kubernetes": {
        "image": "registry.local/segloop-trainer:0.1.0",
        "namespace": "segloop",
        "gpus": 1,
        "cpus": "4",
        "memory": "16Gi",
        "shared_memory": "4Gi",
        "work": "100Gi",
        "secret": "segloop-remote",
        "service_account": "segloop-trainer",
        "deadline_s": 86400,
        "node_selector": {},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "env": ["MLFLOW_TRACKING_URI"],
    },
}
GRAPH = """
stages:
  prepare:
    cmd: python make.py
    deps: [make.py]
    params: [prepare]
    outs: [data/tiles]
  train:
    cmd: python learn.py
    deps: [data/tiles, learn.py]
    params: [train]
    outs: [data/training]
"""
MAKE = """
import pathlib, yaml
size = yaml.safe_load(open("params.yaml"))["prepare"]["size"]
folder = pathlib.Path("data/tiles")
folder.mkdir(parents=True)
(folder / "tiles.txt").write_text("tile " * size)
"""
LEARN = """
import os, pathlib, signal, sys, time, yaml
params = yaml.safe_load(open("params.yaml"))["train"]
if params["fails_with"] == "verdict":
    from pipeline.outcome import tell
    tell(ended="verdict")
    sys.exit(1)
if params["fails_with"]:
    sys.exit(params["fails_with"])
store = pathlib.Path(".segloop/training/one/last.ckpt")
store.parent.mkdir(parents=True, exist_ok=True)
done = int(store.read_text()) if store.exists() else 0
print(f"starts after epoch {done}, for {os.environ.get('SEGLOOP_AUTHOR')}", flush=True)
for epoch in range(done, params["epochs"]):
    store.write_text(str(epoch + 1))
    print(f"epoch {epoch + 1}", flush=True)
    while epoch + 1 == params["waits_after"] and os.path.exists(os.environ["HOLD"]):
        time.sleep(0.05)
out = pathlib.Path("data/training")
out.mkdir(parents=True, exist_ok=True)
(out / "weights.txt").write_text(pathlib.Path("data/tiles/tiles.txt").read_text() + str(params["epochs"]))
store.unlink()
store.parent.rmdir()
"""


@dataclass(frozen=True)
class Project:
    """The project, with its DVC remote beside it.

    Attributes:
        root: Its checkout.
    """

    root: Path

    @property
    def hold(self) -> Path:
        """As long as it exists, the training waits after the epoch `train.waits_after`."""
        return self.root.parent / "hold"

    @property
    def environment(self) -> dict[str, str]:
        """What commands find."""
        own = {"HOLD": str(self.hold), "PYTHONPATH": str(ROOT), "SEGLOOP_OUTCOME": str(self.root.parent / "told.json")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, **own, "PATH": path, "DVC_SITE_CACHE_DIR": str(self.root.parent / "site")}

    def start(self, *command: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Starts a command."""
        return subprocess.Popen(
            command,
            cwd=cwd or self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str, cwd: Path | None = None) -> tuple[int, str]:
        """Runs a command: its exit code, and what it said on both streams."""
        process = self.start(*command, cwd=cwd)
        said, _ = process.communicate(timeout=120)
        return process.returncode, said

    def ok(self, *command: str, cwd: Path | None = None) -> str:
        """Runs a command that must succeed."""
        code, said = self.run(*command, cwd=cwd)
        assert code == 0, f"{command} exited {code}:\n{said}"
        return said

    def job(self, act: str, *words: str) -> tuple[int, str]:
        """Runs `segloop job ACT`."""
        return self.run(sys.executable, "-m", f"pipeline.job_{act}", *words)

    @property
    def told(self) -> dict[str, Any]:
        """What commands told their caller."""
        facts: dict[str, Any] = json.loads((self.root.parent / "told.json").read_text())
        return facts

    def set_params(self, **changes: dict[str, object]) -> None:
        """Replaces keys of sections, and brings the training's inputs up to date."""
        file = self.root / "params.yaml"
        sections = yaml.safe_load(file.read_text())
        for section, keys in changes.items():
            sections[section] |= keys
        file.write_text(yaml.safe_dump(sections))
        self.ok("dvc", "repro", "-q", "prepare")

    @property
    def weights(self) -> str | None:
        """What the training made, in this workspace."""
        file = self.root / "data/training/weights.txt"
        return file.read_text() if file.exists() else None

    @property
    def remote(self) -> Path:
        """The folder that is the DVC remote."""
        return self.root.parent / "remote"

    def on_remote(self, pattern: str) -> list[str]:
        """Files on the DVC remote."""
        return sorted(file.relative_to(self.remote).as_posix() for file in self.remote.glob(pattern) if file.is_file())


def make_project(folder: Path) -> Project:
    """Writes the project under a folder, with its first stage run."""
    root = folder / "project"
    (root / "data").mkdir(parents=True)
    params = {
        "dataset": {"path": "data/dataset", "splits": "data/splits.csv"},
        "prepare": {"size": 3},
        "train": {"epochs": 3, "waits_after": 2, "fails_with": 0},
        "jobs": JOBS,
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "dvc.yaml").write_text(GRAPH)
    (root / "make.py").write_text(MAKE)
    (root / "learn.py").write_text(LEARN)
    (root / ".gitignore").write_text("/data/?*\n/.segloop/\n")
    project = Project(root)
    project.ok("git", "init", "-q", "-b", "main")
    project.ok("git", "config", "user.name", "Ada")
    project.ok("git", "config", "user.email", "ada@localhost")
    project.ok("dvc", "init", "-q")
    project.ok("dvc", "config", "core.analytics", "false")
    project.ok("dvc", "remote", "add", "-q", "-d", "storage", str(project.remote))
    project.ok("git", "add", "-A")
    project.ok("git", "commit", "-q", "-m", "start")
    project.ok("dvc", "repro", "-q", "prepare")
    return project


def until(true: Callable[[], object], what: str, patience_s: float = 120) -> None:
    """Waits for something that comes to pass."""
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        time.sleep(0.05)
