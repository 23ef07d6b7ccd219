"""Action: reads annotators' answers back: changed masks become new revisions, unchanged ones are kept."""

import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.annotation_tasks.answer_file import answer_file
from pipeline.annotation_tasks.answers import Answers, Reading, changes, sort_answers, source_items
from pipeline.annotation_tasks.tasks import RECORD, Format, read_export
from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.errors import UserError
from pipeline.formats.convert import Conversion, Converted
from pipeline.formats.labels import Labels
from pipeline.formats.plan import plan
from pipeline.formats.pool import convert_all
from pipeline.formats.source import Legend
from pipeline.images import Limits
from pipeline.ingest import IngestParams, Sampling, Target, add, open_intake
from pipeline.ingest_guard import locked, refuse_stage_outs
from pipeline.intake import Intake, Rules
from pipeline.intake_report import print_report, write_rejects
from pipeline.label_qa.decisions import DecisionParams, append_decisions, read_decisions
from pipeline.params import read_section
from pipeline.part_writer import checked_batch_name
from pipeline.parts import read_index
from pipeline.splits import SplitParams
from pipeline.taxonomy import Taxonomy, load_taxonomy


class Unchanged(StrEnum):
    """Which of the masks that came back as they were are kept."""

    SEEN = "seen"
    KEEP = "keep"


