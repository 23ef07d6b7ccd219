"""Action: migrates the taxonomy, and the masks whose pixels change with it."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import typer

from pipeline.catalog import CatalogParams, fact_settings
from pipeline.class_lists import MIGRATION_KEY, migration_of
from pipeline.command import progress, run
from pipeline.dataset import DatasetParams
from pipeline.errors import UserError
from pipeline.files import write_atomic
from pipeline.images import Limits, decode_mask, encode_mask
from pipeline.ingest_guard import locked, refuse_stage_outs, sweep
from pipeline.label_qa.decisions import DecisionParams, append_decisions, read_decisions
from pipeline.mask_counts import count_values
from pipeline.params import read_section
from pipeline.part_writer import write_batch
from pipeline.parts import INDEX_COLUMNS, Item, carried_columns, check_classes, parts, read_index
from pipeline.taxonomy import IGNORE, Taxonomy, load_taxonomy
from pipeline.taxonomy_changes import Change, Migration, migrated, read_migration, taxonomy_text

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Place:
    """What is migrated, and how it is read."""

    dataset: Path
    taxonomy: Path
    catalog: CatalogParams
    limits: Limits

    @cached_property
    def headers(self) -> dict[Path, dict[bytes, bytes]]:
        """The metadata of each part."""
        return {part: pq.read_schema(part).metadata or {} for part in parts(self.dataset)}


@dataclass(frozen=True)
class Work:
    """What a migration has to do.

    Attributes:
        change: The classes before and after.
        rows: The standing rows that it looks through, with place.
        counts: Pixels by mask value of each row. Shape: (N, 256), int64.
        finished: Whether the taxonomy's file is that of afterwards already.
    """

    change: Change
    rows: "pd.DataFrame"
    counts: npt.NDArray[np.int64]
    finished: bool

    @property
    def stale(self) -> "pd.DataFrame":
        """The rows whose masks change."""
        moved = self.change.lookup != np.arange(len(self.change.lookup))
        return self.rows.iloc[np.flatnonzero((self.counts[:, moved] > 0).any(axis=1))]


def main(
    file: Annotated[Path, typer.Argument(help="The migration: from, note, rename, merge, void, add.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; write nothing.")] = False,
    dataset: Annotated[Path | None, typer.Option(help="The dataset's folder, if not params' dataset.path.")] = None,
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Migrate the taxonomy, and the masks whose pixels change with it.

    Renames, merges, turns to void and adds classes. Ids stay contiguous; every mask that holds one that changes comes
    as a new revision in a batch of its own. Run it again after a kill, or after a batch of before came in.

    Example: segloop migrate migrations/002-carts.yaml --dry-run
    """
    migration = read_migration(file)
    root = dataset or read_section(DatasetParams, "dataset", params).path
    refuse_stage_outs([root], Path.cwd())
    limits, settings = read_section(Limits, "limits", params), read_section(CatalogParams, "catalog", params)
    place = Place(root, taxonomy, settings, limits)
    decisions = read_section(DecisionParams, "labels", params).decisions
    with nullcontext() if dry_run else locked(root, taxonomy, decisions):
        if not dry_run:
            sweep(root, taxonomy)
        work = find_work(place, migration)
        print_flow(work)
        if dry_run:
            print("This was a rehearsal; nothing was written.")
            return
        carry_decisions(decisions, work)
        written = write_masks(place, work)
        if not work.finished:
            write_atomic(taxonomy, taxonomy_text(work.change.after, taxonomy.read_text(encoding="utf-8")))
    if work.finished and not written:
        print(f"{taxonomy} is at version {work.change.after.version} already; nothing to do.")
        return
    print(f"{taxonomy} is at version {work.change.after.version}; {written} masks have a new revision in {root}")
    print(f"next: commit {taxonomy}, dvc add {root}, then dvc repro")


def find_work(place: Place, migration: Migration) -> Work:
    """Finds what is to do, in whatever state an earlier run left it.

    Raises:
        UserError: The taxonomy has another version, or its classes do not fit the migration or the dataset.
    """
    classes = load_taxonomy(place.taxonomy)
    own = {part: told for part, header in place.headers.items() if (told := _of(migration, header))}
    finished = classes.version == migration.from_version + 1
    if finished:
        change = Change(migration, _before(classes, own, place.taxonomy), classes)
    elif classes.version == migration.from_version:
        if not own:
            check_classes(place.dataset, classes.names)
        change = Change(migration, tuple(classes.names), migrated(migration, classes))
    else:
        raise UserError(
            f"The migration is from version {migration.from_version} of the taxonomy, and {place.taxonomy} is at "
            f"{classes.version}."
        )
    seen = {part.parent.name for part in own} | {batch for told in own.values() for batch in told["batches"]}
    index = read_index(place.dataset)
    rows = index[~index["batch"].isin(seen)].reset_index(drop=True)
    return Work(change, rows, _counts(place, rows, classes), finished)


def carry_decisions(file: Path, work: Work) -> None:
    """Says of the new revisions what was decided about the old ones: what was kept is not asked about again.

    First, since a decision about a revision that is not there yet does no harm, and one that is lost does.
    """
    latest = {(row.item_id, row.revision): row for row in read_decisions(file).rows}
    stale = zip(work.stale["item_id"], work.stale["revision"].astype(int), strict=True)
    held = [latest.get((str(item), revision)) for item, revision in stale]
    append_decisions(file, [replace(row, revision=row.revision + 1) for row in held if row])


