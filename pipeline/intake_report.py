"""Tells what became of a batch: the values found, what entered, what was left out and why."""

import csv
import io
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.files import write_atomic
from pipeline.intake import SHOWN, Intake
from pipeline.splits import HOLDOUT, Ledger, straddling
from pipeline.spreadsheets import as_text

if TYPE_CHECKING:
    from rich.console import Console


def write_rejects(intake: Intake, folder: Path) -> None:
    """Lists the items left out with their reasons, as CSV."""
    if not intake.rejects:
        return
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["item_id", "reason"])
    writer.writerows(map(as_text, row) for row in sorted(intake.rejects.items()))
    write_atomic(rejects_file(intake, folder), buffer.getvalue())


def print_values(intake: Intake) -> None:
    """Prints every value found in the masks with the class that it becomes."""
    from rich.console import Console
    from rich.table import Table

    if not intake.found:
        return
    table = Table("source value", "class", "pixels", title="values found")
    for (value, name), pixels in sorted(intake.found.items(), key=lambda each: _natural(each[0][0])):
        table.add_row(value, name, f"{pixels:,}")
    Console(markup=False, emoji=False).print(table)


def print_report(intake: Intake, folder: Path, outcome: str, *, dry_run: bool = False) -> None:
    """Prints what entered, where the groups went and what was left out; a rehearsal has written no list of it."""
    from rich.console import Console

    # What users named is printed as it is: brackets are no markup, colons no pictograms.
    console = Console(markup=False, emoji=False)
    counts = {
        "accepted": len(intake.fingerprints),
        "unchanged": intake.unchanged,
        "left out": len(intake.rejects),
        "with an EXIF orientation": intake.oriented,
    }
    console.print("items: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count))
    _print_groups(intake, console)
    if said := holdout_changes(held_out(intake)):
        console.print(said, style="yellow")
    if intake.rejects:
        console.print(_rejects_table(intake))
        if not dry_run:
            console.print(f"Left out: see {rejects_file(intake, folder)}", style="yellow")
    console.print(outcome)


def held_out(intake: Intake) -> int:
    """How many of the items that enter change a holdout that was there before."""
    if HOLDOUT not in {row.split for row in intake.ledger.rows}:
        return 0  # nobody has been judged on it yet
    there = {(row.group, row.split) for row in intake.ledger.rows}
    new = (row for row in intake.ledger_rows() if (row.group, row.split) not in there)
    ledger = Ledger((*intake.ledger.rows, *new))
    return sum(_split(intake, ledger, name) == HOLDOUT for name in intake.fingerprints.keys() - intake.own.keys())


def holdout_changes(count: int) -> str:
    """What it means that so many items of the holdout come, go or change; empty for none."""
    return f"{count} of these are in the holdout: its version changes, and verdicts on it are void" if count else ""


def _split(intake: Intake, ledger: Ledger, name: str) -> str | None:
    planned, known = intake.plan[name], intake.known.get(name)
    own = planned.item.split if intake.rules.accept_split else (known.source_split if known else None)
    return ledger.split_of(planned.group, own)


def _print_groups(intake: Intake, console: "Console") -> None:
    splits: dict[str, set[str]] = {}
    for row in intake.ledger_rows():
        splits.setdefault(row.group, set()).add(row.split)
    placed = Counter(next(iter(found)) for found in splits.values() if len(found) == 1)
    if placed:
        console.print("groups: " + ", ".join(f"{count} to {split}" for split, count in sorted(placed.items())))
    for line in straddling(splits):
        console.print(line, style="yellow")


def rejects_file(intake: Intake, folder: Path) -> Path:
    """The list of what a batch left out, in the folder of such lists."""
    return folder / f"{intake.rules.batch}.csv"


def _rejects_table(intake: Intake) -> object:
    from rich.table import Table

    table = Table("item", "reason", title="left out", style="yellow")
    for name, reason in sorted(intake.rejects.items())[:SHOWN]:
        table.add_row(name, reason)
    return table


def _natural(text: str) -> tuple[int, str]:
    return (int(text), "") if re.fullmatch(r"\d+", text) else (-1, text)