def main(  # noqa: PLR0913, PLR0917 - a command's options
    answer: Annotated[Path, typer.Argument(help="The tool's export: its file, or the folder it lies in.")],
    format_: Annotated[Format, typer.Option("--format", help="The annotation tool.")],
    batch: Annotated[str, typer.Option(help="Name of the batch of new revisions.")],
    export: Annotated[
        Path | None, typer.Option(help="The folder that `labels export` made; the answer's by default.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who annotated; stands for the annotator of changed masks.")] = None,
    unlabelled: Annotated[
        str | None, typer.Option(help="Class of the pixels that no region covers; void by default.")
    ] = None,
    unchanged: Annotated[
        Unchanged, typer.Option(help="Keep unchanged masks that the file shows were looked at, or keep all.")
    ] = Unchanged.SEEN,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen; write nothing.")] = False,
    dataset: Annotated[Path | None, typer.Option(help="The dataset's folder, if not params' dataset.path.")] = None,
    splits: Annotated[Path | None, typer.Option(help="The split ledger, if not params' dataset.splits.")] = None,
    rejected: Annotated[Path, typer.Option(help="Folder of the lists of rejected items.")] = Path("data/rejected"),
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Read annotators' answers back: changed masks become new revisions, unchanged ones are kept.

    An item whose mask has changed in the dataset since it was exported is left out with that reason, as is any other
    that cannot be used; the rest goes on. A mask that an annotator looked at and left as it was is recorded as kept,
    unless something was decided about it since.

    Example: segloop labels read job_1.xml --format cvat --export review --batch relabelled-may --by alice
    """
    paths = read_section(DatasetParams, "dataset", params)
    target = Target(dataset or paths.path, splits or paths.splits, rejected)
    decisions = read_section(DecisionParams, "labels", params).decisions
    refuse_stage_outs([target.dataset / checked_batch_name(batch), target.splits, decisions], Path.cwd())
    classes, limits = load_taxonomy(taxonomy), read_section(Limits, "limits", params)
    fill = _fill(classes, unlabelled)
    asked = read_export((export or (answer if answer.is_dir() else answer.parent)) / RECORD, classes, format_)
    file = answer_file(answer, asked)
    shares = read_section(SplitParams, "splits", params)
    rules = Rules(batch, format_.value, Sampling.UNIFORM.value, True, False, shares, tuple(classes.names))
    how = Conversion(Labels(classes, None, Legend()), limits, mask_as_stored=False)
    workers = read_section(IngestParams, "ingest", params).workers
    with tempfile.TemporaryDirectory() as scratch, _lock(target, decisions, dry_run=dry_run):
        index = read_index(target.dataset)
        reading = Reading(classes, fill, batch, Path(scratch), read_decisions(decisions), unchanged is Unchanged.KEEP)
        answers = sort_answers(file, asked, index, reading)
        _refuse_nothing(answers, file)
        items = source_items(answers, target.dataset, index, by, Path(scratch))
        intake = open_intake(plan(items, None, None), target, rules)
        converted = convert_all([each.item for each in intake.plan.values()], how, workers)
        outcome = _take(intake, converted, answers, target, dry_run=dry_run)
        keeps = answers.keeps(asked, by or format_.value, reading)
        kept = 0 if dry_run else append_decisions(decisions, keeps)
        changed = list(changes(answers, target.dataset, index, classes, limits)) if dry_run else []
    if answers.changed or answers.refused:
        print_report(intake, target.rejected, outcome, dry_run=dry_run)
    else:
        print(outcome)
    tell_changes(changed)
    tell(answers, kept, decisions, dry_run=dry_run)
    if _is_new(intake, paths.path, target, dry_run=dry_run):
        print(f"next: dvc add {target.dataset}, then dvc repro")


def _take(intake: Intake, converted: Iterator[Converted], answers: Answers, target: Target, *, dry_run: bool) -> str:
    """Writes the batch of changed masks; what happened, as a sentence."""
    if answers.changed:
        return add(intake, converted, target, dry_run=dry_run)
    deque(intake.items(converted), maxlen=0)
    if not dry_run:
        write_rejects(intake, target.rejected)
    return "No mask was changed, so there is no new batch."


def tell_changes(changed: list[tuple[str, str, str, str]]) -> None:
    """Prints what would change in each mask; nothing where no mask would."""
    from rich.console import Console
    from rich.table import Table

    if not changed:
        return
    table = Table("item", "pixels changed", "of these new void", "most of them", title="masks")
    for row in changed:
        table.add_row(*row)
    Console(markup=False, emoji=False).print(table)


def tell(answers: Answers, kept: int, decisions: Path, *, dry_run: bool) -> None:
    """Prints how many were kept or read already, and how many nobody has answered."""
    if answers.read:
        item, revision = next(iter(answers.read.items()))
        print(f"{len(answers.read)} were read already and stand in the dataset, first '{item}' as revision {revision}")
    if answers.kept:
        recorded = "would be recorded" if dry_run else f"{kept} newly recorded"
        print(f"{len(answers.kept)} came back unchanged: kept, {recorded} in {decisions}")
    if answers.outdone:
        name, choice = next(iter(answers.outdone.items()))
        print(f"{len(answers.outdone)} of them were decided otherwise since, which stands, first '{name}': {choice}")
    if answers.unseen:
        print(
            f"{len(answers.unseen)} came back unchanged, and nothing shows that somebody looked at them: nothing is "
            f"recorded, first '{answers.unseen[0]}'; where all were looked at, --unchanged keep says so"
        )
    if answers.unanswered:
        print(f"{len(answers.unanswered)} have no answer yet, first '{answers.unanswered[0]}'")


def _lock(target: Target, decisions: Path, *, dry_run: bool) -> AbstractContextManager[None]:
    return nullcontext() if dry_run else locked(target.dataset, target.splits, decisions)


def _fill(classes: Taxonomy, unlabelled: str | None) -> int:
    if unlabelled is None:
        return classes.ignore_index
    if unlabelled not in classes.names:
        raise UserError(f"--unlabelled names a class, received '{unlabelled}'. Classes: {', '.join(classes.names)}.")
    return classes.id_of(unlabelled)


def _refuse_nothing(answers: Answers, file: Path) -> None:
    if answers.changed or answers.kept or answers.unseen or answers.refused or answers.read:
        return
    raise UserError(f"{file} answers nothing that was asked: {len(answers.unanswered)} items have no answer in it.")


def _is_new(intake: Intake, own: Path, target: Target, *, dry_run: bool) -> bool:
    return bool(intake.fingerprints) and not dry_run and target.dataset == own and Path("dvc.yaml").is_file()


if __name__ == "__main__":
    run(main)