def write_masks(place: Place, work: Work) -> int:
    """Writes the changed masks as a batch, which appears whole or not at all; returns how many there are.

    Without a changed mask the batch is empty, and says that the parts of before may be read with the new names; where
    classes only came in at the end, nobody needs that.
    """
    change, stale = work.change, work.stale
    grew = change.after.names[: len(change.before)] == list(change.before)
    looked = {part.parent.name for part in place.headers}
    unseen = looked - {batch for part, header in place.headers.items() if (told := _of(change.migration, header))
                       for batch in (*told["batches"], part.parent.name)}  # fmt: skip
    if not unseen or (grew and stale.empty):
        return 0
    told = {"digest": change.migration.digest, "before": list(change.before), "batches": sorted(looked)}
    note = {MIGRATION_KEY: json.dumps(told | {"note": change.migration.note})}
    items = progress(_revised(place, stale, change), total=len(stale), label="masks")
    slices, names = carried_columns(stale), change.after.names
    write_batch(place.dataset, _batch(place, change), items, slices, names, note)
    return len(stale)


def print_flow(work: Work) -> None:
    """Prints what becomes of each class, and what that costs."""
    from rich.console import Console
    from rich.table import Table

    change, px = work.change, work.counts
    table = Table("class", "id", "becomes", "id ", "pixels", "items", box=None, pad_edge=False)
    for old, name in enumerate(change.before):
        new = change.migration.becomes(name)
        target = "void" if new == IGNORE else new
        told = (name, str(old), target, "" if new == IGNORE else str(change.after.id_of(new)))
        table.add_row(*told, str(px[:, old].sum()), str((px[:, old] > 0).sum()))
    for added in change.migration.add:
        table.add_row("", "", added.name, str(change.after.id_of(added.name)), "", "")
    console, stale = Console(), work.stale
    console.print(table)
    console.print(
        f"{len(stale)} of {len(work.rows)} items get a new revision with another mask; their images are written again.",
        markup=False,
    )
    unreadable = int((px.sum(axis=1) == 0).sum())
    if unreadable:
        console.print(f"{unreadable} masks cannot be read; they stay as they are, and validation rejects them.")
    if change.migration.add:
        print(_added(change.migration))


def _added(migration: Migration) -> str:
    names = ", ".join(each.name for each in migration.add)
    checks = "class_missing_from_split"
    if any(each.critical for each in migration.add):
        checks += " and critical_class_too_few"
    return (
        f"No mask holds {names} yet: until masks of every split do, validation fails with {checks}. Once the "
        "taxonomy is migrated, ingest such masks; `validate.acknowledge` in params.yaml lets you go on meanwhile."
    )


def _of(migration: Migration, header: dict[bytes, bytes]) -> dict[str, Any] | None:
    told = migration_of(header)
    return told if told and told["digest"] == migration.digest else None


def _before(classes: Taxonomy, own: dict[Path, dict[str, Any]], file: Path) -> tuple[str, ...]:
    """The classes before a migration that has been finished, as a part that it wrote tells."""
    if own:
        return tuple(next(iter(own.values()))["before"])
    raise UserError(
        f"{file} is at version {classes.version}, and no part of the dataset tells of this migration: it has been "
        "edited, or came there by another one. Restore it, or mend `from` of the migration."
    )


def _counts(place: Place, rows: "pd.DataFrame", classes: Taxonomy) -> npt.NDArray[np.int64]:
    # The user's own check does not matter here; a broken one must not stand in the way.
    settings = fact_settings(classes, place.catalog.model_copy(update={"custom": None}), place.limits)
    groups = {str(part): sorted(set(of_part.astype(int))) for part, of_part in rows.groupby("part")["row_group"]}
    found = count_values(place.dataset, groups, settings, place.catalog.workers)
    keys = zip(rows["part"], rows["row_group"].astype(int), rows["row"].astype(int), strict=True)
    return (
        np.stack([found[part, group][row] for part, group, row in keys]) if len(rows) else np.zeros((0, 256), np.int64)
    )


def _batch(place: Place, change: Change) -> str:
    """A name that is free: a later run may find batches of before that have come in meanwhile."""
    name = f"taxonomy-v{change.after.version}"
    taken = {part.parent.name for part in place.headers}
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return next(each for each in (name, *numbered) if each not in taken)


def _revised(place: Place, stale: "pd.DataFrame", change: Change) -> Iterator[Item]:
    """The items of rows with their masks in the new ids, a row group at a time."""
    lookup, slices = change.lookup, carried_columns(stale)
    for (part, number), rows in stale.groupby(["part", "row_group"], sort=True):
        with pq.ParquetFile(place.dataset / str(part)) as file:
            table = file.read_row_group(int(str(number)))
        for row in rows["row"].astype(int):
            yield _item(table.slice(row, 1).to_pylist()[0], slices, lookup, place.limits)


def _item(row: dict[str, Any], slices: list[str], lookup: npt.NDArray[np.uint8], limits: Limits) -> Item:
    facts = {name: row[name] for name in INDEX_COLUMNS} | {"revision": row["revision"] + 1}
    return Item(
        **facts,
        image=row["image"]["bytes"],
        image_path=row["image"]["path"],
        mask=encode_mask(lookup[decode_mask(row["mask"]["bytes"], limits)]),
        mask_path=row["mask"]["path"],
        slices={name: row[name] for name in slices if row.get(name) is not None},
    )


if __name__ == "__main__":
    run(main)
