"""A journey with one's own data: the documented commands of the CamVid example, on a tiny stand-in of its layout."""

import json

import numpy as np
import pytest
from tiny import scene
from workspace import Workspace

from pipeline.images import encode_image, encode_mask

pytestmark = pytest.mark.e2e

SEQUENCES = {"train": ["0006R0", "0016E5", "0001TP"], "val": ["0016E5"], "test": ["0001TP", "Seq05VD"]}
INGEST = (
    *("ingest", "camvid", "--format", "folders", "--batch", "official", "--source", "camvid"),
    *("--group-by", "^([^_]+)_", "--accept-split"),
)


def _make_camvid(workspace: Workspace) -> None:
    """Writes 12 frames of each sequence in the layout, values and official split of CamVid."""
    rng = np.random.default_rng(0)
    for split, sequences in SEQUENCES.items():
        for sequence in sequences:
            for frame in range(12):
                image, mask = scene(rng, (90, 120), 12)
                name = f"{sequence}_{split}{frame:05d}.png"
                for folder, data in (("images", encode_image(image)), ("masks", encode_mask(mask))):
                    file = workspace.root / "camvid" / folder / split / name
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(data)


def test_the_camvid_example_runs_from_use_to_evaluate(workspace: Workspace) -> None:
    """The documented commands end with metrics of eleven classes, and the official split's leak stays visible."""
    _make_camvid(workspace)
    workspace.ok("git", "checkout", "-q", "--", "params.yaml")
    workspace.ok("segloop", "use", "examples/camvid")
    workspace.set_params({"train": {"max_epochs": 1}})
    workspace.ok("segloop", *INGEST)
    workspace.ok("dvc", "repro")
    metrics = json.loads((workspace.root / "data" / "evaluation" / "metrics.json").read_text())
    holdout = json.loads((workspace.root / "data" / "holdout.json").read_text())
    assert len(metrics["iou"]) == 11
    assert [each["check"] for each in holdout["acknowledged"]] == ["groups_across_splits"]
    assert [each["check"] for each in metrics["acknowledged"]] == ["groups_across_splits"]
    assert workspace.ok("git", "diff", "--stat", "--", "dvc.yaml") == ""


def test_use_refuses_to_overwrite_uncommitted_edits(workspace: Workspace) -> None:
    """What git does not hold is never overwritten."""
    workspace.set_params({"prepare": {"tile_px": 96}})
    edited = (workspace.root / "params.yaml").read_text()
    done = workspace.segloop("use", "examples/camvid")
    assert done.returncode == 2
    assert "params.yaml" in done.stderr
    assert (workspace.root / "params.yaml").read_text() == edited


def test_ingesting_a_batch_again_changes_nothing(workspace: Workspace) -> None:
    """The same batch is a no-op that says so."""
    _make_camvid(workspace)
    workspace.ok("git", "checkout", "-q", "--", "params.yaml")
    workspace.ok("segloop", "use", "examples/camvid")
    workspace.ok("segloop", *INGEST)
    before = {file: file.stat().st_mtime_ns for file in (workspace.root / "data" / "dataset").rglob("*")}
    workspace.ok("segloop", *INGEST)
    assert {file: file.stat().st_mtime_ns for file in (workspace.root / "data" / "dataset").rglob("*")} == before
