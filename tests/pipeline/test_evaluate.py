"""The stage `evaluate`: what it measures, what it writes, what it survives."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from stage_outputs import TAXONOMY, write_outputs

from pipeline.errors import UserError
from pipeline.evaluate import main
from pipeline.files import sha256_bytes, write_json
from pipeline.gallery import worst
from pipeline.images import encode_image, encode_mask
from pipeline.measure import MeasureSettings, seam_counts
from pipeline.part_writer import write_batch
from pipeline.parts import Item
from pipeline.plots import ROWS_PER_CLASS, confusion_rows
from pipeline.taxonomy import load_taxonomy
from training.tiling import TileGrid

COLOURS = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250]], np.uint8)
PARAMS = {
    "limits": {"max_bytes": 10**6, "max_pixels": 10**6},
    "evaluate": {
        "threads": 1,
        "batch_size": 2,
        "tolerance_px": 1,
        "confidence_bins": 5,
        "seam_px": 2,
        "gallery_images": 2,
        "gallery_px": 32,
    },
}


def item(name: str, shown: np.ndarray, truth: np.ndarray, camera: str) -> Item:
    """An image painted in the colours of `shown`, which the graph sees, and another truth."""
    image, mask = encode_image(COLOURS[shown]), encode_mask(truth)
    return Item(
        name,
        image,
        mask,
        name,
        name,
        f"g-{name}",
        sha256_bytes(image),
        sha256_bytes(mask),
        "test",
        slices={"camera": camera},
    )


def items() -> list[Item]:
    """Three images: right; wrong in a corner; larger than a tile, with void. Blue is nowhere."""
    half = np.zeros((20, 30), np.uint8)
    half[:, 15:] = 1
    wrong = half.copy()
    wrong[:5, :15] = 1
    large = np.zeros((40, 70), np.uint8)
    void = large.copy()
    void[:10] = 255
    return [
        item("a/right", half, half, "front"),
        item("wrong", half, wrong, "front"),
        item("large", large, void, "rear"),
    ]


def evaluate(root: Path, some: list[Item], out: str = "evaluation") -> Path:
    """Runs the stage on items as the holdout, with a graph whose classes are the colours."""
    if not (root / "data").exists():
        export = write_outputs(root).export
        facts = json.loads((export / "export.json").read_text())
        names = {"class_names": ["red", "green", "blue"]}
        limits = {"self_test": {"min_equal_labels": 1.0, "max_probability_error": 0.01}}
        write_json(export / "export.json", facts | names | limits)
        write_samples(export)
    write_batch(root / "dataset", out, some, ["camera"])
    listed = [
        {
            "item_id": each.item_id,
            "revision": each.revision,
            "image_sha256": each.sha256,
            "mask_sha256": sha256_bytes(each.mask),
            "group": each.group,
            "sequence_index": None,
            "slices": each.slices,
        }
        for each in some
    ]
    write_json(root / "holdout.json", {"digest": "h", "acknowledged": [{"check": "leak"}], "items": listed})
    write_json(root / "validation" / "verdict.json", {"quarantined": 7})
    (root / "taxonomy.yaml").write_text(TAXONOMY)
    (root / "p.yaml").write_text(yaml.safe_dump(PARAMS))
    return again(root, out)


def write_samples(export: Path) -> None:
    """Gives the graph samples to prove itself with."""
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    logits = image.astype(np.float32).transpose(2, 0, 1) / 16
    powers = np.exp(logits - logits.max(axis=0))
    probabilities = (powers / powers.sum(axis=0)).astype(np.float16)
    labels = image.argmax(axis=2).astype(np.uint8)
    np.savez(export / "samples.npz", image_0=image, labels_0=labels, probabilities_0=probabilities)


def again(root: Path, out: str) -> Path:
    """Runs the stage on what lies in the folder."""
    main(
        root / "data" / "export",
        root / "dataset",
        root / "holdout.json",
        root / "validation",
        root / out,
        root / "taxonomy.yaml",
        root / "p.yaml",
    )
    return root / out


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluation of the three images."""
    return evaluate(tmp_path_factory.mktemp("workspace"), items())


@pytest.fixture(scope="module")
def metrics(evaluated: Path) -> dict[str, object]:
    """Its metrics."""
    return json.loads((evaluated / "metrics.json").read_text())


