"""Stage: one row of facts per annotated image."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer
from pydantic import Field

from pipeline.command import run
from pipeline.errors import UserError
from pipeline.files import atomic_path
from pipeline.images import Limits
from pipeline.item_facts import FactSettings
from pipeline.params import Section, read_section
from pipeline.parts import check_classes, parts, read_index, slice_columns
from pipeline.read_facts import FACTS_SCHEMA, FactStore, read_facts
from pipeline.taxonomy import Taxonomy, load_taxonomy

PLACE_SCHEMA = [("batch", pa.string()), ("part", pa.string()), ("row_group", pa.int32()), ("row", pa.int32())]
ITEM_SCHEMA = [
    ("item_id", pa.string()),
    ("revision", pa.int32()),
    *PLACE_SCHEMA,
    ("group", pa.string()),
    ("sequence_index", pa.int64()),
    ("annotator", pa.string()),
    ("captured_at", pa.timestamp("us", tz="UTC")),
    ("source", pa.string()),
    ("source_split", pa.string()),
    ("sampling", pa.string()),
    ("sha256", pa.string()),
]


class CatalogParams(Section):
    """Section `catalog`: processes, the size of an island, what counts as an edge of an image."""

    workers: int = Field(ge=0)
    island_px: int = Field(ge=0)
    edge_low: int = Field(ge=0)
    edge_high: int = Field(ge=0)


def main(
    dataset: Annotated[Path, typer.Option(help="The dataset's folder.")],
    out: Annotated[Path, typer.Option(help="The catalogue to write, a Parquet file.")],
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    store: Annotated[Path, typer.Option(help="Facts of parts that were read before.")] = Path(".segloop/catalog"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Measure every annotated image: sizes, class pixels, components, hashes, brightness, blur.

    Example: segloop catalog --dataset data/demo --out data/catalog.parquet
    """
    settings = read_section(CatalogParams, "catalog", params)
    limits = read_section(Limits, "limits", params)
    if not dataset.is_dir():
        raise UserError(f"There is no dataset at {dataset}. Ingest one with `segloop ingest`, or name another folder.")
    classes = load_taxonomy(taxonomy)
    check_classes(dataset, classes.names)
    table = build_catalog(dataset, fact_settings(classes, settings, limits), store, settings.workers)
    with atomic_path(out) as temporary:
        pq.write_table(table, temporary)
    unreadable = table.num_rows - table.column("error").null_count
    print(f"catalogued {table.num_rows} items, {unreadable} of them not readable: {out}")


def fact_settings(taxonomy: Taxonomy, params: CatalogParams, limits: Limits) -> FactSettings:
    """What the facts of an item depend on besides its bytes; names and colours of classes are no part of it."""
    return FactSettings(
        num_classes=taxonomy.num_classes,
        ignore_index=taxonomy.ignore_index,
        island_px=params.island_px,
        edge_low=params.edge_low,
        edge_high=params.edge_high,
        limits=limits,
    )


def build_catalog(dataset: Path, settings: FactSettings, store: Path, workers: int) -> pa.Table:
    """Catalogues a dataset.

    Args:
        dataset: The dataset's folder.
        settings: What the facts depend on besides the bytes.
        store: Folder that keeps the facts of each part; only parts that it does not hold are read.
        workers: Processes; 0 takes every core.

    Returns:
        A row per item (its winning revision), sorted by `item_id`: `ITEM_SCHEMA`, the slice columns, `FACTS_SCHEMA`
        without `image_sha256`. An item whose image is not the one that was ingested has an `error`.
    """
    items = _item_table(read_index(dataset))
    facts = read_facts(parts(dataset), settings, FactStore(store, settings), workers)
    return _check_digests(_join(items, {part.relative_to(dataset).as_posix(): table for part, table in facts.items()}))


def _item_table(index: pd.DataFrame) -> pa.Table:
    fields = ITEM_SCHEMA + [(name, pa.string()) for name in slice_columns(index)]
    return pa.Table.from_pandas(index[[name for name, _ in fields]], schema=pa.schema(fields), preserve_index=False)


def _join(items: pa.Table, facts: dict[str, pa.Table]) -> pa.Table:
    """Puts the facts beside their items, found by part, row group and row."""
    stacked = pa.concat_tables([FACTS_SCHEMA.empty_table(), *facts.values()])
    part = np.repeat(list(facts), [table.num_rows for table in facts.values()])
    known = pd.MultiIndex.from_arrays([part, stacked["row_group"].to_numpy(), stacked["row"].to_numpy()])
    wanted = pd.MultiIndex.from_frame(items.select(["part", "row_group", "row"]).to_pandas())
    found = stacked.take(pa.array(known.get_indexer(wanted)))
    for name in FACTS_SCHEMA.names:
        if name not in items.schema.names:
            items = items.append_column(name, found[name])
    return items


def _check_digests(table: pa.Table) -> pa.Table:
    """Marks items whose image is no longer what was ingested; drops the digest that told it."""
    changed = pc.not_equal(table["image_sha256"], table["sha256"])
    message = pc.fill_null(table["error"], "image: its bytes are not those that were ingested")
    place = table.schema.get_field_index("error")
    return table.set_column(place, "error", pc.if_else(changed, message, table["error"])).drop_columns(["image_sha256"])


if __name__ == "__main__":
    run(main)
