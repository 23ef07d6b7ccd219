"""What became of each batch in a run, and the table that says so."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

MB = 10**6
COLOURS = {"accepted": "green", "rejected": "red", "waiting": "yellow", "postponed": "yellow", "failed": "red"}


class Fate(StrEnum):
    """What becomes of a batch in one run."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WAITING = "waiting"
    POSTPONED = "postponed"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of a batch, for the table."""

    batch: str
    fate: Fate
    note: str
    files: int
    bytes: int
    age: timedelta | None = None


def show(outcomes: Sequence[Outcome]) -> None:
    """Prints a line for each batch. What others named is printed as it is, without markup or control characters."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("batch", "outcome", "files", "MB", "age", "what", box=None, pad_edge=False)
    for each in outcomes:
        cells = [str(each.files), f"{each.bytes / MB:.1f}", _age(each.age)]
        fate = Text(each.fate.value, style=COLOURS[each.fate.value])
        table.add_row(Text(_plain(each.batch)), fate, *cells, Text(_plain(each.note), overflow="fold"))
    Console(emoji=False).print(table)


def _age(age: timedelta | None) -> str:
    if age is None:
        return ""
    minutes = max(0, int(age.total_seconds() // 60))
    hours = minutes // 60
    return f"{hours // 24} d {hours % 24} h" if hours >= 24 else f"{hours} h {minutes % 60} min"  # noqa: PLR2004


def _plain(text: str) -> str:
    return text if text.isprintable() else repr(text)
