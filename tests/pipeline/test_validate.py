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
from pipeline.catalog import catalogue
from pipeline.checks import Check, ValidateParams
from pipeline.custom_checks import CustomCheck
from pipeline.errors import UserError, VerdictError
from pipeline.files import sha256_bytes
from pipeline.images import Limits, decode_image, decode_mask, encode_image, encode_mask
from pipeline.item_facts import FactSettings
from pipeline.part_writer import write_batch
from pipeline.parts import Item
from pipeline.splits import Ledger, LedgerRow, moved_row
from pipeline.suite import Table, judge, raised
from pipeline.taxonomy import Taxonomy, load_taxonomy
from pipeline.thumbnails import DatasetReader
from pipeline.validate import Subject, Verdict

LIMITS = Limits(max_bytes=2**24, max_pixels=2**22)
SETTINGS = FactSettings(num_classes=5, ignore_index=255, island_px=4, edge_low=50, edge_high=150, limits=LIMITS)
PARAMS = ValidateParams(
    acknowledge=(),
    min_classes=2,
    max_void_share=0.5,
    max_islands_per_10k_px=30,
    near_duplicate_bits=6,
    near_duplicate_correlation=0.95,
    batch_min_items=4,
    batch_share_factor=3,
    batch_share_change=0.02,
    batch_min_groups=4,
    batch_drift_chance=0.01,
    batch_drift_effect=0.33,
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
    moves: list[LedgerRow] = field(default_factory=list)

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


def make(data: Data, tmp_path: Path) -> Path:
    """Writes a dataset."""
    write_batch(tmp_path / "dataset", "first", data.items, ["camera"])
    if data.further:
        write_batch(tmp_path / "dataset", "second", data.further, ["camera"])
    return tmp_path / "dataset"


def ledger_of(data: Data) -> Ledger:
    """The ledger of a dataset."""
    rows = [LedgerRow(group, split, "first") for group, splits in data.splits.items() for split in sorted(splits)]
    return Ledger((*rows, *data.moves))


def judged(
    data: Data,
    tmp_path: Path,
    taxonomy: Taxonomy,
    params: ValidateParams = PARAMS,
    settings: FactSettings = SETTINGS,
) -> Verdict:
    """Writes, catalogues and validates a dataset."""
    dataset = make(data, tmp_path)
    catalog, former = (table.to_pandas() for table in catalogue(dataset, settings, tmp_path / "store", 1))
    return validate.validate(
        Subject(catalog, former, ledger_of(data), taxonomy, DatasetReader(dataset, LIMITS)), params
    )


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
    (near_copy, "near_duplicates_across_splits", 2, "item-000 (train) looks like item-004 (test, group 'g2'): "),
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
    tables = catalogue(tmp_path / "dataset", SETTINGS, tmp_path / "store", 1)
    for table, name in zip(tables, ("catalog", "former"), strict=True):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    out, params = tmp_path / "validation", params_file(validate=PARAMS.model_dump(mode="json"))
    for _ in range(2):
        with pytest.raises(VerdictError, match="groups_across_splits: item-000"):
            validate.main(
                tmp_path / "dataset", tmp_path / "catalog.parquet", tmp_path / "splits.csv", out, taxonomy_file, params
            )
    page = (out / "docs" / "index.html").read_text()
    assert not json.loads((out / "verdict.json").read_text())["passed"]
    assert len(pd.read_parquet(out / "items.parquet")) == 16
    assert pd.read_csv(out / "quarantine.csv")["check"].tolist() == ["unreadable"]
    assert "critical_class_too_few" in page
    assert not any(word in page for word in ("http:", "https:", "<script", str(tmp_path)))
    told = capsys.readouterr().out
    assert "unreadable" in told
    assert "groups_across_splits: a group straddles train and val: g0" in told


def test_close_hashes_are_no_leak_where_pixels_differ(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """Two pictures that share their hash, not their content, pass; the hash alone would have failed the dataset."""
    data = Data()
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None].repeat(48, axis=0).repeat(3, axis=2)
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3))
    noisy = (ramp * 0.3 + noise * 0.7).astype(np.uint8)
    data.with_image(0, encode_image(ramp))
    data.with_image(4, encode_image(noisy))
    tables = catalogue(make(data, tmp_path), SETTINGS, tmp_path / "store", 1)
    catalog, former = (table.to_pandas() for table in tables)
    catalog.loc[catalog["item_id"] == "item-004", "phash"] = catalog["phash"][0]
    subject = Subject(catalog, former, ledger_of(data), taxonomy, DatasetReader(tmp_path / "dataset", LIMITS))
    assert fired(validate.validate(subject, PARAMS)) == {}
    lenient = PARAMS.model_copy(update={"near_duplicate_correlation": 0.0})
    assert "near_duplicates_across_splits" in fired(validate.validate(subject, lenient))


