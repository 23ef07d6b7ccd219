"""A journey of a training that is killed: the next run goes on from the last checkpoint."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from workspace import Workspace

pytestmark = pytest.mark.e2e


def test_a_killed_training_goes_on_where_it_was(workspace: Workspace) -> None:
    """After `kill -9` the stage has no output; run again, it trains the missing epochs only and ends whole."""
    workspace.set_params({"train": {"max_epochs": 4}})
    workspace.ok("dvc", "repro", "prepare")
    _kill_after_first_checkpoint(workspace)
    assert not (workspace.root / "data" / "training").exists()
    said = workspace.ok("dvc", "repro", "train")
    assert "resum" in said.lower()
    lines = (workspace.root / "data" / "training" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2, 3]


def _kill_after_first_checkpoint(workspace: Workspace) -> None:
    command = [sys.executable, "-m", "pipeline.train", "--tiles", "data/tiles", "--out", "data/training"]
    store = workspace.root / ".segloop" / "training"
    with subprocess.Popen(command, cwd=workspace.root, start_new_session=True) as process:
        deadline = time.monotonic() + 300
        while not list(store.glob("*/last.ckpt")):
            assert process.poll() is None, "the training ended before it wrote a checkpoint"
            assert time.monotonic() < deadline, "no checkpoint within five minutes"
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
