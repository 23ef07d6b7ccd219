"""Journeys of a disk that fills up: the kernel refuses to let any file grow, as a quota or a full disk would."""

import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from workspace import Workspace

pytestmark = pytest.mark.e2e

ROOM = 8192  # bytes that a file may hold: less than any stage writes
COMMANDS = {
    "demo-data": ["--out", "OUT"],
    "catalog": ["--dataset", "data/demo", "--store", "OUT.store", "--out", "OUT"],
    "prepare": [
        *("--dataset", "data/demo", "--catalog", "data/catalog.parquet", "--validation", "data/validation"),
        *("--out", "OUT", "--holdout", "OUT.json"),
    ],
    "train": ["--tiles", "data/tiles", "--store", "OUT.store", "--out", "OUT"],
    "export": ["--training", "data/training", "--tiles", "data/tiles", "--out", "OUT"],
    "evaluate": [
        *("--export", "data/export", "--dataset", "data/demo", "--holdout", "data/holdout.json"),
        *("--validation", "data/validation", "--out", "OUT"),
    ],
}


@pytest.mark.parametrize("stage", COMMANDS)
def test_a_full_disk_is_an_outage_and_leaves_nothing_half_written(
    finished: Callable[[], Workspace], stage: str, tmp_path: Path
) -> None:
    """The stage exits 3 and says so; no output stands under its name, no temporary file beside it."""
    out = tmp_path / "out"
    arguments = [word.replace("OUT", str(out)) for word in COMMANDS[stage]]
    done = without_byte_code(finished()).segloop(stage, *arguments, preexec_fn=_no_room)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "The disk is full" in done.stderr
    assert not out.exists()
    assert [file for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def without_byte_code(workspace: Workspace) -> Workspace:
    """Python itself leaves half a .pyc where a file may not grow, and stumbles over it later."""
    return replace(workspace, environment={**workspace.environment, "PYTHONDONTWRITEBYTECODE": "1"})


def _no_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))
