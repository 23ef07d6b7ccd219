"""What a release changes in the holdout."""

from dataclasses import replace
from pathlib import Path

from annotation_case import classes
from release_case import relabelled
from tiny import tiny_items

from pipeline.part_writer import write_batch
from pipeline.parts import Item
from pipeline.releasing.comparison import compare_items
from pipeline.releasing.held_out import held_out_changes
from pipeline.releasing.reader import Release
from pipeline.releasing.workspace import open_workspace
from pipeline.splits import LedgerRow, append_ledger, read_ledger


def dataset(root: Path, batches: list[list[Item]], splits: dict[str, str]) -> Release:
    """A dataset of some batches, as a release is read."""
    for number, items in enumerate(batches):
        write_batch(root / "dataset", f"b{number}", items, ["camera"])
    rows = [LedgerRow(group, split, "b0") for group, split in splits.items()]
    append_ledger(root / "splits.csv", read_ledger(root / "splits.csv"), rows)
    return open_workspace(root, Path("dataset"), root / "splits.csv", classes(), None)


def test_only_what_becomes_of_the_holdout_counts(tmp_path: Path) -> None:
    """One held-out item is drawn anew, one goes, a group of two moves out, one comes; the others do not matter."""
    first = list(tiny_items(groups=8))  # two items a group
    before = dataset(tmp_path / "old", [first], {"g0": "train", "g1": "test", "g2": "test"})
    new = replace(first[0], item_id="new", group="g9", sha256="9" * 64)
    kept = [item for item in first if item.item_id != "item-003"]
    redrawn = relabelled(["item-000", "item-002"], lambda mask: 4 - mask.clip(0, 4))
    after = dataset(tmp_path / "new", [kept, [new, *redrawn]], {"g0": "train", "g1": "test", "g2": "val", "g9": "test"})
    counts = held_out_changes(before, after, compare_items(before, after))
    assert counts == {"added": 1, "removed": 3, "relabelled": 1, "replaced": 0, "migrated": 0}
