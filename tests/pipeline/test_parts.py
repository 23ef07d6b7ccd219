"""Tests of the dataset's parts."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import tiny_items

import pipeline.part_writer
from pipeline.errors import UserError
from pipeline.part_writer import write_batch
from pipeline.parts import Item, carried_columns, check_classes, parts, read_index, read_items, slice_columns
from pipeline.read_facts import FACTS_SCHEMA


def test_items_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Every item's bytes and facts survive, also past the end of a row group."""
    items = list(tiny_items(groups=35, per_group=2, size=(8, 8)))
    write_batch(tmp_path, "one", items, ["camera"])
    index = read_index(tmp_path)
    read = {
        row["item_id"]: (row["group"], row["camera"], image, mask) for row, image, mask in read_items(tmp_path, index)
    }
    assert read == {item.item_id: (item.group, item.slices["camera"], item.image, item.mask) for item in items}
    assert slice_columns(index) == ["camera"]


def test_the_time_for_a_mask_is_no_slice(tmp_path: Path) -> None:
    """It is in the index and kept when a row is rewritten, but nothing is told apart by it."""
    items = [replace(each, slices={"camera": "c1", "annotation_s": "40"}) for each in tiny_items(groups=1)]
    write_batch(tmp_path, "one", items, ["camera", "annotation_s"])
    index = read_index(tmp_path)
    assert slice_columns(index) == ["camera"]
    assert carried_columns(index) == ["annotation_s", "camera"]
    assert set(index["annotation_s"]) == {"40"}


def test_a_dataset_that_was_not_fetched_is_no_empty_one(tmp_path: Path) -> None:
    """Where DVC's pointer stands and the folder does not, the error says how to fetch it."""
    (tmp_path / "dataset.dvc").touch()
    with pytest.raises(UserError, match=r"dvc pull .*dataset\.dvc"):
        read_index(tmp_path / "dataset")


def test_a_large_batch_becomes_several_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is closed once it holds its share of bytes; the index spans the parts."""
    monkeypatch.setattr(pipeline.part_writer, "PART_BYTES", 1)
    written = write_batch(tmp_path, "one", tiny_items(groups=70, per_group=1, size=(8, 8)))
    assert len(written) == 3
    assert parts(tmp_path) == written
    assert len(read_index(tmp_path)) == 70


def test_large_images_make_small_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row group is closed once it holds its share of bytes, so that memory does not grow with the images."""
    monkeypatch.setattr(pipeline.part_writer, "ROW_GROUP_BYTES", 1)
    write_batch(tmp_path, "one", tiny_items(groups=5, per_group=1, size=(8, 8)))
    index = read_index(tmp_path)
    assert index.sort_values("row_group")["row_group"].tolist() == [0, 1, 2, 3, 4]
    assert len([*read_items(tmp_path, index)]) == 5


def test_a_selection_reads_only_its_rows(tiny_dataset: Callable[..., Path]) -> None:
    """Reading some rows of the index yields those items in their order."""
    root = tiny_dataset()
    index = read_index(root)
    chosen = index[index["item_id"].isin(["item-002", "item-007"])]
    assert [row["item_id"] for row, _, _ in read_items(root, chosen)] == ["item-002", "item-007"]


def test_a_failed_batch_leaves_nothing(tmp_path: Path) -> None:
    """A source that breaks off in the middle leaves no batch behind."""

    def broken() -> Iterator[Item]:
        yield from tiny_items(groups=1)
        raise RuntimeError("source broke")

    with pytest.raises(RuntimeError, match="source broke"):
        write_batch(tmp_path, "one", broken())
    assert list(tmp_path.iterdir()) == []


def test_a_batch_is_never_overwritten(tiny_dataset: Callable[..., Path]) -> None:
    """Parts are immutable: a taken name is an error."""
    with pytest.raises(UserError, match="Batch 'first' exists"):
        write_batch(tiny_dataset(), "first", tiny_items())


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a" * 101])
def test_a_batch_name_cannot_leave_the_dataset(tmp_path: Path, name: str) -> None:
    """Names that are paths are refused."""
    with pytest.raises(UserError, match="batch's name"):
        write_batch(tmp_path, name, [])


def test_a_higher_revision_supersedes(tiny_dataset: Callable[..., Path]) -> None:
    """The index holds the highest revision of an item only."""
    root = tiny_dataset()
    first = next(iter(tiny_items()))
    write_batch(root, "second", [replace(first, revision=2, mask_source_sha256="new")])
    index = read_index(root).set_index("item_id")
    assert index.loc[first.item_id, "revision"] == 2
    assert len(index) == 12


def test_a_tombstone_removes_the_item(tiny_dataset: Callable[..., Path]) -> None:
    """An item whose highest revision is a tombstone is in no index."""
    root = tiny_dataset()
    first = next(iter(tiny_items()))
    write_batch(root, "second", [replace(first, revision=2, deleted=True, image=b"", mask=b"")])
    assert first.item_id not in set(read_index(root)["item_id"])


def test_equal_revisions_with_different_content_are_an_error(tiny_dataset: Callable[..., Path]) -> None:
    """Nobody can tell which is right, so nobody guesses."""
    root = tiny_dataset()
    write_batch(root, "second", [replace(next(iter(tiny_items())), sha256="other")])
    with pytest.raises(UserError, match="equal revisions with different content, first 'item-000' revision 1"):
        read_index(root)


def test_a_damaged_part_is_named(tiny_dataset: Callable[..., Path]) -> None:
    """A truncated part is an error that names the part and the remedy."""
    root = tiny_dataset()
    part = parts(root)[0]
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(UserError, match=r"part-00000.parquet is damaged.*dvc checkout"):
        read_index(root)


def test_a_slice_column_cannot_shadow_the_format(tmp_path: Path) -> None:
    """A slice named like a column of the format is refused before anything is written."""
    with pytest.raises(UserError, match=r"received \['group'\]"):
        write_batch(tmp_path, "one", [], ["group"])
    assert list(tmp_path.iterdir()) == []


def test_an_empty_dataset_has_an_empty_index(tmp_path: Path) -> None:
    """A folder without parts, or a part without rows, gives an index without rows."""
    assert read_index(tmp_path).empty
    write_batch(tmp_path, "nothing", [])
    assert read_index(tmp_path).empty


def test_slice_columns_cannot_shadow_what_later_stages_write(tmp_path: Path) -> None:
    """Every column of the catalogue is reserved, so that a slice survives to the metrics."""
    for name in {*FACTS_SCHEMA.names, "confusion", "split"}:
        with pytest.raises(UserError, match=name):
            write_batch(tmp_path, "one", [], [name])


def test_a_taxonomy_that_reinterprets_stored_masks_is_refused(tmp_path: Path) -> None:
    """Classes may be added at the end; swapped or renamed ids are refused with both lists."""
    write_batch(tmp_path, "one", tiny_items(), ["camera"], ["floor", "pallet"])
    check_classes(tmp_path, ["floor", "pallet", "human"])
    with pytest.raises(UserError, match=r"hold the classes \['floor', 'pallet'\], the taxonomy now says"):
        check_classes(tmp_path, ["pallet", "floor"])


def test_slice_names_with_a_dot_are_refused(tmp_path: Path) -> None:
    """A slice column cannot be mistaken for a part of the image or mask."""
    with pytest.raises(UserError, match=r"image\.bytes"):
        write_batch(tmp_path, "one", tiny_items(), ["image.bytes"])
