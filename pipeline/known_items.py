"""What the dataset holds already of the items that a batch brings."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.files import sha256_bytes
from pipeline.formats.source import Facts
from pipeline.intake import Known
from pipeline.parts import INDEX_COLUMNS, Item, opened, parts, read_index, read_items, slice_columns


def known_items(dataset: Path, names: set[str], batch: str) -> dict[str, Known]:
    """What other batches hold of these items; reads the bytes of no other item.

    Args:
        dataset: The dataset's folder.
        names: Item ids.
        batch: The batch being added, whose own items do not count.
    """
    if not _holds_any(dataset, names):
        return {}
    index = read_index(dataset, tombstones=True)
    rows = index[index["item_id"].isin(names) & (index["batch"] != batch)]
    slices = slice_columns(index)
    return {row["item_id"]: known(_stored(row, mask, slices)) for row, _, mask in read_items(dataset, rows)}


def stored_items(folder: Path) -> Iterator[Item]:
    """The items of a batch on disk without their images; none when there is no batch."""
    for part in sorted(folder.glob("part-*.parquet")):
        with pq.ParquetFile(part) as file:
            names = [name for name in file.schema_arrow.names if name not in {"image", "mask"}]
            rows = file.read(columns=[*names, "mask.bytes"]).to_pylist()
        slices = [name for name in names if name not in INDEX_COLUMNS]
        yield from (_stored(row, row["mask"]["bytes"], slices) for row in rows)


def _stored(row: Mapping[str, Any], mask: bytes, slices: list[str]) -> Item:
    import pandas as pd

    # A table read through pandas holds its own kinds of nothing, and moments of its own class.
    stated: dict[str, Any] = {name: None if pd.isna(row[name]) else row[name] for name in [*INDEX_COLUMNS, *slices]}
    moment = stated["captured_at"]
    stated["captured_at"] = None if moment is None else pd.Timestamp(moment).to_pydatetime()
    facts = {name: stated[name] for name in INDEX_COLUMNS}
    of_slices = {name: stated[name] for name in slices if stated[name] is not None}
    return Item(**facts, image=b"", mask=mask, image_path="", mask_path="", slices=of_slices)


def known(item: Item) -> Known:
    """What matters of an item when it comes again."""
    return Known(
        revision=int(item.revision),
        group=item.group,
        facts=Facts(item.group, item.sequence_index, item.annotator, item.captured_at, item.slices),
        sampling=item.sampling,
        source_split=item.source_split,
        content=None if item.deleted else (item.sha256, item.mask_source_sha256, sha256_bytes(item.mask)),
    )


def _holds_any(root: Path, names: set[str]) -> bool:
    ordered = sorted(names)
    return any(_part_holds(part, ordered) for part in parts(root))


def _part_holds(part: Path, names: list[str]) -> bool:
    """Whether a part has a row of one of these sorted names; reads the row groups only whose range has one."""
    with opened(part) as file:
        leaves = [file.schema.column(number).path for number in range(len(file.schema))]
        column = leaves.index("item_id")
        chunks = [file.metadata.row_group(group).column(column) for group in range(file.metadata.num_row_groups)]
        groups = [group for group, chunk in enumerate(chunks) if _may_hold(chunk, names)]
        found = file.read_row_groups(groups, columns=["item_id"])["item_id"].to_pylist()
    return not set(names).isdisjoint(found)


def _may_hold(chunk: pq.ColumnChunkMetaData, names: list[str]) -> bool:
    if not chunk.is_stats_set or not chunk.statistics.has_min_max:
        return True
    lowest = bisect_left(names, chunk.statistics.min)
    return lowest < len(names) and names[lowest] <= chunk.statistics.max
