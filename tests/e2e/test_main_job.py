"""The main job: from nothing to a registered version, by the commands that a user runs."""

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from workspace import Workspace

pytestmark = pytest.mark.e2e


def test_one_command_makes_every_output(finished: Callable[[], Workspace]) -> None:
    """`dvc repro` on a fresh checkout runs all seven stages and leaves what each declares."""
    data = finished().root / "data"
    for output in ("catalog.parquet", "validation/verdict.json", "tiles/tiles.json", "holdout.json"):
        assert (data / output).exists()
    for output in ("training/model.safetensors", "export/model.onnx", "evaluation/metrics.json"):
        assert (data / output).exists()


def test_a_second_run_does_nothing(finished: Callable[[], Workspace]) -> None:
    """With nothing changed no stage runs again."""
    said = finished().ok("dvc", "repro")
    assert "Data and pipelines are up to date." in said
    assert "Running stage" not in said


def test_the_per_image_matrices_add_up_to_the_metrics(finished: Callable[[], Workspace]) -> None:
    """IoU per class can be computed again from the evidence that is kept."""
    data = finished().root / "data"
    metrics = json.loads((data / "evaluation" / "metrics.json").read_text())
    rows = pd.read_parquet(data / "evaluation" / "confusions.parquet")
    confusion = np.stack(rows["confusion"].tolist()).sum(axis=0).reshape(5, 5)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - np.diag(confusion)
    again = np.diag(confusion)[union > 0] / union[union > 0]
    assert metrics["miou"] == pytest.approx(again.mean())


def test_the_holdout_shares_no_group_with_training(finished: Callable[[], Workspace]) -> None:
    """No scene of the holdout taught the model."""
    data = finished().root / "data"
    held_out = {item["group"] for item in json.loads((data / "holdout.json").read_text())["items"]}
    catalog = pd.read_parquet(data / "catalog.parquet").set_index("item_id")
    taught = {
        catalog.loc[name, "group"]
        for split in ("train", "val")
        for name in pd.read_parquet(data / "tiles" / split / "index.parquet")["item_id"]
    }
    assert held_out
    assert not held_out & taught


def test_registering_twice_gives_one_version(finished: Callable[[], Workspace]) -> None:
    """Track and register are idempotent, and the summary names what was measured."""
    workspace = finished()
    for _ in range(2):
        workspace.ok("segloop", "track")
        said = workspace.ok("segloop", "register")
        assert "version 1" in said
    summary = workspace.ok("segloop", "summary")
    assert "human" in summary
    assert "mlflow ui" in summary or "mlflow server" in summary