def test_overlap_is_counted_over_all_images(metrics: dict) -> None:
    """IoU comes from the summed counts; a class in neither truth nor prediction is undefined; void counts nowhere."""
    assert metrics["support_px"] == {"red": 300 + 225 + 2100, "green": 300 + 375, "blue": 0}
    assert metrics["support_images"] == {"red": 3, "green": 2, "blue": 0}
    assert metrics["iou"]["red"] == pytest.approx(2625 / 2700)
    assert metrics["iou"]["green"] == pytest.approx(600 / 675)
    assert metrics["iou"]["blue"] is None
    assert metrics["miou"] == pytest.approx((2625 / 2700 + 600 / 675) / 2)
    assert metrics["false_positive_rate"]["red"] == pytest.approx(75 / 675)
    assert metrics["boundary_f"]["blue"] is None


def test_slices_count_their_own_images(metrics: dict) -> None:
    """The same per value of each slice column, undefined classes left undefined."""
    cameras = metrics["slices"]["camera"]
    assert (cameras["front"]["items"], cameras["rear"]["items"]) == (2, 1)
    assert cameras["rear"]["iou"] == {"red": 1.0, "green": None, "blue": None}
    assert cameras["front"]["miou"] < metrics["miou"]


def test_the_majority_is_measured_on_the_same_holdout(metrics: dict) -> None:
    """What predicting the most frequent class everywhere would give stands beside the model's figure."""
    assert metrics["majority"]["class"] == "red"
    assert metrics["majority"]["miou"] == pytest.approx(2625 / 3300 / 2)


def test_origins_are_named(metrics: dict, evaluated: Path) -> None:
    """Model, holdout, acknowledged leaks and quarantined items stand with the figures."""
    export = json.loads((evaluated.parent / "data" / "export" / "export.json").read_text())
    assert metrics["model_digest"] == export["digest"]
    assert (metrics["holdout_digest"], metrics["quarantined"], metrics["failed"]) == ("h", 7, [])
    assert metrics["acknowledged"] == [{"check": "leak"}]


def test_calibration_of_a_graph_that_is_nearly_always_sure(metrics: dict) -> None:
    """Saturated colours give confidence 1, so the calibration error is the share of errors."""
    assert metrics["ece"] == pytest.approx(75 / 3300, abs=1e-4)
    assert metrics["nll"] > 0.1


def test_each_image_keeps_its_counts(evaluated: Path) -> None:
    """One row an image, by item, with its confusion matrix, its expected IoU and its slices."""
    rows = pd.read_parquet(evaluated / "confusions.parquet")
    assert rows["item_id"].tolist() == ["a/right", "large", "wrong"]
    assert rows["camera"].tolist() == ["front", "rear", "front"]
    assert rows["confusion"][2].tolist() == [225, 0, 0, 75, 300, 0, 0, 0, 0]
    assert rows["tiles"].tolist() == [1, 6, 1]
    assert rows["bin_px"][1].sum() == 2100


def test_the_reference_is_in_the_order_of_the_items(evaluated: Path) -> None:
    """Embeddings, confidences, class shares and image statistics, a row an image."""
    with np.load(evaluated / "reference.npz") as arrays:
        assert arrays["item_ids"].tolist() == ["a/right", "large", "wrong"]
        assert arrays["embeddings"].shape == (3, 3)
        np.testing.assert_allclose(arrays["class_shares"], [[0.5, 0.5, 0], [1, 0, 0], [0.5, 0.5, 0]])
        assert arrays["image_stats"].shape == (3, len(arrays["image_stat_names"]))
        np.testing.assert_allclose(arrays["embeddings"][1], [250 / 16, 0, 0], rtol=1e-5)


