"""Fixtures of the journeys: workspaces where real commands run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from workspace import Workspace, make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A fresh workspace with small settings."""
    return make_workspace(tmp_path / "workspace")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Workspace]:
    """A workspace where the main job has run once; it is made at its first use. Read it, do not change it."""
    made: list[Workspace] = []

    def get() -> Workspace:
        if not made:
            workspace = make_workspace(tmp_path_factory.mktemp("finished") / "workspace")
            workspace.ok("dvc", "repro")
            made.append(workspace)
        return made[0]

    return get
