"""A workspace of its own for each journey: the project's files in a fresh git and DVC repository."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
FILES = ("pipeline", "training", "checks.py", "dvc.yaml", "params.yaml", ".gitignore", ".dvcignore", "examples")
SMALL = {
    "demo_data": {"scenes": 48, "frames_per_scene": 2},
    "validate": {"min_images_per_critical_class": 1},
    "train": {"max_epochs": 2},
}


@dataclass
class Workspace:
    """A checkout of the project where commands run as a user would run them."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Runs a command in the workspace and gives its outcome, whatever it is."""
        environment = {**os.environ, **self.environment, "DVC_SITE_CACHE_DIR": str(self.root / ".site")}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False, **options
        )

    def ok(self, *command: str) -> str:
        """Runs a command that must succeed and gives what it printed on both streams."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def segloop(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Runs `segloop` with the workspace's code."""
        return self.run(sys.executable, "-m", "pipeline.cli", *arguments, **options)

    def set_params(self, changes: Mapping[str, Mapping[str, object]]) -> None:
        """Replaces some keys of params.yaml."""
        file = self.root / "params.yaml"
        sections = yaml.safe_load(file.read_text())
        for section, keys in changes.items():
            sections[section] |= keys
        file.write_text(yaml.safe_dump(sections, sort_keys=False))


def make_workspace(root: Path) -> Workspace:
    """Copies the project's files and initialises git and DVC."""
    root.mkdir(parents=True)
    for name in FILES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    (root / "data").mkdir()
    shutil.copy(ROOT / "data" / "taxonomy.yaml", root / "data" / "taxonomy.yaml")
    workspace = Workspace(root)
    workspace.set_params(SMALL)
    workspace.ok("git", "init", "-q")
    workspace.ok("dvc", "init", "-q")
    workspace.ok("dvc", "config", "core.analytics", "false")
    workspace.ok("git", "add", "-A")
    workspace.ok("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", "start")
    return workspace