def test_images_with_close_hashes_that_were_not_compared_are_told(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """Where more hashes are close than are looked at, and no twin is found, that is said of each image, and no more."""
    tables = catalogue(make(data := Data(), tmp_path), SETTINGS, tmp_path / "store", 1)
    catalog, former = (table.to_pandas() for table in tables)
    catalog["phash"] = catalog["phash"][0]
    subject = Subject(catalog, former, ledger_of(data), taxonomy, DatasetReader(tmp_path / "dataset", LIMITS))
    verdict = validate.validate(subject, PARAMS.model_copy(update={"near_duplicate_correlation": 1.0}))
    told = {each.check.name: each for each in verdict.warnings}["near_duplicates_not_compared"]
    assert len(told.failed) == 16
    assert told.details[0] == (
        "item-000 (train) was compared with the nearest only of the images of other splits, and of other groups of its "
        "split whose hashes are close, and looks like none of those"
    )
    found = validate.validate(subject, PARAMS.model_copy(update={"near_duplicate_correlation": 0.0}))
    assert "near_duplicates_not_compared" not in fired(found)


def test_twins_in_two_groups_of_a_split_are_told_and_fail_nothing(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """They become a leak once one of the groups lies elsewhere: a warning, with both names."""
    data = Data()
    image = decode_image(data.items[0].image, LIMITS)
    data.with_image(6, encode_image((image * 0.97 + 7).astype(np.uint8)))
    verdict = judged(data, tmp_path, taxonomy)
    kept = verdict.as_json()
    assert kept["passed"]
    assert kept["warnings"] == [{"check": "near_duplicates_across_groups", "failed": 2}]
    assert (
        verdict.warnings[0]
        .details[0]
        .startswith("item-000 (train, group 'g0') looks like item-006 (train, group 'g3')")
    )


@pytest.mark.parametrize(("side", "leaks"), [("test", True), ("train", False)])
def test_an_image_that_comes_back_on_another_side_is_a_leak(
    side: str, leaks: bool, tmp_path: Path, taxonomy: Taxonomy
) -> None:
    """Removed from the holdout and brought back under other names into training, an image is recognised."""
    data = Data()
    gone, home = data.items[4], data.items[0].group
    data.splits["g2"] = {side}
    data.splits["g9"] = {"test"}
    data.items += [replace(item, item_id=f"more-{item.item_id}", group="g9") for item in tiny_items(groups=2, seed=3)]
    data.further = [
        replace(gone, deleted=True, revision=2),
        replace(gone, item_id="back", group=home),
    ]
    verdict = judged(data, tmp_path, taxonomy)
    if leaks:
        assert fired(verdict) == {"near_duplicates_across_releases": ("back",)}
        assert (
            "back (train) looks like what the dataset once held as item-004 (test, group 'g2')"
            in (verdict.failures[0].details[0])
        )
    else:
        assert "near_duplicates_across_releases" not in fired(verdict)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("train", "test", "group 'g0' moved from train to test on 2026-05-01 by Ada (n): versions trained before"),
        ("test", "train", "group 'g2' moved from test to train on 2026-05-01 by Ada (n): scores from before"),
        ("train", "val", None),
    ],
)
def test_a_recorded_move_of_the_holdout_is_told(
    before: str, after: str, words: str | None, tmp_path: Path, taxonomy: Taxonomy
) -> None:
    """A move into or out of the holdout warns with what it costs; another move costs nothing."""
    data = Data()
    group = {"train": "g0", "test": "g2"}[before]
    data.moves = [moved_row(group, after, "2026-05-01", "Ada", "n")]
    verdict = judged(data, tmp_path, taxonomy)
    assert verdict.as_json()["passed"]
    told = [detail for each in verdict.warnings for detail in each.details]
    assert [detail.startswith(words or "") for detail in told] == ([True] if words else [])
    assert set(
        verdict.items.loc[verdict.items["item_id"].isin(["item-000" if group == "g0" else "item-004"]), "split"]
    ) == {after}


