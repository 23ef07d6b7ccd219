"""Adds a batch of images and masks to the dataset: whole, in taxonomy ids, or not at all."""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field

from pipeline.command import progress, run
from pipeline.dataset import DatasetParams
from pipeline.errors import UserError
from pipeline.formats import read_source
from pipeline.formats.convert import Conversion, Converted
from pipeline.formats.labels import Labels
from pipeline.formats.plan import Planned, plan
from pipeline.formats.pool import convert_all
from pipeline.formats.source import Source
from pipeline.images import Limits
from pipeline.ingest_guard import locked, refuse_stage_outs, sweep
from pipeline.intake import SELECTED, Intake, Rules
from pipeline.intake_report import print_report, print_values, rejects_file, write_rejects
from pipeline.known_items import known, known_items, stored_items
from pipeline.params import Section, read_section
from pipeline.part_writer import checked_batch_name, write_batch
from pipeline.parts import Item, check_classes, refuse_absent
from pipeline.releasing.purged import RECORD, read_record
from pipeline.repeated_batch import refuse_other
from pipeline.splits import Ledger, SplitParams, append_ledger, read_ledger
from pipeline.taxonomy import Remap, Taxonomy, load_taxonomy
from pipeline.version_remaps import chosen_remap, is_version, refuse_undated


class IngestParams(Section):
    """Section `ingest`: how the work is spread."""

    workers: int = Field(ge=0)


class Sampling(StrEnum):
    """How the images were chosen."""

    UNIFORM = "uniform"
    SELECTED = "selected"


class MaskOrientation(StrEnum):
    """How masks lie beside an image that carries an EXIF orientation."""

    AS_SHOWN = "as-shown"
    AS_STORED = "as-stored"


@dataclass(frozen=True)
class Target:
    """Where a batch goes: the dataset, its ledger, the lists of what was left out; and the record of what is gone."""

    dataset: Path
    splits: Path
    rejected: Path
    purged: Path = RECORD


