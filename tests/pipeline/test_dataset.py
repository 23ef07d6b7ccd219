"""The dataset's tables, counted from its index and masks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.dataset import inspect, print_items, print_tables, read_items_list
from pipeline.errors import UserError
from pipeline.images import Limits, decode_mask
from pipeline.parts import read_index, read_items
from pipeline.splits import Ledger, LedgerRow, read_ledger
from pipeline.taxonomy import load_taxonomy


def test_pixels_and_splits_are_those_of_the_items(tiny_dataset: Callable[..., Path], limits: Limits) -> None:
    """Each item's pixel counts are those of its mask, and its split that of its group in the ledger."""
    root = tiny_dataset(groups=4)
    ledger = read_ledger(root / "splits.csv")
    holdings = inspect(root, ledger, limits)
    masks = {row["item_id"]: decode_mask(mask, limits) for row, _, mask in read_items(root, read_index(root))}
    for row, pixels in zip(holdings.index.itertuples(), holdings.pixels, strict=True):
        assert np.array_equal(pixels, np.bincount(masks[str(row.item_id)].ravel(), minlength=256))
        assert row.split == ledger.split_of(str(row.group), None)


def test_a_straddling_group_follows_the_split_it_came_with(tiny_dataset: Callable[..., Path], limits: Limits) -> None:
    """In a group of two splits an item that came with none is shown as placed nowhere."""
    ledger = Ledger((LedgerRow("g0", "train", "first"), LedgerRow("g0", "test", "first")))
    assert set(inspect(tiny_dataset(groups=1), ledger, limits).index["split"]) == {"(none)"}


def test_tables_name_batches_classes_and_slices(
    tiny_dataset: Callable[..., Path],
    taxonomy_file: Path,
    limits: Limits,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is printed holds the batch, every class, the splits and the slices."""
    monkeypatch.setenv("COLUMNS", "200")
    root = tiny_dataset(groups=4)
    classes = load_taxonomy(taxonomy_file)
    print_tables(inspect(root, read_ledger(root / "splits.csv"), limits), classes)
    printed = capsys.readouterr().out
    for word in ["first", *classes.names, "train", "val", "test", "camera", "8 items in 4 groups"]:
        assert word in printed


def test_an_empty_dataset_is_the_users_mistake(tmp_path: Path, limits: Limits) -> None:
    """A dataset without items has nothing to print; the error says how to add some."""
    with pytest.raises(UserError, match="segloop ingest"):
        inspect(tmp_path, Ledger(), limits)


def test_items_are_listed_as_csv_for_what_is_no_terminal(
    tiny_dataset: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line an item under the columns' names; what is not known is empty."""
    root = tiny_dataset(groups=2, per_group=1)
    print_items(read_items_list(root, read_ledger(root / "splits.csv")))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "item_id,group,split,annotator,revision"
    assert lines[1:] == ["item-000,g0,train,,1", "item-001,g1,val,,1"]


def test_items_are_listed_as_a_table_on_a_terminal(
    tiny_dataset: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person sees columns under each other."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    root = tiny_dataset(groups=1, per_group=1)
    print_items(read_items_list(root, read_ledger(root / "splits.csv")))
    assert "\u2502 item-000" in capsys.readouterr().out
