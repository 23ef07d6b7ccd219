"""Validation: each fault, planted alone, is found by its check alone."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from tiny import scene, tiny_items

from pipeline import validate
from pipeline.catalog import build_catalog
from pipeline.checks import Check, ValidateParams
from pipeline.errors import UserError, VerdictError
from pipeline.files import sha256_bytes
from pipeline.images import Limits, decode_image, decode_mask, encode_image, encode_mask
from pipeline.item_facts import FactSettings
from pipeline.parts import Item, write_batch
from pipeline.suite import Table, judge, raised
from pipeline.taxonomy import Taxonomy, load_taxonomy
from pipeline.validate import Verdict

LIMITS = Limits(max_bytes=2**24, max_pixels=2**22)
SETTINGS = FactSettings(num_classes=5, ignore_index=255, island_px=4, edge_low=50, edge_high=150, limits=LIMITS)
PARAMS = ValidateParams(
    acknowledge=(),
    min_classes=2,
    max_void_share=0.5,
    max_islands_per_10k_px=30,
    near_duplicate_bits=6,
    batch_min_items=4,
    batch_share_factor=3,
    batch_share_change=0.02,
    min_images_per_class=1,
    min_images_per_critical_class=2,
)
SPLIT_OF = {0: "train", 1: "val", 2: "test", 3: "train"}
CRITICAL, ORDINARY = 3, 4


@dataclass
class Data:
    """A clean dataset to plant a fault in: items 0 and 1 are of group g0 (train), 2 and 3 of g1 (val), and so on."""

    items: list[Item] = field(default_factory=lambda: list(tiny_items(groups=8)))
    further: list[Item] = field(default_factory=list)
    splits: dict[str, set[str]] = field(
        default_factory=lambda: {f"g{number}": {SPLIT_OF[number % 4]} for number in range(8)},
    )

    def with_mask(self, number: int, mask: np.ndarray) -> None:
        """Gives an item another mask."""
        data = encode_mask(mask)
        self.items[number] = replace(self.items[number], mask=data, mask_source_sha256=sha256_bytes(data))

    def with_image(self, number: int, image: bytes) -> None:
        """Gives an item another image."""
        self.items[number] = replace(self.items[number], image=image, sha256=sha256_bytes(image))

    def mask(self, number: int) -> np.ndarray:
        """An item's mask, to change."""
        return decode_mask(self.items[number].mask, LIMITS).copy()

    def validation_items(self) -> list[int]:
        """Places of the items of split val."""
        return [place for place, item in enumerate(self.items) if self.splits[item.group] == {"val"}]


def judged(data: Data, tmp_path: Path, taxonomy: Taxonomy, params: ValidateParams = PARAMS) -> Verdict:
    """Writes, catalogues and validates a dataset."""
    write_batch(tmp_path / "dataset", "first", data.items, ["camera"])
    if data.further:
        write_batch(tmp_path / "dataset", "second", data.further, ["camera"])
    catalog = build_catalog(tmp_path / "dataset", SETTINGS, tmp_path / "store", 1).to_pandas()
    return validate.validate(catalog, data.splits, taxonomy, params)


def fired(verdict: Verdict) -> dict[str, tuple[str, ...]]:
    """What failed: rows by check."""
    return {each.check.name: each.failed for each in verdict.outcomes if not each.passed}


@pytest.fixture
def taxonomy(taxonomy_file: Path) -> Taxonomy:
    """The demo's taxonomy: 5 classes, 3 critical."""
    return load_taxonomy(taxonomy_file)


