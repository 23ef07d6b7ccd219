"""Which batches were judged, by the digest of their manifest: a table in git that is only ever appended to."""

import csv
import io
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from pathlib import Path

from pipeline.errors import UserError
from pipeline.files import write_atomic
from pipeline.spreadsheets import as_meant, as_text

ACCEPTED, REJECTED = "accepted", "rejected"


@dataclass(frozen=True)
class Judged:
    """One verdict.

    Attributes:
        digest: SHA-256 of the manifest's bytes.
        batch: The batch's folder in the inbox.
        verdict: `accepted` or `rejected`.
        at: When it was judged, UTC.
        uploaded: When its manifest was put there, by the clock of the inbox: tells a batch that came again.
        note: What was taken, or the reason.
    """

    digest: str
    batch: str
    verdict: str
    at: str
    uploaded: str
    note: str


HEADER = [each.name for each in fields(Judged)]


def read_judged(path: Path) -> list[Judged]:
    """Reads the ledger, in the order of the verdicts; a missing file is an empty one.

    Raises:
        UserError: It is damaged; the message names the line.
    """
    if not path.exists():
        return []
    try:
        lines = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV in UTF-8: {error}. Restore it from git.") from None
    if not lines or lines[0] != HEADER:
        raise UserError(f"{path} must begin with the header {','.join(HEADER)}, received {lines[:1]}.")
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(HEADER) or line[2] not in {ACCEPTED, REJECTED}:
            raise UserError(
                f"{path}, line {number}: expected {','.join(HEADER)}; received {line}. Restore it from git."
            )
    return [Judged(*map(as_meant, line)) for line in lines[1:]]


def rejected_since(path: Path, since: datetime) -> list[Judged]:
    """The verdicts `rejected` that were given from a moment on, whichever run of the command gave them.

    Args:
        path: The ledger.
        since: The moment, with its time zone.

    Raises:
        UserError: The ledger is damaged, or does not say when a batch was rejected.
    """
    found = [(moment_of(row.at), row) for row in read_judged(path) if row.verdict == REJECTED]
    for moment, row in found:
        if moment is None:
            raise UserError(
                f"{path} does not say when the batch {row.batch!r} was judged: received {row.at!r}, expected a time "
                "such as 2026-05-01T12:00:00+00:00. Restore it from git."
            )
    return [row for moment, row in found if moment and moment >= since]


def moment_of(text: str) -> datetime | None:
    """The moment that a text names in ISO 8601, with its time zone; None where it names none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def append_judged(path: Path, row: Judged) -> None:
    """Adds a verdict, unless the ledger holds this very one."""
    rows = read_judged(path)
    if row in rows:
        return
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(map(as_text, astuple(each)) for each in [*rows, row])
    write_atomic(path, buffer.getvalue())
