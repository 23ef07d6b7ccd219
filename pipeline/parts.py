"""The dataset on disk: immutable Parquet parts, one row per annotated image.

A dataset is a folder of batches, a batch a folder of parts: `DATASET/BATCH/part-00000.parquet`. A batch appears by
one rename, so it is whole or absent. Images and masks are `{bytes, path}` structs, the convention of Hugging Face
datasets. A later row of the same item with a higher revision supersedes the lower; a row with `deleted` is a
tombstone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.class_lists import first_foreign
from pipeline.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

SAMPLING = ("uniform", "selected")

_BYTES = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FIELDS: dict[str, pa.DataType] = {
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
INDEX_COLUMNS = [name for name in FIELDS if name not in {"image", "mask"}]
PLACE_COLUMNS = ["batch", "part", "row_group", "row"]
ANNOTATION_S = "annotation_s"
# Stored like slices, but no kind of image: a figure of each item, by which nothing is to be cut.
FACT_COLUMNS = frozenset({ANNOTATION_S})


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
            missing = [name for name in FIELDS if name not in file.schema_arrow.names]
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
