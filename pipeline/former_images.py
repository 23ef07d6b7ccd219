"""Images that the dataset held once and holds no more: what earlier releases knew, as far as its parts still tell."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.parts import opened
from pipeline.splits import resolve

# The file that lists them, beside the catalogue where it has no place of its own.
FORMER = "former.parquet"
KEPT = ["item_id", "revision", "group", "source_split", "sha256"]
SCHEMA = pa.schema(
    [
        *[(name, pa.int32() if name == "revision" else pa.string()) for name in KEPT],
        ("phash", pa.string()),
        ("part", pa.string()),
        ("row_group", pa.int32()),
        ("row", pa.int32()),
    ]
)


def former_images(dataset: Path, facts: Mapping[Path, pa.Table], latest: pa.Table) -> pa.Table:
    """Lists the images of rows that a removal or a later revision with another image has put out of use.

    Parts are immutable, so these rows stay until `segloop purge` rewrites them: what it removed is not listed.

    Args:
        dataset: The dataset's folder.
        facts: By part, a row of facts for each of its rows, in order.
        latest: The latest row of each item, tombstones included: item_id, revision, deleted, sha256.

    Returns:
        `SCHEMA`, a row per item and image, in the order of the parts; images without a hash are left out.
    """
    if sum(table.num_rows for table in facts.values()) == latest.num_rows and not pc.any(latest["deleted"]).as_py():
        return SCHEMA.empty_table()  # the ordinary case: every row stands
    rows = pa.concat_tables([_rows(dataset, part, table) for part, table in facts.items()])
    place = pc.index_in(rows["item_id"], latest["item_id"].combine_chunks())
    images = pc.if_else(latest["deleted"].cast(pa.bool_()), "", latest["sha256"])
    old = pc.less(rows["revision"], latest["revision"].take(place).cast(pa.int32()))
    other = pc.not_equal(rows["sha256"], images.take(place))
    standing = pc.and_(pc.invert(rows["deleted"]), rows["phash"].is_valid())
    return _once(rows.filter(pc.and_(pc.and_(old, other), standing)).select(SCHEMA.names))


def _rows(dataset: Path, part: Path, facts: pa.Table) -> pa.Table:
    with opened(part) as file:
        rows = file.read(columns=[*KEPT, "deleted"])
    for name in ("phash", "row_group", "row"):
        rows = rows.append_column(name, facts[name])
    names = pa.array([part.relative_to(dataset).as_posix()] * rows.num_rows, pa.string())
    return rows.append_column("part", names).combine_chunks()


def _once(table: pa.Table) -> pa.Table:
    """The first row of each item and image: revisions of a mask repeat their image."""
    keys = pd.DataFrame({name: table[name].to_pandas() for name in ("item_id", "sha256")})
    return table.filter(pa.array(~keys.duplicated().to_numpy())) if len(keys) else table


def with_split(former: pd.DataFrame, splits: Mapping[str, set[str]]) -> pd.DataFrame:
    """Adds the side of each image, by the ledger; images whose side nothing tells are left out."""
    pairs = zip(former["group"], former["source_split"], strict=True)
    sides = [resolve(splits.get(group, set()), came_with) for group, came_with in pairs]
    placed = former.assign(split=pd.Series(sides, index=former.index, dtype=object))
    return placed[placed["split"].notna()].reset_index(drop=True)
