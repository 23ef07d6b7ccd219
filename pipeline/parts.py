"""The dataset on disk: immutable Parquet parts, one row per annotated image.

A dataset is a folder of batches, a batch a folder of parts: `DATASET/BATCH/part-00000.parquet`. A batch appears by
one rename, so it is whole or absent. Images and masks are `{bytes, path}` structs, the convention of Hugging Face
datasets. A later row of the same item with a higher revision supersedes the lower; a row with `deleted` is a
tombstone.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.class_lists import CLASSES_KEY, first_foreign
from pipeline.errors import UserError
from pipeline.files import atomic_dir

if TYPE_CHECKING:
    import pandas as pd

ROW_GROUP_ROWS = 32
ROW_GROUP_BYTES = 32 * 2**20
PART_BYTES = 128 * 2**20
PART_NAME = "part-{:05d}.parquet"
BATCH_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SAMPLING = ("uniform", "selected")

_BYTES = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_FIELDS: dict[str, pa.DataType] = {
    "item_id": pa.string(),
    "revision": pa.int32(),
    "deleted": pa.bool_(),
    "image": _BYTES,
    "mask": _BYTES,
    "group": pa.string(),
    "sequence_index": pa.int64(),
    "annotator": pa.string(),
    "captured_at": pa.timestamp("us", tz="UTC"),
    "source": pa.string(),
    "source_split": pa.string(),
    "sampling": pa.string(),
    "sha256": pa.string(),
    "mask_source_sha256": pa.string(),
}
INDEX_COLUMNS = [name for name in _FIELDS if name not in {"image", "mask"}]
PLACE_COLUMNS = ["batch", "part", "row_group", "row"]
ANNOTATION_S = "annotation_s"
# Stored like slices, but no kind of image: a figure of each item, by which nothing is to be cut.
FACT_COLUMNS = frozenset({ANNOTATION_S})

# What later stages put beside these columns: a slice of such a name would be overwritten there.
RESERVED = frozenset(
    "split accepted reasons tiles first error image_sha256 mask_sha256 width height mode bytes mask_width mask_height "  # noqa: SIM905
    "phash class_px void_px unknown_values components islands edge_distance_px brightness contrast saturation blur "
    "confusion mean_confidence expected_intersection expected_union expected_iou nll miou seam_px seam_errors "
    "elsewhere_px elsewhere_errors bin_px bin_confidence bin_correct custom".split()
)


@dataclass(frozen=True)
class Item:
    """One annotated image, as a row of a part.

    Attributes:
        item_id: Unique name in the dataset.
        image: Encoded image, bytes as they came.
        mask: PNG of taxonomy ids, 8-bit.
        image_path: The name that the image had in its source.
        mask_path: The name that the mask had in its source.
        group: What must never straddle splits (scene, sequence, site).
        sha256: Digest of the image's bytes.
        mask_source_sha256: Digest of the annotation as it came.
        source: Where it came from; chooses the remap.
        revision: Higher supersedes lower.
        deleted: A tombstone: the item is removed.
        sequence_index: Place in the group's sequence.
        annotator: Who drew the mask.
        captured_at: When the image was taken, UTC.
        source_split: The split that came with the data, when it was accepted.
        sampling: `uniform`, or `selected` when a model chose it; selected items never enter the holdout.
        slices: Values of the slice columns (camera, lighting, site).
    """

    item_id: str
    image: bytes
    mask: bytes
    image_path: str
    mask_path: str
    group: str
    sha256: str
    mask_source_sha256: str
    source: str
    revision: int = 1
    deleted: bool = False
    sequence_index: int | None = None
    annotator: str | None = None
    captured_at: datetime | None = None
    source_split: str | None = None
    sampling: str = "uniform"
    slices: dict[str, str] = field(default_factory=dict)


def parts(root: Path) -> list[Path]:
    """The dataset's parts, in the order of their names; none when the folder is missing."""
    return sorted(part for part in root.glob("*/part-*.parquet") if not part.parent.name.startswith("."))


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


def read_index(root: Path, *, tombstones: bool = False) -> "pd.DataFrame":
    """Reads every column but the bytes: the winning revision of each item, tombstoned items left out.

    With `tombstones` it keeps the rows of removed items too, which hold the revision that a return must exceed.

    Returns:
        One row per item, sorted by `item_id`: the format's columns, slice columns, and `batch`, `part` (relative
        path), `row_group`, `row` (within the row group). Null is None, NaN or NA.

    Raises:
        UserError: A part is damaged or of another format, equal revisions of an item differ in content, or DVC knows
            the dataset but it is not in the workspace.
    """
    import pandas as pd

    tables = []
    for part in parts(root):
        with opened(part) as file:
            tables.append(index_table(file, batch=part.parent.name, part=part.relative_to(root).as_posix()))
    if not tables:
        refuse_absent(root)
        return pd.DataFrame({name: pd.Series(dtype="object") for name in [*INDEX_COLUMNS, *PLACE_COLUMNS]})
    table = pa.concat_tables(tables, promote_options="default")
    found = winners(table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get))
    return found if tombstones else found[~found["deleted"].astype(bool)].reset_index(drop=True)


def refuse_absent(root: Path) -> None:
    """Refuses to take a dataset for empty that DVC knows, but that was not fetched into the workspace.

    Raises:
        UserError: Its pointer is there and its folder is not.
    """
    pointer = root.with_name(f"{root.name}.dvc")
    if pointer.exists() and not root.exists():
        raise UserError(f"The dataset {root} is not here, but {pointer} names it. Fetch it: dvc pull {pointer}")


