"""Action: moves groups to another split, on the record."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.errors import UserError
from pipeline.ingest_guard import locked, refuse_stage_outs
from pipeline.intake import SELECTED
from pipeline.params import read_section
from pipeline.parts import read_index
from pipeline.provenance import author
from pipeline.releasing.git import Git
from pipeline.splits import HOLDOUT, SHOWN, Ledger, append_ledger, check_appended, moved_row, parse_ledger, read_ledger

if TYPE_CHECKING:
    import pandas as pd


class Side(StrEnum):
    """Where a group can lie."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        groups: The groups to move.
        to: Where to.
        note: Why.
        force: Into the holdout too, though models have learnt from them.
    """

    groups: tuple[str, ...]
    to: str
    note: str
    force: bool


def main(
    groups: Annotated[list[str], typer.Argument(help="Groups, as the ledger names them.")],
    to: Annotated[Side, typer.Option(help="The split they move to.")],
    note: Annotated[str, typer.Option(help="Why; kept in the ledger.")],
    force: Annotated[bool, typer.Option("--force", help="Into the holdout too, though models have seen them.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would move; write nothing.")] = False,
    dataset: Annotated[Path | None, typer.Option(help="The dataset's folder, if not params' dataset.path.")] = None,
    splits: Annotated[Path | None, typer.Option(help="The split ledger, if not params' dataset.splits.")] = None,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Move groups to another split, on the record.

    The ledger gets a row with the day, your name and the note; nothing in it is changed. A holdout with other images
    is another holdout: every measurement on it has to be made anew.

    Example: segloop resplit aisle-7 --to train --note "the camera was replaced" --dry-run
    """
    if not note.strip():
        raise UserError("--note is empty; say why, for whoever reads the ledger later.")
    paths = read_section(DatasetParams, "dataset", params)
    root, ledger_file = dataset or paths.path, splits or paths.splits
    refuse_stage_outs([ledger_file], Path.cwd())
    wish = Wish(tuple(dict.fromkeys(groups)), to.value, note, force)
    with nullcontext() if dry_run else locked(root, ledger_file):
        ledger = read_ledger(ledger_file)
        refuse_edited(ledger, ledger_file)
        index = read_index(root)
        moving = to_move(wish, ledger, index)
        for line in cost(moving, wish.to, ledger, index):
            print(line)
        if moving and not dry_run:
            today, who = datetime.now(UTC).date().isoformat(), author(Path.cwd())
            append_ledger(ledger_file, ledger, [moved_row(group, wish.to, today, who, note) for group in moving])
    if not moving:
        print(f"Every group is in '{wish.to}' already; nothing to do.")
    elif dry_run:
        print("This was a rehearsal; nothing was written.")
    else:
        print(f"{ledger_file} has {len(moving)} more rows: commit it, then dvc repro")


def refuse_edited(ledger: Ledger, file: Path) -> None:
    """Refuses a ledger in which rows that git has are gone or changed: a move would make that look recorded.

    Raises:
        UserError: Naming the row.
    """
    folder = file.resolve().parent
    committed = Git(folder).show("HEAD", Path(file.name))
    if committed is not None:
        check_appended(parse_ledger(f"{committed}\n", f"{file} of HEAD"), ledger, "HEAD")


def to_move(wish: Wish, ledger: Ledger, index: "pd.DataFrame") -> list[str]:
    """The groups that are not yet where they should be.

    Args:
        wish: What is asked for.
        ledger: The ledger.
        index: The dataset's items.

    Raises:
        UserError: A group is unknown, holds images that a model selected, or has taught models.
    """
    sides = ledger.splits
    unknown = [group for group in wish.groups if group not in sides]
    if unknown:
        raise UserError(
            f"The ledger has no group {_listed(unknown)}. `segloop dataset` counts them; {len(sides)} exist."
        )
    moving = [group for group in wish.groups if sides[group] != {wish.to}]
    if wish.to != HOLDOUT:
        return moving
    chosen = set(index.loc[index["sampling"] == SELECTED, "group"])
    biased = [group for group in moving if group in chosen]
    if biased:
        raise UserError(
            f"A model selected images of {_listed(biased)}: the holdout never takes them, since they would bias it."
        )
    taught = [group for group in moving if sides[group] - {HOLDOUT}]
    if taught and not wish.force:
        raise UserError(
            f"Models have learnt from {_listed(taught)}: every version trained before today would be measured on "
            "images that it has seen, the champion too. Use --force to move them all the same, and train anew before "
            "comparing."
        )
    return moving


def cost(moving: Sequence[str], to: str, ledger: Ledger, index: "pd.DataFrame") -> list[str]:
    """What the moves mean, in words.

    Args:
        moving: The groups that move.
        to: Where to.
        ledger: The ledger as it stands.
        index: The dataset's items.
    """
    sides, sizes = ledger.splits, index["group"].value_counts()
    lines = [
        f"{group}: {int(sizes.get(group, 0))} items from {' and '.join(sorted(sides[group]))} to {to}"
        for group in moving
    ]
    if to == HOLDOUT or any(HOLDOUT in sides[group] for group in moving):
        lines.append(
            "The holdout changes, and its digest with it: verdicts of the gate on the former one are void, and the "
            "champion has to be evaluated anew before anything is compared with it. `segloop validate` says so."
        )
    if to == HOLDOUT and moving:
        lines.append("Versions trained before today may have learnt from these images: their scores flatter them.")
    return lines


def _listed(groups: Sequence[str]) -> str:
    more = f" and {len(groups) - SHOWN} more" if len(groups) > SHOWN else ""
    return ", ".join(f"'{group}'" for group in groups[:SHOWN]) + more


if __name__ == "__main__":
    run(main)
