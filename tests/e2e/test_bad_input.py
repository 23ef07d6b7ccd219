"""Journeys of bad input: each ends with a reason and a remedy, and nothing is lost or half-written."""

import numpy as np
import pandas as pd
import pytest
from tiny import scene
from workspace import Workspace

from pipeline.images import encode_image, encode_mask

pytestmark = pytest.mark.e2e


@pytest.fixture
def own_data(workspace: Workspace) -> Workspace:
    """A workspace whose dataset is the user's own folder `photos`: 24 scenes of two frames."""
    workspace.set_params({"dataset": {"path": "data/dataset", "splits": "data/splits.csv"}, "demo_data": {"scenes": 0}})
    rng = np.random.default_rng(1)
    for number in range(48):
        image, mask = scene(rng, (96, 128), 5)
        _write(workspace, f"s{number // 2:02d}_{number % 2}", encode_image(image), encode_mask(mask))
    return workspace


def _write(workspace: Workspace, name: str, image: bytes, mask: bytes) -> None:
    for folder, data in (("images", image), ("masks", mask)):
        file = workspace.root / "photos" / folder / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def _ingest(workspace: Workspace, *options: str) -> tuple[int, str]:
    done = workspace.segloop(
        "ingest", "photos", "--format", "folders", "--batch", "may", "--group-by", "^([^_]+)_", *options
    )
    return done.returncode, done.stdout + done.stderr


def _index(workspace: Workspace) -> pd.DataFrame:
    parts = sorted((workspace.root / "data" / "dataset").glob("*/part-*.parquet"))
    return pd.concat([pd.read_parquet(part, columns=["item_id"]) for part in parts])


def test_damaged_images_are_left_out_with_their_reason(own_data: Workspace) -> None:
    """A corrupt and a truncated image stop nothing: the other items are ingested, these are listed."""
    images = own_data.root / "photos" / "images"
    (images / "s00_0.png").write_bytes(b"no image at all")
    whole = (images / "s01_1.png").read_bytes()
    (images / "s01_1.png").write_bytes(whole[: len(whole) // 2])
    code, said = _ingest(own_data)
    assert code == 0, said
    assert len(_index(own_data)) == 46
    rejected = (own_data.root / "data" / "rejected" / "may.csv").read_text()
    assert "s00_0" in rejected
    assert "s01_1" in rejected


def test_a_mask_of_another_size_is_quarantined_and_the_rest_goes_on(own_data: Workspace) -> None:
    """The item is in the quarantine with both sizes, and validation passes for the others."""
    _write(own_data, "s02_0", (own_data.root / "photos/images/s02_0.png").read_bytes(), _mask_of(10, 10))
    code, said = _ingest(own_data)
    assert code == 0, said
    done = own_data.run("dvc", "repro", "prepare")
    assert done.returncode == 0, done.stdout + done.stderr
    quarantine = pd.read_csv(own_data.root / "data" / "validation" / "quarantine.csv")
    mismatch = quarantine[quarantine["check"] == "size_mismatch"]
    assert mismatch["item_id"].tolist() == ["s02_0"]
    assert "10x10" in mismatch["detail"].iloc[0]


def test_a_value_that_no_remap_knows_stops_before_anything_is_written(own_data: Workspace) -> None:
    """The error names the value, the file and the count; there is no dataset and no ledger afterwards."""
    mask = np.zeros((96, 128), dtype=np.uint8)
    mask[0, :7] = 77
    _write(own_data, "s03_0", (own_data.root / "photos/images/s03_0.png").read_bytes(), encode_mask(mask))
    code, said = _ingest(own_data)
    assert code == 2
    assert "77" in said
    assert "s03_0" in said
    assert "7 " in said
    assert not (own_data.root / "data" / "dataset").exists()
    assert not (own_data.root / "data" / "splits.csv").exists()


def test_an_empty_dataset_fails_validation(workspace: Workspace) -> None:
    """No data is a failed verdict that says so, not a model trained on nothing."""
    workspace.set_params({"demo_data": {"scenes": 0}})
    done = workspace.run("dvc", "repro", "prepare")
    assert done.returncode != 0
    assert "empty" in (done.stdout + done.stderr).lower()
    assert not (workspace.root / "data" / "tiles").exists()


def test_a_taxonomy_with_a_gap_is_refused_by_the_first_stage(workspace: Workspace) -> None:
    """The message shows the ids received."""
    file = workspace.root / "data" / "taxonomy.yaml"
    file.write_text(file.read_text().replace("id: 4", "id: 9"))
    done = workspace.run("dvc", "repro", "validate")
    assert done.returncode != 0
    assert "without a gap, received [0, 1, 2, 3, 9]" in done.stderr + done.stdout


def _mask_of(height: int, width: int) -> bytes:
    return encode_mask(np.zeros((height, width), dtype=np.uint8))
