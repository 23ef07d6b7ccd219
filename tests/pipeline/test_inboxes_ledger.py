"""Tests of the inbox's ledger: appended to, read back, refused when damaged."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.inboxes.ledger import Judged, append_judged, read_judged, rejected_since

ROW = Judged(
    "ab" * 32, "may", "rejected", "2026-05-01T12:00:00+00:00", "2026-05-01T11:00:00+00:00", 'no "mask",\nfor a'
)


def test_verdicts_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Commas, quotes and line breaks of a reason included; a missing file holds nothing."""
    file = tmp_path / "inbox.csv"
    assert read_judged(file) == []
    append_judged(file, ROW)
    append_judged(file, Judged("cd" * 32, "june", "accepted", "", "", ""))
    assert [each.batch for each in read_judged(file)] == ["may", "june"]
    assert read_judged(file)[0] == ROW


@pytest.mark.parametrize("batch", ["=HYPERLINK(1)", "+may", "-may", "@may", "'may"])
def test_a_batch_is_never_a_formula(tmp_path: Path, batch: str) -> None:
    """A spreadsheet that opens the table finds a quote before the name; the next run finds the name."""
    file = tmp_path / "inbox.csv"
    append_judged(file, replace(ROW, batch=batch))
    assert f",'{batch}," in file.read_text()
    assert read_judged(file) == [replace(ROW, batch=batch)]


def test_the_same_verdict_is_not_written_twice(tmp_path: Path) -> None:
    """A repeated append changes nothing."""
    file = tmp_path / "inbox.csv"
    append_judged(file, ROW)
    before = file.read_bytes()
    append_judged(file, ROW)
    assert file.read_bytes() == before


DAMAGED = {
    "header": b"a,b\n",
    "verdict": b"digest,batch,verdict,at,uploaded,note\n1,2,maybe,4,5,6\n",
    "cells": b"digest,batch,verdict,at,uploaded,note\n1,2,accepted\n",
    "binary": b"\xff\xff",
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_ledger_is_refused(tmp_path: Path, case: str) -> None:
    """The message names the file and the remedy."""
    file = tmp_path / "inbox.csv"
    file.write_bytes(DAMAGED[case])
    with pytest.raises(UserError, match=r"inbox\.csv"):
        read_judged(file)


def test_what_was_rejected_since_a_moment_is_told(tmp_path: Path) -> None:
    """The moment counts, in whatever time zone it is named; neither earlier verdicts nor other ones are told."""
    file = tmp_path / "inbox.csv"
    at = {"early": "11:59:59.999999", "just": "12:00:00", "late": "12:00:01.5", "good": "12:00:02"}
    for number, (batch, time) in enumerate(at.items()):
        verdict = "accepted" if batch == "good" else "rejected"
        append_judged(file, Judged(f"{number:064}", batch, verdict, f"2026-05-01T{time}+00:00", "", ""))
    noon = datetime(2026, 5, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    assert [row.batch for row in rejected_since(file, noon)] == ["just", "late"]


@pytest.mark.parametrize("at", ["", "yesterday", "2026-05-01T12:00:00"])
def test_a_verdict_without_its_moment_is_damage(tmp_path: Path, at: str) -> None:
    """Whether it is to be told cannot be known: the message names the batch."""
    file = tmp_path / "inbox.csv"
    append_judged(file, replace(ROW, at=at))
    with pytest.raises(UserError, match="'may'"):
        rejected_since(file, datetime.fromisoformat("2026-05-01T00:00:00+00:00"))
