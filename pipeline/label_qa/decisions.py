"""What was decided about doubted masks: an append-only CSV in git, of which an item's latest row counts."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from pydantic import ConfigDict

from pipeline.errors import UserError
from pipeline.files import write_atomic
from pipeline.params import Section
from pipeline.spreadsheets import as_meant, as_text

COLUMNS = ["item_id", "revision", "decision", "kind", "by", "at", "note"]


class DecisionParams(Section):
    """Section `labels`, as far as decisions go; `labels check` reads, and checks, the rest of it.

    Attributes:
        decisions: The file of decisions.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    decisions: Path


class Choice(StrEnum):
    """What is to become of an item."""

    KEEP = "keep"
    REMOVE = "remove"
    RELABEL = "relabel"


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        item_id: Whose mask.
        revision: Which one: a later revision is asked anew.
        decision: What is to become of it.
        kind: What the mask was suspected of; empty where it was on no list.
        by: Who decided.
        at: When, UTC.
        note: Why.
    """

    item_id: str
    revision: int
    decision: Choice
    kind: str
    by: str
    at: datetime
    note: str


@dataclass(frozen=True)
class Decisions:
    """All decisions, in the order in which they were made."""

    rows: tuple[Decision, ...] = ()

    @cached_property
    def latest(self) -> dict[tuple[str, int], Choice]:
        """The decision that counts, by item and revision."""
        return {(row.item_id, row.revision): row.decision for row in self.rows}


def settled(decisions: Decisions, item_id: str, revision: int) -> bool:
    """Whether nobody needs to be asked about this revision of an item: it is kept as it is, or removed."""
    return decisions.latest.get((item_id, revision)) in {Choice.KEEP, Choice.REMOVE}


def read_decisions(path: Path) -> Decisions:
    """Reads the decisions; a missing file has none.

    Raises:
        UserError: The file is damaged; the message names the line.
    """
    if not path.exists():
        return Decisions()
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text: {error}. Restore it from git.") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        if header != COLUMNS:
            raise UserError(f"{path} must begin with the header {','.join(COLUMNS)}, received {header}.")
        return Decisions(tuple(_decision(cells, f"{path}, line {reader.line_num}") for cells in reader))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}. Restore it from git.") from None


def append_decisions(path: Path, rows: Iterable[Decision]) -> int:
    """Adds decisions; one that counts already is not repeated. The caller holds the lock of the file's folder.

    Returns:
        How many were added.

    Raises:
        UserError: The file is damaged.
    """
    held = read_decisions(path)
    new = [row for row in rows if held.latest.get((row.item_id, row.revision)) != row.decision]
    if new:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_cells(row) for row in (*held.rows, *new))
        write_atomic(path, buffer.getvalue())
    return len(new)


def _cells(row: Decision) -> list[str]:
    cells = [row.item_id, str(row.revision), row.decision.value, row.kind, row.by, row.at.isoformat(), row.note]
    return [str(as_text(cell)) for cell in cells]


def _decision(cells: list[str], where: str) -> Decision:
    if len(cells) != len(COLUMNS):
        raise UserError(f"{where}: expected {len(COLUMNS)} cells ({','.join(COLUMNS)}), received {cells}.")
    item_id, revision, decision, kind, by, at, note = map(as_meant, cells)
    try:
        row = Decision(item_id, int(revision), Choice(decision), kind, by, datetime.fromisoformat(at), note)
    except ValueError as error:
        raise UserError(f"{where}: {error}. Restore the file from git, or mend the line.") from None
    if row.at.tzinfo is None or row.revision < 1:
        raise UserError(f"{where}: a revision is from 1 on, a moment has its zone; received '{revision}' and '{at}'.")
    return row
