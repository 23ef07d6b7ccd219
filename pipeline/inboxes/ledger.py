"""Which batches were judged, by the digest of their manifest: a table in git that is only ever appended to."""

import csv
import io
from dataclasses import astuple, dataclass, fields
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