@pytest.mark.parametrize("number", [0, 1])
def test_a_consensus_settles_what_its_annotators_contradict(number: int, tmp_path: Path, taxonomy: Taxonomy) -> None:
    """Of several masks of one image the consensus stays, and the others' reason names it."""
    data = Data()
    masks = [data.items[0].mask, data.items[1].mask, data.items[2].mask]
    data.items[0] = replace(data.items[0], annotator="ada")
    names = ["a-cons", "z-cons"]
    data.items.append(replace(data.items[0], item_id="m-ben", mask=masks[1], mask_source_sha256="b", annotator="ben"))
    data.items.append(
        replace(data.items[0], item_id=names[number], mask=masks[2], mask_source_sha256="c", annotator="consensus")
    )
    verdict = judged(data, tmp_path, taxonomy)
    assert fired(verdict) == {"conflicting_masks": ("item-000", "m-ben")}
    assert verdict.quarantine["detail"].str.endswith(names[number]).all()


def test_an_item_that_the_users_check_rejects_is_quarantined(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """The reason of one's own check is the quarantine's."""
    source = "def check(item, image, mask):\n    return 'too new' if item['item_id'] == 'item-003' else None\n"
    settings = replace(SETTINGS, custom=CustomCheck("own.py", source))
    verdict = judged(Data(), tmp_path, taxonomy, settings=settings)
    assert verdict.quarantine.to_numpy().tolist() == [["item-003", "custom", "too new"]]


def test_the_quarantine_list_holds_no_formula(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """An item that is named like a formula, and a reason that reads like one, stand behind a quote."""
    source = "def check(item, image, mask):\n    return '=1+1' if item['item_id'] == '@item' else None\n"
    data = Data()
    data.items[0] = replace(data.items[0], item_id="@item")
    verdict = judged(data, tmp_path, taxonomy, settings=replace(SETTINGS, custom=CustomCheck("own.py", source)))
    validate.write_verdict(verdict, tmp_path / "out")
    lines = (tmp_path / "out" / "quarantine.csv").read_text().splitlines()
    assert lines == ["item_id,check,detail", "'@item,custom,'=1+1"]


def test_a_batch_that_differs_is_told_with_pictures(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """Brighter images in a later batch warn, fail nothing, and have a page that Data Docs link."""
    data = Data(items=list(tiny_items(groups=12)))
    data.splits = {f"g{number}": {SPLIT_OF[number % 4]} for number in range(20)}
    for number, item in enumerate(tiny_items(groups=8, seed=5)):
        image = encode_image((decode_image(item.image, LIMITS) * 0.5).astype(np.uint8))
        place = {"item_id": f"late-{number:02d}", "group": f"g{12 + number // 2}"}
        data.further.append(replace(item, image=image, sha256=sha256_bytes(image), **place))
    strict = PARAMS.model_copy(update={"near_duplicate_bits": 0})
    verdict = judged(data, tmp_path, taxonomy, strict)
    validate.write_verdict(verdict, tmp_path / "out")
    assert verdict.as_json()["passed"]
    assert [each["check"] for each in verdict.as_json()["warnings"]] == ["batch_drift"]
    assert any("batch 'second': brightness is lower" in each for each in verdict.warnings[0].details)
    assert 'href="drift.html"' in (tmp_path / "out" / "docs" / "index.html").read_text()
    assert "data:image/webp" in (tmp_path / "out" / "docs" / "drift.html").read_text()
