"""Tests of the links from a graph back to the masks: each holds when nothing was changed, and none can be forged."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from stage_outputs import graph, taught

from pipeline.files import digest_json, read_json, sha256_file, write_json
from pipeline.model_versions import VersionFiles
from pipeline.origins import GRAPH_KEY, Origins
from pipeline.prepare import dataset_digest
from training.onnx_graph import describe, to_bytes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A version's artifacts, each of which names the next by its digest."""
    taught(3).to_parquet(tmp_path / "items.parquet")
    held_out = {"item_id": "h0", "revision": 1, "group": "h", "image_sha256": "i", "mask_sha256": "m"}
    write_json(tmp_path / "holdout.json", {"digest": "h", "items": [held_out]})
    rows = pd.concat([taught(3), pd.DataFrame([held_out]).assign(split="test")]).sort_values("item_id")
    facts = {"taxonomy_version": 1, "dataset_digest": dataset_digest(1, rows)}
    tiles = {**facts, "digest": digest_json(facts)}
    write_json(tmp_path / "tiles.json", tiles)
    made_from = {"tiles": tiles["digest"], "params": {"seed": 7}}
    write_json(tmp_path / "training.json", {"digest": digest_json(made_from), "made_from": made_from})
    model = graph()
    describe(model, {GRAPH_KEY: json.dumps(digest_json(made_from))})
    (tmp_path / "export").mkdir()
    (tmp_path / "export/model.onnx").write_bytes(to_bytes(model))
    return tmp_path


def origins(folder: Path) -> Origins:
    """Of the files as they lie there now."""
    return Origins(VersionFiles(folder, sha256_file(folder / "export/model.onnx")))


def held(folder: Path, decided: str | None = None) -> dict[str, bool | None]:
    """Which links hold."""
    return {link.name: link.holds for link in origins(folder).links(decided)}


def test_every_link_of_an_unchanged_version_holds(folder: Path) -> None:
    """From the decided graph over training and tiles to each mask."""
    decided = sha256_file(folder / "export/model.onnx")
    assert held(folder, decided) == {"model": True, "training": True, "tiles": True, "dataset": True}


def test_a_version_without_decision_has_nothing_to_compare_its_graph_with(folder: Path) -> None:
    """The first link is unknown, not broken."""
    assert held(folder)["model"] is None


def relabel(folder: Path) -> None:
    """Another mask of an image that taught it."""
    rows = pd.read_parquet(folder / "items.parquet")
    rows.loc[0, "mask_sha256"] = "0" * 64
    rows.to_parquet(folder / "items.parquet")


def swap_tiles(folder: Path) -> None:
    """Tiles of another dataset, with a digest that fits them."""
    facts = {"taxonomy_version": 1, "dataset_digest": "another"}
    write_json(folder / "tiles.json", {**facts, "digest": digest_json(facts)})


def swap_params(folder: Path) -> None:
    """Another seed than the one it was trained with."""
    facts = read_json(folder / "training.json", "")
    facts["made_from"]["params"]["seed"] = 8
    write_json(folder / "training.json", facts)


def swap_training(folder: Path) -> None:
    """Another training, with a digest that fits its params."""
    made_from = {"tiles": read_json(folder / "tiles.json", "")["digest"], "params": {"seed": 8}}
    write_json(folder / "training.json", {"digest": digest_json(made_from), "made_from": made_from})


def hold_back(folder: Path) -> None:
    """An image of the holdout that is no longer told."""
    write_json(folder / "holdout.json", {"digest": "h", "items": []})


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (relabel, "dataset"),
        (swap_tiles, "tiles"),
        (swap_params, "training"),
        (swap_training, "training"),
        (hold_back, "dataset"),
    ],
)
def test_a_changed_origin_breaks_its_link(folder: Path, change: Callable[[Path], None], broken: str) -> None:
    """What was exchanged afterwards is named, though its own digest may fit."""
    change(folder)
    assert held(folder)[broken] is False


def test_an_exchanged_graph_is_not_the_one_decided_on(folder: Path) -> None:
    """Another graph of the same training breaks the first link."""
    decided = sha256_file(folder / "export/model.onnx")
    model = onnx.load(folder / "export/model.onnx")
    model.doc_string = "another"
    onnx.save(model, folder / "export/model.onnx")
    assert held(folder, decided)["model"] is False


def test_a_version_that_keeps_no_lists_is_unknown_not_broken(folder: Path) -> None:
    """Versions of older releases lack the lists of their images."""
    (folder / "items.parquet").unlink()
    assert held(folder)["dataset"] is None
    assert origins(folder).items is None
    (folder / "tiles.json").unlink()
    assert (held(folder)["tiles"], held(folder)["dataset"]) == (None, None)


def test_the_images_are_listed_with_split_and_annotator(folder: Path) -> None:
    """Those that taught it and those that measured it, by name."""
    rows = origins(folder).items
    assert rows is not None
    assert rows[["item_id", "split"]].to_numpy().tolist() == [
        ["h0", "test"],
        ["t0", "train"],
        ["t1", "train"],
        ["t2", "val"],
    ]
    assert rows["annotator"].fillna("").tolist() == ["", "ada", "ada", "ada"]
    assert not np.any(rows["mask_sha256"].isna())