def truncated_image(data: Data) -> None:
    """Half an image."""
    data.with_image(0, data.items[0].image[: len(data.items[0].image) // 2])


def smaller_mask(data: Data) -> None:
    """A mask of another size."""
    data.with_mask(0, data.mask(0)[:40])


def foreign_value(data: Data) -> None:
    """A value that the taxonomy does not know."""
    mask = data.mask(0)
    mask[20:24, 20:24] = 77
    data.with_mask(0, mask)


def void_only(data: Data) -> None:
    """A mask without a label."""
    data.with_mask(0, np.full((48, 64), 255, dtype=np.uint8))


def one_class(data: Data) -> None:
    """A mask of one class."""
    data.with_mask(0, np.ones((48, 64), dtype=np.uint8))


def mostly_void(data: Data) -> None:
    """A mask of which most is not labelled."""
    mask = data.mask(0)
    mask[23:] = 255
    data.with_mask(0, mask)


def specks(data: Data) -> None:
    """A mask with single pixels all over it."""
    mask = data.mask(0)
    mask[4:44:4, 4:60:4] = (mask[4:44:4, 4:60:4] + 1) % 5
    data.with_mask(0, mask)


def copy_of_an_item(data: Data) -> None:
    """The same image and mask twice, in one group."""
    data.items.append(replace(data.items[0], item_id="z-copy"))


def other_mask_for_an_image(data: Data) -> None:
    """The same image with another mask, in one group."""
    data.items.append(replace(data.items[0], item_id="z-copy", mask=data.items[1].mask, mask_source_sha256="other"))


def unknown_group(data: Data) -> None:
    """An item whose group is not in the ledger."""
    data.items[0] = replace(data.items[0], group="nobody placed it")


def model_chose(data: Data) -> None:
    """An item of the holdout that a model selected."""
    data.items[4] = replace(data.items[4], sampling="selected")


@pytest.mark.parametrize(
    ("plant", "check", "quarantined", "words"),
    [
        (truncated_image, "unreadable", ["item-000"], "image: "),
        (smaller_mask, "size_mismatch", ["item-000"], "the image is 64x48 px, its mask 64x40 px"),
        (foreign_value, "unknown_value", ["item-000"], "77"),
        (void_only, "empty_mask", ["item-000"], "no pixel"),
        (one_class, "single_class_mask", ["item-000"], "1 class, limit 2"),
        (mostly_void, "void_share", ["item-000"], "52.1% of the mask is void, limit 50.0%"),
        (specks, "tiny_islands", ["item-000"], "limit 30"),
        (copy_of_an_item, "duplicate_image", ["z-copy"], "item-000"),
        (other_mask_for_an_image, "conflicting_masks", ["item-000", "z-copy"], "z-copy"),
        (unknown_group, "no_split", ["item-000"], "nobody placed it"),
        (model_chose, "selected_in_holdout", ["item-004"], "'g2' is in the holdout"),
    ],
)
def test_an_item_fault_quarantines_the_item(
    plant: Callable[[Data], None],
    check: str,
    quarantined: list[str],
    words: str,
    tmp_path: Path,
    taxonomy: Taxonomy,
) -> None:
    """Only the planted fault's check fires, on the planted items, in words with value and limit; the rest goes on."""
    data = Data()
    plant(data)
    verdict = judged(data, tmp_path, taxonomy)
    assert fired(verdict) == {check: tuple(quarantined)}
    assert verdict.as_json()["passed"]
    assert verdict.quarantine["item_id"].tolist() == quarantined
    assert words in verdict.quarantine["detail"][0]
    rejected = verdict.items[~verdict.items["accepted"]]
    assert rejected["item_id"].tolist() == quarantined
    assert rejected["reasons"].str.startswith(f"{check}: ").all()


def near_copy(data: Data) -> None:
    """A slightly brighter copy of a training image in the holdout."""
    image = decode_image(data.items[0].image, LIMITS)
    data.with_image(4, encode_image((image * 0.97 + 7).astype(np.uint8)))


def straddling_group(data: Data) -> None:
    """A group taken over with both splits."""
    data.splits["g0"] = {"train", "val"}
    data.items[0] = replace(data.items[0], source_split="train")
    data.items[1] = replace(data.items[1], source_split="val")


def odd_batch(data: Data) -> None:
    """A second batch of which nearly all is of one class."""
    rng = np.random.default_rng(7)
    for number in range(4):
        image, mask = scene(rng, (48, 64), 5)
        mask[1:] = ORDINARY
        pixels, labels = encode_image(image), encode_mask(mask)
        item = replace(data.items[0], item_id=f"odd-{number}", image=pixels, mask=labels, sha256=sha256_bytes(pixels))
        data.further.append(item)


def without(label: int, but: int) -> Callable[[Data], None]:
    """Leaves a class out of all validation masks but some."""

    def plant(data: Data) -> None:
        for number in data.validation_items()[but:]:
            mask = data.mask(number)
            data.with_mask(number, np.where(mask == label, 0, mask).astype(np.uint8))

    return plant


DATASET_FAULTS = [
    (near_copy, "near_duplicates_across_splits", 2, "item-000 (train) looks like item-004"),
    (straddling_group, "groups_across_splits", 2, "item-000 (train) is of group 'g0', which is in val as well"),
    (odd_batch, "class_share", None, "batch 'second': "),
    (without(ORDINARY, 0), "class_missing_from_split", 1, "split 'val': obstacle is in 0 images, limit 1"),
    (without(CRITICAL, 1), "critical_class_too_few", 1, "split 'val': critical class human is in 1 images, limit 2"),
]


@pytest.mark.parametrize(("plant", "check", "failed", "words"), DATASET_FAULTS)
def test_a_dataset_fault_fails_the_dataset(
    plant: Callable[[Data], None], check: str, failed: int | None, words: str, tmp_path: Path, taxonomy: Taxonomy
) -> None:
    """Only the planted fault's check fires, the verdict is no, and no item is quarantined for it."""
    data = Data()
    plant(data)
    verdict = judged(data, tmp_path, taxonomy)
    assert set(fired(verdict)) == {check}
    assert failed in {None, len(fired(verdict)[check])}
    assert [each.check.name for each in verdict.failures] == [check]
    assert words in verdict.failures[0].details[0]
    assert verdict.items["accepted"].all()


@pytest.mark.parametrize(("plant", "check"), [fault[:2] for fault in DATASET_FAULTS])
def test_an_acknowledged_failure_passes_visibly(
    plant: Callable[[Data], None], check: str, tmp_path: Path, taxonomy: Taxonomy
) -> None:
    """Named in the settings, a failure lets the dataset pass and stays in the verdict with its count."""
    data = Data()
    plant(data)
    verdict = judged(data, tmp_path, taxonomy, PARAMS.model_copy(update={"acknowledge": (check,)}))
    kept = verdict.as_json()
    assert kept["passed"]
    assert kept["acknowledged"] == [{"check": check, "failed": len(fired(verdict)[check])}]
    assert kept["acknowledged_without_cause"] == []


def test_clean_data_passes(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """Nothing fires on clean data, and an acknowledgement without cause is said."""
    acknowledging = PARAMS.model_copy(update={"acknowledge": ("groups_across_splits",)})
    verdict = judged(Data(), tmp_path, taxonomy, acknowledging)
    kept = verdict.as_json()
    assert fired(verdict) == {}
    assert (kept["passed"], kept["items"], kept["accepted"], kept["quarantined"]) == (True, 16, 16, 0)
    assert kept["splits"] == {"test": 4, "train": 8, "val": 4}
    assert kept["acknowledged"] == []
    assert kept["acknowledged_without_cause"] == ["groups_across_splits"]


def test_an_empty_dataset_fails_as_empty(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """Without any item one check fires and says so, rather than every class being missing."""
    verdict = judged(Data(items=[]), tmp_path, taxonomy)
    assert set(fired(verdict)) == {"empty_dataset"}
    assert verdict.failures[0].details == ("the dataset has no item",)


def test_the_copy_in_the_holdout_stays(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """Of a duplicate across splits the training copy goes: the holdout must not shrink, and no leak is left."""
    data = Data()
    copied = data.items[0]
    data.items[4] = replace(data.items[4], image=copied.image, mask=copied.mask, sha256=copied.sha256)
    assert fired(judged(data, tmp_path, taxonomy)) == {"duplicate_image": ("item-000",)}


def test_another_mask_in_training_leaves_the_holdout(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """Of an image with two masks in two splits only the training copy goes, and its reason names the other."""
    data = Data()
    data.with_image(0, data.items[4].image)
    verdict = judged(data, tmp_path, taxonomy)
    assert fired(verdict) == {"conflicting_masks": ("item-000",)}
    assert "another mask in item-004" in verdict.quarantine["detail"][0]


def test_a_dataset_of_rejected_items_only_fails(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """When everything is quarantined the classes are missing, so that nothing empty passes."""
    verdict = judged(Data(splits={}), tmp_path, taxonomy)
    assert {"no_split", "class_missing_from_split"} <= set(fired(verdict))
    assert not verdict.as_json()["passed"]


@pytest.mark.parametrize("name", ["unreadable", "no_such_check", "empty_dataset"])
def test_only_dataset_checks_can_be_acknowledged(name: str) -> None:
    """A name that is no check, or one whose failure is never acceptable, is the user's mistake."""
    with pytest.raises(UserError, match=name):
        validate.check_acknowledged(PARAMS.model_copy(update={"acknowledge": (name,)}))


def test_a_check_that_cannot_run_is_no_verdict() -> None:
    """A check whose column is missing is an error of its own, told apart from bad data."""
    check = Check("void_share", "item", "void_share", "between", "about", "detail", most=0.5)
    table = Table("items", pd.DataFrame({"item_id": ["a"]}), "item_id", [check])
    with pytest.raises(UserError, match=r"'void_share' could not run on column 'void_share'.*says nothing about"):
        judge([table])


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"raised_exception": False, "exception_message": None}, None),
        ({"raised_exception": True, "exception_message": "no column"}, "no column"),
        ({"('metric', 1)": {"raised_exception": True, "exception_message": "no column"}}, "no column"),
        ({"('metric', 1)": {"raised_exception": False, "exception_message": None}}, None),
    ],
)
def test_exceptions_are_read_in_both_forms(info: dict[str, Any], message: str | None) -> None:
    """The library reports an exception flat or by metric; either is found."""
    assert raised(info) == message


def test_the_stage_writes_its_files_and_then_fails(
    tmp_path: Path, taxonomy_file: Path, params_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed verdict leaves all files to look at and raises with the reason; the terminal shows every check."""
    data = Data()
    data.with_image(7, b"no image")
    straddling_group(data)
    write_batch(tmp_path / "dataset", "first", data.items, ["camera"])
    rows = [(group, split) for group, splits in data.splits.items() for split in sorted(splits)]
    ledger = "group,split,since\n" + "".join(f"{group},{split},first\n" for group, split in rows)
    (tmp_path / "splits.csv").write_text(ledger)
    table = build_catalog(tmp_path / "dataset", SETTINGS, tmp_path / "store", 1)
    pq.write_table(table, tmp_path / "catalog.parquet")
    out, params = tmp_path / "validation", params_file(validate=PARAMS.model_dump(mode="json"))
    for _ in range(2):
        with pytest.raises(VerdictError, match="groups_across_splits: item-000"):
            validate.main(tmp_path / "catalog.parquet", tmp_path / "splits.csv", out, taxonomy_file, params)
    page = (out / "docs" / "index.html").read_text()
    assert not json.loads((out / "verdict.json").read_text())["passed"]
    assert len(pd.read_parquet(out / "items.parquet")) == 16
    assert pd.read_csv(out / "quarantine.csv")["check"].tolist() == ["unreadable"]
    assert "critical_class_too_few" in page
    assert not any(word in page for word in ("http:", "https:", "<script", str(tmp_path)))
    told = capsys.readouterr().out
    assert "unreadable" in told
    assert "groups_across_splits: a group straddles train and val: g0" in told
