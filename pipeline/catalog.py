"""Stage: one row of facts per annotated image."""

from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer
from pydantic import Field

from pipeline.command import run
from pipeline.custom_checks import read_custom, refuse_broken
from pipeline.errors import UserError
from pipeline.files import atomic_path
from pipeline.former_images import FORMER, former_images
from pipeline.images import Limits
from pipeline.item_facts import FactSettings
from pipeline.params import Section, read_section
from pipeline.parts import check_classes, index_table, opened, parts, slice_columns, winners
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
EMPTY_INDEX = pa.schema([*ITEM_SCHEMA, ("deleted", pa.bool_())]).empty_table()


class CatalogParams(Section):
    """Section `catalog`: processes, the size of an island, what counts as an edge of an image, one's own check."""

    workers: int = Field(ge=0)
    island_px: int = Field(ge=0)
    edge_low: int = Field(ge=0)
    edge_high: int = Field(ge=0)
    custom: Path | None


def main(
    dataset: Annotated[Path, typer.Option(help="The dataset's folder.")],
    out: Annotated[Path, typer.Option(help="The catalogue to write, a Parquet file.")],
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    store: Annotated[Path, typer.Option(help="Facts of parts that were read before.")] = Path(".segloop/catalog"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
    former: Annotated[Path | None, typer.Option(help="Former images; former.parquet beside the catalogue.")] = None,
) -> None:
    """Measure every annotated image: sizes, class pixels, components, hashes, brightness, blur.

    Runs your own check of each item too (`catalog.custom`), and lists the images that the dataset held once.

    Example: segloop catalog --dataset data/demo --out data/catalog.parquet
    """
    settings = read_section(CatalogParams, "catalog", params)
    limits = read_section(Limits, "limits", params)
    if not dataset.is_dir():
        raise UserError(f"There is no dataset at {dataset}. Ingest one with `segloop ingest`, or name another folder.")
    classes = load_taxonomy(taxonomy)
    check_classes(dataset, classes.names)
    table, gone = catalogue(dataset, fact_settings(classes, settings, limits), store, settings.workers)
    for file, rows in ((former or out.with_name(FORMER), gone), (out, table)):
        with atomic_path(file) as temporary:
            pq.write_table(rows, temporary)
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
        custom=read_custom(params.custom) if params.custom else None,
    )


def build_catalog(dataset: Path, settings: FactSettings, store: Path, workers: int) -> pa.Table:
    """Catalogues a dataset: the first table of `catalogue`."""
    return catalogue(dataset, settings, store, workers)[0]


def catalogue(dataset: Path, settings: FactSettings, store: Path, workers: int) -> tuple[pa.Table, pa.Table]:
    """Catalogues a dataset and what it once held.

    Args:
        dataset: The dataset's folder.
        settings: What the facts depend on besides the bytes.
        store: Folder that keeps the facts of each part; only parts that it does not hold are read.
        workers: Processes; 0 takes every core.

    Returns:
        A row per item (its winning revision), sorted by `item_id`: `ITEM_SCHEMA`, the slice columns, `FACTS_SCHEMA`
        without `image_sha256`; an item whose image is not the one that was ingested has an `error`. And the images
        of `former_images`.

    Raises:
        UserError: A part is damaged, or the user's own check raised on every item.
    """
    items, latest = _item_table(dataset)
    facts = read_facts(parts(dataset), settings, FactStore(store, settings), workers)
    if settings.custom:
        asked = [table.filter(pc.is_null(table["error"]))["custom"].to_pylist() for table in facts.values()]
        refuse_broken(settings.custom, [reason for reasons in asked for reason in reasons])
    gone = former_images(dataset, facts, latest)
    del latest
    pa.default_memory_pool().release_unused()
    return _join(items, {part.relative_to(dataset).as_posix(): table for part, table in facts.items()}), gone


def _item_table(dataset: Path) -> tuple[pa.Table, pa.Table]:
    """The items that stand, and the latest row of each item that ever was; all in Arrow, which takes least memory."""
    tables = [EMPTY_INDEX]
    for part in parts(dataset):
        with opened(part) as file:
            tables.append(index_table(file, batch=part.parent.name, part=part.relative_to(dataset).as_posix()))
    rows = _latest(pa.concat_tables(tables, promote_options="default"))
    slices = slice_columns(rows.slice(0, 0).to_pandas())
    schema = pa.schema(ITEM_SCHEMA + [(name, pa.string()) for name in slices])
    standing = rows.filter(pc.invert(rows["deleted"])) if pc.any(rows["deleted"]).as_py() else rows
    return standing.select(schema.names).cast(schema), rows.select(["item_id", "revision", "deleted", "sha256"])


def _latest(rows: pa.Table) -> pa.Table:
    """The row of the highest revision of each item, sorted by item; only items with several rows are looked at."""
    counts = rows.group_by("item_id").aggregate([([], "count_all")])
    several = counts.filter(pc.greater(counts["count_all"], 1))["item_id"]
    if len(several):
        numbered = rows.append_column("number", pa.array(np.arange(rows.num_rows)))
        some = pc.is_in(numbered["item_id"], several.combine_chunks())
        best = winners(numbered.filter(some).to_pandas())["number"].to_numpy(np.int64)
        alone = numbered.filter(pc.invert(some))["number"].to_numpy()
        rows = rows.take(pa.array(np.concatenate([alone, best])))
    return rows.take(pc.sort_indices(rows, [("item_id", "ascending")])).combine_chunks()


def _join(items: pa.Table, facts: dict[str, pa.Table]) -> pa.Table:
    """Puts the facts beside their items, found by part, row group and row; marks items that are not as ingested."""
    stacked = pa.concat_tables([FACTS_SCHEMA.empty_table(), *facts.values()])
    places = pa.array(_places(items, facts))
    changed = pc.not_equal(stacked["image_sha256"].take(places), items["sha256"])
    for name in FACTS_SCHEMA.names:
        if name not in {*items.schema.names, "image_sha256"}:
            items = items.append_column(name, stacked[name].take(places))
    message = pc.fill_null(items["error"], "image: its bytes are not those that were ingested")
    place = items.schema.get_field_index("error")
    return items.set_column(place, "error", pc.if_else(changed, message, items["error"]))


def _places(items: pa.Table, facts: dict[str, pa.Table]) -> npt.NDArray[np.int64]:
    """Where the facts of each item stand in the stacked tables of all parts. Shape: (N,)."""
    columns = items.select(["part", "row_group", "row"]).to_pandas(strings_to_categorical=True)
    result, before = np.zeros(len(columns), np.int64), 0
    in_part = columns.groupby("part", observed=True).indices
    for part, table in facts.items():
        wanted = in_part.get(part)
        if wanted is not None:
            # Facts are in the order of the part's rows: a row group begins where its number first appears.
            numbers, starts = np.unique(table["row_group"].to_numpy(), return_index=True)
            of_group = starts[np.searchsorted(numbers, columns["row_group"].to_numpy()[wanted])]
            result[wanted] = before + of_group + columns["row"].to_numpy()[wanted]
        before += table.num_rows
    return result


if __name__ == "__main__":
    run(main)
