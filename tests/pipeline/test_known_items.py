"""What a dataset holds of items that come again."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
from tiny import tiny_items

from pipeline.known_items import known, known_items, stored_items
from pipeline.part_writer import write_batch


def test_items_are_found_wherever_they_lie(tmp_path: Path) -> None:
    """A name in any row group of any part is found, removed items included; names that are not there are not."""
    items = [replace(item, image_path="", mask_path="") for item in tiny_items(groups=35, per_group=2, size=(8, 8))]
    write_batch(tmp_path, "one", items[:40])
    write_batch(tmp_path, "two", [*items[40:69], replace(items[69], deleted=True)])
    for item in (items[0], items[39], items[69]):
        assert list(known_items(tmp_path, {item.item_id, "absent", ""}, "three")) == [item.item_id]
    assert known_items(tmp_path, {"absent", "zzz"}, "three") == {}
    assert known_items(tmp_path, {items[69].item_id}, "three")[items[69].item_id].content is None


def test_a_batchs_own_items_are_read_apart(tmp_path: Path) -> None:
    """The batch being added does not count as known; its items are read with what they were written with."""
    items = list(tiny_items(groups=2, per_group=2, size=(8, 8)))
    write_batch(tmp_path, "one", items)
    assert known_items(tmp_path, {item.item_id for item in items}, "one") == {}
    stored = {item.item_id: known(item) for item in stored_items(tmp_path / "one")}
    assert {name: each.content for name, each in stored.items()} == {i.item_id: known(i).content for i in items}


def test_an_empty_dataset_knows_nothing(tmp_path: Path) -> None:
    """Without parts, or with a part without rows, no item is known."""
    assert known_items(tmp_path, {"a"}, "one") == {}
    write_batch(tmp_path, "one", [])
    assert known_items(tmp_path, {"a"}, "two") == {}


def test_the_order_of_columns_does_not_matter(tmp_path: Path) -> None:
    """A part whose columns another tool has put in another order is searched in the right one."""
    items = list(tiny_items(groups=2, per_group=2, size=(8, 8)))
    (part,) = write_batch(tmp_path, "one", items)
    table = pq.read_table(part)
    pq.write_table(table.select([*[name for name in table.column_names if name != "item_id"], "item_id"]), part)
    assert list(known_items(tmp_path, {items[3].item_id}, "two")) == [items[3].item_id]