def index_table(file: pq.ParquetFile, **constants: str) -> pa.Table:
    """Every row of a part without images and masks, with its place (`row_group`, `row`) and columns of one value."""
    table = file.read(columns=[name for name in file.schema_arrow.names if name not in {"image", "mask"}])
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    rows = np.concatenate([np.arange(0), *map(np.arange, sizes)])
    for name, value in constants.items():
        table = table.append_column(name, pa.array([value] * len(rows), pa.string()))
    groups = pa.array(np.repeat(np.arange(len(sizes)), sizes), pa.int32())
    return table.append_column("row_group", groups).append_column("row", pa.array(rows, pa.int32()))


def winners(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The row of the highest revision of each item, tombstones too, sorted by `item_id`.

    Raises:
        UserError: Equal revisions of an item differ in content.
    """
    ordered = rows.sort_values(["item_id", "revision", "part", "row_group", "row"], kind="stable")
    same = ordered[ordered.duplicated(["item_id", "revision"], keep=False)]
    content = same.groupby(["item_id", "revision"])[["sha256", "mask_source_sha256", "deleted"]].nunique(dropna=False)
    differing = content[(content > 1).any(axis=1)].index.tolist()
    if differing:
        item, revision = differing[0]
        raise UserError(
            f"{len(differing)} items have equal revisions with different content, first '{item}' revision {revision} "
            f"in {sorted(same[same['item_id'] == item]['part'])}. Ingest the newer one with `--relabel`.",
        )
    return ordered.drop_duplicates("item_id", keep="last").reset_index(drop=True)


@contextmanager
def opened(part: Path) -> Iterator[pq.ParquetFile]:
    """Opens a part.

    Raises:
        UserError: It is damaged or of another format.
    """
    try:
        with pq.ParquetFile(part) as file:
            missing = [name for name in _FIELDS if name not in file.schema_arrow.names]
            if missing:
                raise UserError(f"{part} is no part of a dataset: the columns {missing} are missing.")
            yield file
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{part} is damaged: {error}. Restore it with `dvc checkout` or ingest it again.") from None


def check_classes(root: Path, class_names: Sequence[str]) -> None:
    """Refuses a taxonomy whose ids mean something else than the masks do; classes may be added at the end.

    Raises:
        UserError: A part was converted to classes that are not the first of these, in this order.
    """
    headers = {}
    for part in parts(root):
        with opened(part) as file:
            headers[part] = file.schema_arrow.metadata or {}
    foreign = first_foreign(headers, class_names)
    if foreign:
        part, stored = foreign
        raise UserError(
            f"The masks of {part} hold the classes {stored}, the taxonomy now says {list(class_names)}. Restore "
            "the taxonomy, finish a `segloop migrate` that was stopped, or ingest the batch anew with a remap."
        )


def slice_columns(index: "pd.DataFrame") -> list[str]:
    """The slice columns of an index, sorted: what results are told apart by."""
    return [name for name in carried_columns(index) if name not in FACT_COLUMNS]


def carried_columns(index: "pd.DataFrame") -> list[str]:
    """The slice columns of an index and what else its source told, sorted: what a rewritten row keeps."""
    return sorted(set(index.columns) - {*INDEX_COLUMNS, *PLACE_COLUMNS})


def read_items(root: Path, index: "pd.DataFrame") -> Iterator[tuple[dict[str, Any], bytes, bytes]]:
    """Reads images and masks of the index's rows, whole row groups at a time, in the order of the parts.

    Args:
        root: The dataset's folder.
        index: Rows of `read_index`; any selection of them.

    Yields:
        The row as a dict, the encoded image, the encoded mask.
    """
    for part, in_part in index.groupby("part", sort=True):
        with pq.ParquetFile(root / str(part)) as file:
            for row_group, in_group in in_part.groupby("row_group", sort=True):
                table = file.read_row_group(int(str(row_group)), columns=["image.bytes", "mask.bytes"])
                images, masks = table.column("image"), table.column("mask")
                for row in in_group.sort_values("row").to_dict("records"):
                    place = int(row["row"])
                    image, mask = images[place]["bytes"].as_py(), masks[place]["bytes"].as_py()
                    yield {str(key): value for key, value in row.items()}, image, mask


def _schema(slice_names: Sequence[str]) -> pa.Schema:
    taken = sorted(set(slice_names) & {*_FIELDS, *PLACE_COLUMNS, *RESERVED})
    if taken:
        raise UserError(f"Slice columns cannot have the names of the format's own columns, received {taken}.")
    dotted = [name for name in slice_names if "." in name]
    if dotted:
        raise UserError(f"Slice columns cannot have a dot in their name, which stands for a part, received {dotted}.")
    return pa.schema([*_FIELDS.items(), *((name, pa.string()) for name in sorted(slice_names))])


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


def encoding(schema: pa.Schema) -> dict[str, Any]:
    """How a part of this schema is written: the options of `pyarrow.parquet.ParquetWriter`."""
    # Images and masks are compressed already: a second pass costs time and gains nothing.
    bulk = {"image.bytes": "NONE", "mask.bytes": "NONE"}
    others = {"image.path": "ZSTD", "mask.path": "ZSTD"}
    flat = {name: "ZSTD" for name in schema.names if name not in {"image", "mask"}}
    return {"compression": {**bulk, **others, **flat}, "use_dictionary": list(flat)}


def _row(item: Item) -> dict[str, Any]:
    row = {name: getattr(item, name) for name in INDEX_COLUMNS}
    row["image"] = {"bytes": item.image, "path": item.image_path}
    row["mask"] = {"bytes": item.mask, "path": item.mask_path}
    return row | item.slices