def main(  # noqa: PLR0913, PLR0917 - a command's options
    src: Annotated[Path, typer.Argument(help="The source folder.")],
    format_: Annotated[str, typer.Option("--format", help="folders, camvid, cityscapes, coco, cvat, ...")],
    batch: Annotated[str, typer.Option(help="Name of the batch to add.")],
    source: Annotated[
        str, typer.Option(help="Where the data comes from, or version-N of the ids; chooses the remap.")
    ] = "",
    group_by: Annotated[str | None, typer.Option(help="Regular expression that finds the group in a name.")] = None,
    sequence_by: Annotated[str | None, typer.Option(help="The same for the place in the group's sequence.")] = None,
    accept_split: Annotated[bool, typer.Option("--accept-split", help="Take over the source's split.")] = False,
    sampling: Annotated[Sampling, typer.Option(help="How the images were chosen.")] = Sampling.UNIFORM,
    relabel: Annotated[bool, typer.Option("--relabel", help="Known items become new revisions.")] = False,
    mask_orientation: Annotated[
        MaskOrientation, typer.Option(help="How masks lie beside an image with an EXIF orientation.")
    ] = MaskOrientation.AS_SHOWN,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report values and splits; write nothing.")] = False,
    dataset: Annotated[Path | None, typer.Option(help="The dataset's folder, if not params' dataset.path.")] = None,
    splits: Annotated[Path | None, typer.Option(help="The split ledger, if not params' dataset.splits.")] = None,
    rejected: Annotated[Path, typer.Option(help="Folder of the lists of rejected items.")] = Path("data/rejected"),
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Add a batch of images and masks to the dataset.

    Images keep their bytes; masks become PNG in taxonomy ids. An item that cannot be used is left out and listed with
    its reason; a mask value that nothing maps stops everything before anything is written.

    Example: segloop ingest photos/ --format folders --batch may --group-by '^([^_]+)_'
    """
    paths = read_section(DatasetParams, "dataset", params)
    target = Target(dataset or paths.path, splits or paths.splits, rejected)
    refuse_stage_outs([target.dataset / checked_batch_name(batch), target.splits], Path.cwd())
    shares = read_section(SplitParams, "splits", params)
    classes = load_taxonomy(taxonomy)
    names = tuple(classes.names)
    origin = format_ if is_version(source) else source or format_
    rules = Rules(batch, origin, sampling.value, relabel, accept_split, shares, names)
    found = read_source(src, format_)
    labels = Labels(classes, _remap(classes, source, found), found.legend)
    limits = read_section(Limits, "limits", params)
    how = Conversion(labels, limits, mask_orientation is MaskOrientation.AS_STORED)
    planned = plan(found.items, group_by, sequence_by)
    workers = read_section(IngestParams, "ingest", params).workers
    with begun(planned, how, target, rules, workers, dry_run=dry_run) as (intake, stream):
        converted = progress(stream, total=len(planned), label=f"ingest {batch}")
        try:
            outcome = add(intake, converted, target, dry_run=dry_run)
        finally:
            print_values(intake)
    print_report(intake, target.rejected, outcome, dry_run=dry_run)
    if intake.fingerprints and not dry_run and target.dataset == paths.path and Path("dvc.yaml").is_file():
        print(f"next: dvc add {target.dataset}, then dvc repro")


@contextmanager
def begun(
    planned: dict[str, Planned], how: Conversion, target: Target, rules: Rules, workers: int, *, dry_run: bool
) -> Iterator[tuple[Intake, Iterator[Converted]]]:
    """A batch that is about to be added: its judge, and its items as they are converted.

    Unless it is a rehearsal, no other ingestion comes in between.

    Args:
        planned: The items by name.
        how: How they are converted.
        target: Where they go.
        rules: How they enter.
        workers: Processes that convert; 0 takes every core.
        dry_run: It is a rehearsal.

    Raises:
        UserError: See `open_intake`.
    """
    with nullcontext() if dry_run else locked(target.dataset, target.splits):
        yield open_intake(planned, target, rules), convert_all([each.item for each in planned.values()], how, workers)


def open_intake(planned: dict[str, Planned], target: Target, rules: Rules) -> Intake:
    """Prepares the judgement of a batch against what the dataset and the ledger hold.

    Raises:
        UserError: The dataset, the ledger or the record of purges is damaged, the masks hold other classes, or a
            split cannot be taken over.
    """
    refuse_absent(target.dataset)
    check_classes(target.dataset, rules.class_names)
    ledger = read_ledger(target.splits)
    if rules.accept_split:
        _refuse_takeover(planned, ledger, target, rules)
    own = {item.item_id: known(item) for item in stored_items(target.dataset / rules.batch)}
    others_hold = known_items(target.dataset, set(planned) - set(own), rules.batch)
    return Intake(planned, others_hold, ledger, rules, own, read_record(target.purged).images)


def _refuse_takeover(planned: Mapping[str, Planned], ledger: Ledger, target: Target, rules: Rules) -> None:
    if rules.sampling == SELECTED:
        raise UserError(
            "--accept-split could put selected images into the holdout, which they would bias; received both it and "
            "--sampling selected. Leave out one of them.",
        )
    earlier = {row.since for row in ledger.rows} - {rules.batch}
    if earlier:
        raise UserError(
            f"A split is taken over at the first ingestion only; {target.splits} has groups since {sorted(earlier)}. "
            "Leave out --accept-split: new groups are placed by a salted hash.",
        )
    wanted = {(each.group, each.item.split) for each in planned.values()}
    groups = {group for group, _ in wanted}
    other = [row for row in ledger.rows if row.group in groups and (row.group, row.split) not in wanted]
    if other:
        raise UserError(
            f"{target.splits} has {len(other)} groups of batch '{rules.batch}' on another side than the source, first "
            f"'{other[0].group}' in {other[0].split}: an earlier run without --accept-split placed them. Leave it out "
            f"again, or remove the ledger's rows of the batch if it never came into {target.dataset}.",
        )


def add(intake: Intake, converted: Iterator[Converted], target: Target, *, dry_run: bool) -> str:
    """Runs a batch through the intake and writes it, unless it is there already or this is a rehearsal.

    Unless it is a rehearsal, the caller holds the lock: what killed runs left in the dataset is removed.

    Returns:
        What happened, as a sentence.

    Raises:
        UserError: Nothing was accepted, a value is unknown, or the batch exists with other content.
    """
    batch = intake.rules.batch
    if not dry_run:
        sweep(target.dataset, target.splits)
    there = (target.dataset / batch).exists()
    if dry_run or there:
        deque(intake.items(converted), maxlen=0)
        _refuse_nothing(intake, target, write=not dry_run)
        return "This was a rehearsal; nothing was written." if dry_run else _rerun(intake, target)
    stream = _entering(intake, converted, target)
    first = next(stream, None)
    if first is None:
        _refuse_nothing(intake, target, write=True)
        write_rejects(intake, target.rejected)
        return "Every item is in the dataset already; nothing to do."
    slices = {name for each in intake.plan.values() for name in each.item.facts.slices}
    slices |= {name for each in intake.known.values() for name in each.facts.slices}
    parts = write_batch(target.dataset, batch, chain([first], stream), sorted(slices), intake.rules.class_names)
    write_rejects(intake, target.rejected)
    return f"Batch '{batch}' is in {target.dataset}: {len(parts)} part(s)."


def _remap(classes: Taxonomy, source: str, found: Source) -> Remap | None:
    if source and source not in classes.remaps:
        raise UserError(
            f"The taxonomy has no remap '{source}'; it has: {', '.join(classes.remaps) or 'none'}. "
            f"Where nothing needs mapping, write '{source}: {{}}' under remaps.",
        )
    if any(isinstance(item.mask, Path) for item in found.items):
        refuse_undated(classes, source, found.legend)
    return chosen_remap(classes, source, found.legend)


def _entering(intake: Intake, converted: Iterator[Converted], target: Target) -> Iterator[Item]:
    yield from intake.items(converted)
    if intake.fingerprints:
        # Before the batch appears: a ledger row without items is harmless, items without a row are not.
        append_ledger(target.splits, intake.ledger, intake.ledger_rows())


def _refuse_nothing(intake: Intake, target: Target, *, write: bool) -> None:
    if intake.fingerprints or intake.unchanged:
        return
    if write:
        write_rejects(intake, target.rejected)
    name, reason = next(iter(sorted(intake.rejects.items())))
    where = f" All are listed in {rejects_file(intake, target.rejected)}." if write else ""
    raise UserError(f"No item could be used; {len(intake.rejects)} left out. First '{name}': {reason}.{where}")


def _rerun(intake: Intake, target: Target) -> str:
    folder = target.dataset / intake.rules.batch
    same = refuse_other(intake, folder)
    held = {(row.group, row.split) for row in intake.ledger.rows}
    missing = [row for row in intake.ledger_rows() if (row.group, row.split) not in held]
    if not missing:
        return same
    append_ledger(target.splits, intake.ledger, missing)
    return f"{same} {len(missing)} group(s) had no row in {target.splits} and were placed."


if __name__ == "__main__":
    run(main)
