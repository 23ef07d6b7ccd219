"""Writes the parts of a dataset: a batch appears whole, by one rename, or not at all."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.class_lists import CLASSES_KEY
from pipeline.errors import UserError
from pipeline.files import atomic_dir
from pipeline.parts import FIELDS, INDEX_COLUMNS, PLACE_COLUMNS, Item

ROW_GROUP_ROWS = 32
ROW_GROUP_BYTES = 32 * 2**20
PART_BYTES = 128 * 2**20
PART_NAME = "part-{:05d}.parquet"
BATCH_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

# What later stages put beside these columns: a slice of such a name would be overwritten there.
RESERVED = frozenset(
    "split accepted reasons tiles first error image_sha256 mask_sha256 width height mode bytes mask_width mask_height "  # noqa: SIM905
    "phash class_px void_px unknown_values components islands edge_distance_px brightness contrast saturation blur "
    "confusion mean_confidence expected_intersection expected_union expected_iou nll miou seam_px seam_errors "
    "elsewhere_px elsewhere_errors bin_px bin_confidence bin_correct custom".split()
)


def write_batch(
    root: Path,
    batch: str,
    items: Iterable[Item],
    slice_names: Sequence[str] = (),
    class_names: Sequence[str] = (),
    notes: Mapping[bytes, str] | None = None,
) -> list[Path]:
    """Writes items as the parts of a new batch; it appears whole, by one rename, or not at all.

    Args:
        root: The dataset's folder.
        batch: The batch's name, which must be new.
        items: Consumed as a stream; about one row group is held in memory.
        slice_names: The slice columns; an item without a value gets null.
        class_names: The classes by id that the masks were converted to; kept with the part, for `check_classes`.
        notes: What else is kept with the part, by name.

    Returns:
        The parts written; an empty stream writes one without rows.

    Raises:
        UserError: The name is not usable or taken, or a slice column has the name of a column of the format.
    """
    schema = _schema(slice_names).with_metadata({CLASSES_KEY: json.dumps(list(class_names)), **(notes or {})})
    folder = root / checked_batch_name(batch)
    if folder.exists():
        raise UserError(f"Batch '{batch}' exists in {root}. Parts are immutable: choose another name.")
    with atomic_dir(folder) as temporary:
        count = _write_parts(temporary, items, schema)
    return [folder / PART_NAME.format(number) for number in range(count)]


def checked_batch_name(batch: str) -> str:
    """The name itself; a UserError when it cannot be a folder of a dataset."""
    if not BATCH_NAME.fullmatch(batch):
        raise UserError(f"A batch's name has letters, digits, '.', '_' and '-' only, received {batch!r}.")
    return batch


def encoding(schema: pa.Schema) -> dict[str, Any]:
    """How a part of this schema is written: the options of `pyarrow.parquet.ParquetWriter`."""
    # Images and masks are compressed already: a second pass costs time and gains nothing.
    bulk = {"image.bytes": "NONE", "mask.bytes": "NONE"}
    others = {"image.path": "ZSTD", "mask.path": "ZSTD"}
    flat = {name: "ZSTD" for name in schema.names if name not in {"image", "mask"}}
    return {"compression": {**bulk, **others, **flat}, "use_dictionary": list(flat)}


def _schema(slice_names: Sequence[str]) -> pa.Schema:
    taken = sorted(set(slice_names) & {*FIELDS, *PLACE_COLUMNS, *RESERVED})
    if taken:
        raise UserError(f"Slice columns cannot have the names of the format's own columns, received {taken}.")
    dotted = [name for name in slice_names if "." in name]
    if dotted:
        raise UserError(f"Slice columns cannot have a dot in their name, which stands for a part, received {dotted}.")
    return pa.schema([*FIELDS.items(), *((name, pa.string()) for name in sorted(slice_names))])


def _write_parts(folder: Path, items: Iterable[Item], schema: pa.Schema) -> int:
    stream, count, more = iter(items), 0, True
    while more:
        with pq.ParquetWriter(folder / PART_NAME.format(count), schema, **encoding(schema)) as writer:
            more = _fill_part(writer, stream, schema)
        count += 1
    return count


def _fill_part(writer: pq.ParquetWriter, stream: Iterator[Item], schema: pa.Schema) -> bool:
    """Writes row groups until the part is full; returns whether the stream may hold more."""
    written = 0
    while written < PART_BYTES:
        rows, held = _row_group(stream)
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=ROW_GROUP_ROWS)
        if len(rows) < ROW_GROUP_ROWS and held < ROW_GROUP_BYTES:
            return False
        written += held
    return True


def _row_group(stream: Iterator[Item]) -> tuple[list[dict[str, Any]], int]:
    """The next rows, as many as make a group or reach its bytes: large images must not pile up in memory."""
    rows: list[dict[str, Any]] = []
    held = 0
    while len(rows) < ROW_GROUP_ROWS and held < ROW_GROUP_BYTES and (item := next(stream, None)) is not None:
        rows.append(_row(item))
        held += len(item.image) + len(item.mask)
    return rows, held


def _row(item: Item) -> dict[str, Any]:
    row = {name: getattr(item, name) for name in INDEX_COLUMNS}
    row["image"] = {"bytes": item.image, "path": item.image_path}
    row["mask"] = {"bytes": item.mask, "path": item.mask_path}
    return row | item.slices