def test_pictures_and_tables_are_there(evaluated: Path) -> None:
    """Each plot as a table for DVC and as PNG, and a page of the worst images without outside parts."""
    for name in ("confusion", "iou", "reliability", "slices"):
        assert (evaluated / "plots" / f"{name}.csv").stat().st_size
        assert (evaluated / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (evaluated / "gallery" / "index.html").read_text()
    assert {file.name for file in (evaluated / "gallery").glob("*.png")} == {"wrong.png", "a_right.png"}
    assert page.index("wrong.png") < page.index("a_right.png")
    assert "://" not in page


def test_evaluating_twice_gives_the_same_files(evaluated: Path) -> None:
    """Nothing of the clock or of threads is in the outputs."""
    second = again(evaluated.parent, "second")
    files = sorted(file.relative_to(second) for file in second.rglob("*") if file.is_file())
    assert len(files) > 10
    assert [name for name in files if (second / name).read_bytes() != (evaluated / name).read_bytes()] == []


def test_an_image_that_cannot_be_decoded_does_not_stop_the_others(tmp_path: Path) -> None:
    """It is listed with its reason, as is a mask of another size."""
    first, second, third = items()
    cut = first.image[:60]
    broken = dataclasses.replace(first, image=cut, sha256=sha256_bytes(cut))
    odd = dataclasses.replace(second, mask=third.mask)
    out = evaluate(tmp_path, [broken, odd, third])
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["items"] == 1
    assert [each["item_id"] for each in metrics["failed"]] == ["a/right", "wrong"]
    assert metrics["failed"][1]["reason"] == "image of (20, 30) px, mask of (40, 70) px"


def test_a_holdout_of_broken_images_is_an_error(tmp_path: Path) -> None:
    """When none can be decoded there is nothing to measure, and nothing is written."""
    broken = dataclasses.replace(items()[0], image=b"none", sha256=sha256_bytes(b"none"))
    with pytest.raises(UserError, match="None of 1"):
        evaluate(tmp_path, [broken])
    assert not (tmp_path / "evaluation").exists()


def test_a_dataset_that_changed_is_refused(tmp_path: Path) -> None:
    """Bytes that are not those of the holdout's list are not measured."""
    evaluate(tmp_path, items())
    facts = json.loads((tmp_path / "holdout.json").read_text())
    facts["items"][0]["mask_sha256"] = "0" * 64
    write_json(tmp_path / "holdout.json", facts)
    with pytest.raises(UserError, match="has changed"):
        again(tmp_path, "later")


def test_a_missing_verdict_is_the_users_mistake(tmp_path: Path) -> None:
    """A folder of validation without its verdict is named with the stage to run."""
    evaluate(tmp_path, items())
    (tmp_path / "validation" / "verdict.json").unlink()
    with pytest.raises(UserError, match=r"There is no .*verdict\.json: run `dvc repro validate`"):
        again(tmp_path, "second")


def test_only_void_is_undefined(tmp_path: Path) -> None:
    """A holdout of nothing but void has no mIoU, no calibration and no seam; the command still answers."""
    void = item("void", np.zeros((8, 8), np.uint8), np.full((8, 8), 255, np.uint8), "front")
    metrics = json.loads((evaluate(tmp_path, [void]) / "metrics.json").read_text())
    assert {metrics[name] for name in ("miou", "ece", "nll", "pixel_accuracy", "seam")} == {None}


SETTINGS = MeasureSettings(2, 255, tolerance_px=1, confidence_bins=2, seam_px=1, limits=None)  # type: ignore[arg-type]


def test_the_seam_score_sees_errors_at_the_edges_of_tiles() -> None:
    """Errors along the inner edge of a tile count as seam errors, others do not, and void counts nowhere."""
    truth = np.zeros((8, 12), np.uint8)
    labels = truth.copy()
    grid = TileGrid(8, 12, tile_px=8, overlap_px=4)
    labels[:, 4] = 1
    truth[0] = 255
    counts = seam_counts(truth, labels, grid, SETTINGS)
    assert counts == {"seam_px": 28, "seam_errors": 7, "elsewhere_px": 56, "elsewhere_errors": 0}


def test_a_single_tile_has_no_seam() -> None:
    """The border of the image is no seam."""
    counts = seam_counts(np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8), TileGrid(8, 8, 8, 2), SETTINGS)
    assert (counts["seam_px"], counts["elsewhere_px"]) == (0, 64)


def test_the_worst_of_a_critical_class_is_picked(tmp_path: Path) -> None:
    """An image that is good on average but misses the critical class is shown."""
    (tmp_path / "t.yaml").write_text(TAXONOMY)
    taxonomy = load_taxonomy(tmp_path / "t.yaml")
    bad, missed = [5, 0, 5, 0, 0, 0, 0, 0, 0], [90, 0, 0, 1, 0, 0, 0, 0, 90]
    picks = worst(pd.DataFrame({"item_id": ["bad", "missed"], "confusion": [bad, missed]}), taxonomy, 1)
    assert [pick.item_id for pick in picks] == ["bad", "missed"]
    assert picks[1].reason == "IoU of green 0.000"


def test_the_confusion_table_has_the_shares_of_the_matrix() -> None:
    """DVC counts rows: each true class has as many as its shares need, an absent class none."""
    table = confusion_rows(np.array([[30, 10, 0], [0, 4, 0], [0, 0, 0]]), ["a", "b", "c"])
    counts = table.value_counts().to_dict()
    assert counts == {("a", "a"): 0.75 * ROWS_PER_CLASS, ("a", "b"): 0.25 * ROWS_PER_CLASS, ("b", "b"): ROWS_PER_CLASS}
