"""Action: records what is to become of items whose masks are doubted, and removes those that are to go."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from pipeline.annotation_tasks.choice import known_suspicions
from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.errors import UserError
from pipeline.ingest_guard import locked, refuse_stage_outs, sweep
from pipeline.intake_report import holdout_changes
from pipeline.label_qa.decisions import Choice, Decision, DecisionParams, append_decisions
from pipeline.params import read_section
from pipeline.part_writer import write_batch
from pipeline.parts import Item, carried_columns, check_classes, parts, read_index
from pipeline.splits import HOLDOUT, read_ledger
from pipeline.taxonomy import load_taxonomy

SHOWN = 10
FIRST_OF_DAY, LAST_OF_DAY = 1, 999


@dataclass(frozen=True)
class Verdict:
    """What is decided, by whom, why, and when."""

    decision: Choice
    by: str
    note: str
    at: datetime


@dataclass(frozen=True)
class Place:
    """Where decisions take effect: the dataset, its split ledger (whose lock ingestion holds too), the decisions."""

    dataset: Path
    splits: Path
    decisions: Path


def main(  # noqa: PLR0913, PLR0917 - a command's options
    items: Annotated[list[str], typer.Argument(help="Names of the items.")],
    decision: Annotated[Choice, typer.Option(help="What is to become of them.")],
    by: Annotated[str, typer.Option(help="Who decides.")],
    note: Annotated[str, typer.Option(help="Why.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen; write nothing.")] = False,
    suspects: Annotated[Path, typer.Option("--suspicions", help="The list of doubted masks.")] = Path(
        "data/labels/suspicions.json"
    ),
    dataset: Annotated[Path | None, typer.Option(help="The dataset's folder, if not params' dataset.path.")] = None,
    splits: Annotated[Path | None, typer.Option(help="The split ledger, if not params' dataset.splits.")] = None,
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Record what is to become of doubted items: keep, remove or relabel.

    An item that is kept is not listed again as long as its mask stays the same; one that is removed gets a tombstone
    in the dataset; one to relabel is exported by `segloop labels export --decided`.

    Example: segloop labels decide 0001TP_006690 --decision keep --by alice --note "the pole is really there"
    """
    verdict = Verdict(decision, _one_line("by", by), _one_line("note", note), datetime.now(UTC).replace(microsecond=0))
    paths = read_section(DatasetParams, "dataset", params)
    file = read_section(DecisionParams, "labels", params).decisions
    place = Place(dataset or paths.path, splits or paths.splits, file)
    names, kinds = load_taxonomy(taxonomy).names, {key: it.kind for key, it in known_suspicions(suspects).items()}
    refuse_stage_outs([file, *([place.dataset / "removed"] if decision is Choice.REMOVE else [])], Path.cwd())
    with nullcontext() if dry_run else locked(place.dataset, place.splits, place.decisions):
        check_classes(place.dataset, names)
        index = read_index(place.dataset, tombstones=True)
        chosen = _chosen(place.dataset, index, items, decision)
        present = chosen[~chosen["deleted"].astype(bool)]
        rows = list(_decisions(present, verdict, kinds))
        batch = _free_name(place.dataset, verdict.at) if decision is Choice.REMOVE and rows else None
        added = 0 if dry_run else append_decisions(file, rows)
        # The decision comes first: where this is cut off, the same command goes on with the removal.
        if batch and not dry_run:
            sweep(place.dataset, place.splits)
            write_batch(place.dataset, batch, tombstones(present), carried_columns(index), names)
    tell(rows, len(chosen) - len(present), batch)
    if batch and (said := holdout_changes(_held_out(present, place.splits))):
        print(said)
    if dry_run:
        print("This was a rehearsal; nothing was written.")
        return
    print(f"{added} recorded in {file}, {len(rows) - added} decided so already")
    if batch and place.dataset == paths.path and Path("dvc.yaml").is_file():
        print(f"next: dvc add {place.dataset}, then dvc repro")


def tombstones(rows: pd.DataFrame) -> Iterator[Item]:
    """The rows that remove items: one revision higher, without image and mask.

    Args:
        rows: Rows of `read_index`.
    """
    columns = carried_columns(rows)
    for row in rows.to_dict("records"):
        stated: dict[str, Any] = {str(key): None if pd.isna(value) else value for key, value in row.items()}
        place, captured = stated["sequence_index"], stated["captured_at"]
        plain = ("item_id", "group", "sha256", "mask_source_sha256", "source", "annotator", "source_split", "sampling")
        yield Item(
            **{name: stated[name] for name in plain},
            image=b"",
            mask=b"",
            image_path="",
            mask_path="",
            revision=int(stated["revision"]) + 1,
            deleted=True,
            sequence_index=None if place is None else int(place),
            captured_at=None if captured is None else pd.Timestamp(captured).to_pydatetime(),
            slices={name: stated[name] for name in columns if stated[name] is not None},
        )


def tell(rows: list[Decision], gone: int, batch: str | None) -> None:
    """Prints what was decided about which revisions."""
    for row in rows[:SHOWN]:
        print(f"{row.decision.value}: {row.item_id}, revision {row.revision}{f' ({row.kind})' if row.kind else ''}")
    if len(rows) > SHOWN:
        print(f"and {len(rows) - SHOWN} more")
    if gone:
        print(f"{gone} removed already")
    if batch:
        print(f"tombstones: batch {batch}")


def _decisions(rows: pd.DataFrame, verdict: Verdict, kinds: Mapping[str, str]) -> Iterator[Decision]:
    for item_id, revision in zip(rows["item_id"], rows["revision"], strict=True):
        kind = kinds.get(item_id, "")
        yield Decision(item_id, int(revision), verdict.decision, kind, verdict.by, verdict.at, verdict.note)


def _held_out(rows: pd.DataFrame, splits: Path) -> int:
    ledger = read_ledger(splits)
    sources = rows["source_split"].astype(object).where(rows["source_split"].notna(), None)
    return sum(ledger.split_of(*pair) == HOLDOUT for pair in zip(rows["group"], sources, strict=True))


def _one_line(option: str, text: str) -> str:
    cleaned = text.strip()
    if not cleaned or not cleaned.isprintable():
        raise UserError(f"--{option} is one line of text, received {text!r}.")
    return cleaned


def _chosen(dataset: Path, index: pd.DataFrame, items: list[str], decision: Choice) -> pd.DataFrame:
    missing = sorted(set(items) - set(index["item_id"]))
    if missing:
        raise UserError(
            f"{dataset} has no item {', '.join(map(repr, missing[:SHOWN]))}. It has {len(index)}: see "
            "`segloop dataset`. Nothing was recorded."
        )
    chosen = index[index["item_id"].isin(items)]
    gone = chosen[chosen["deleted"].astype(bool)]["item_id"].tolist()
    if gone and decision is not Choice.REMOVE:
        raise UserError(
            f"{', '.join(map(repr, gone[:SHOWN]))} has been removed from {dataset}; ingest it again to have it back. "
            "Nothing was recorded."
        )
    return chosen


def _free_name(dataset: Path, moment: datetime) -> str:
    taken = {part.parent.name for part in parts(dataset)}
    candidates = (f"removed-{moment:%Y%m%d}-{number:03d}" for number in range(FIRST_OF_DAY, LAST_OF_DAY + 1))
    name = next((each for each in candidates if each not in taken), None)
    if name is None:
        raise UserError(
            f"{dataset} has {LAST_OF_DAY} removals of {moment:%Y-%m-%d} already. Remove many items at once."
        )
    return name


if __name__ == "__main__":
    run(main)
