"""Images that the dataset held once."""

from dataclasses import replace
from pathlib import Path

from tiny import tiny_items

from pipeline.catalog import catalogue
from pipeline.former_images import with_split
from pipeline.images import Limits
from pipeline.item_facts import FactSettings
from pipeline.part_writer import write_batch
from pipeline.parts import Item

SETTINGS = FactSettings(
    num_classes=5, ignore_index=255, island_px=4, edge_low=50, edge_high=150,
    limits=Limits(max_bytes=2**24, max_pixels=2**22),
)  # fmt: skip


def former(folder: Path, *batches: list[Item]) -> list[tuple[str, str]]:
    """Item and digest of the images that the batches leave behind, catalogued one after the other."""
    for number, items in enumerate(batches):
        write_batch(folder / "d", f"b{number}", items, ["camera"])
    table = catalogue(folder / "d", SETTINGS, folder / "store", 1)[1].to_pandas()
    return list(zip(table["item_id"], table["sha256"], strict=True))


def test_only_images_out_of_use_are_listed(tmp_path: Path) -> None:
    """A removed item's image and one that a later revision replaced are; an image with a new mask is not."""
    first, second, third, fourth = tiny_items(groups=2)
    other = list(tiny_items(groups=2, seed=9))
    later = [
        replace(first, deleted=True, revision=2),
        replace(second, image=other[1].image, sha256=other[1].sha256, revision=2),
        replace(third, mask=other[2].mask, mask_source_sha256="m", revision=2),
    ]
    found = former(tmp_path, [first, second, third, fourth], later)
    assert found == [(first.item_id, first.sha256), (second.item_id, second.sha256)]


def test_an_image_of_several_revisions_is_listed_once(tmp_path: Path) -> None:
    """Two revisions of a mask repeat their image, and a removal leaves it behind once."""
    first, second, *_ = tiny_items(groups=1)
    again = replace(first, mask=second.mask, mask_source_sha256="m", revision=2)
    gone = replace(again, deleted=True, revision=3)
    assert former(tmp_path, [first, second], [again], [gone]) == [(first.item_id, first.sha256)]


def test_nothing_is_listed_while_every_row_stands(tmp_path: Path) -> None:
    """The ordinary dataset has no former images, and neither has an empty one."""
    assert former(tmp_path / "a", list(tiny_items(groups=2))) == []
    (tmp_path / "b" / "d").mkdir(parents=True)
    assert former(tmp_path / "b") == []


def test_a_former_image_lies_where_its_group_lies(tmp_path: Path) -> None:
    """The ledger tells the side; an image whose group it does not know is on none and left out."""
    first, second, *_ = tiny_items(groups=1)
    unknown = replace(second, group="nobody")
    gone = [replace(each, deleted=True, revision=2) for each in (first, unknown)]
    for number, items in enumerate(([first, unknown], gone)):
        write_batch(tmp_path / "d", f"b{number}", items, ["camera"])
    table = catalogue(tmp_path / "d", SETTINGS, tmp_path / "store", 1)[1].to_pandas()
    placed = with_split(table, {"g0": {"test"}})
    assert placed[["item_id", "split"]].to_numpy().tolist() == [[first.item_id, "test"]]
