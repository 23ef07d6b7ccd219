"""The file of decisions: what counts, what survives, what is refused."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.label_qa.decisions import COLUMNS, Choice, Decision, Decisions, append_decisions, read_decisions, settled

ROW = Decision("a", 1, Choice.KEEP, "shifted", "alice", datetime(2026, 5, 1, 12, tzinfo=UTC), "it is right")
LINE = "a,1,keep,shifted,alice,2026-05-01T12:00:00+00:00,it is right"


def test_a_missing_file_has_no_decisions(tmp_path: Path) -> None:
    """Nothing is settled before the first decision."""
    decisions = read_decisions(tmp_path / "none.csv")
    assert not settled(decisions, "a", 1)


def test_a_decision_is_one_line(tmp_path: Path) -> None:
    """The file is plain CSV with the documented columns."""
    append_decisions(tmp_path / "d.csv", [ROW])
    assert (tmp_path / "d.csv").read_text() == f"{','.join(COLUMNS)}\n{LINE}\n"


def test_the_latest_row_counts() -> None:
    """A later decision about the same revision replaces the earlier one."""
    decisions = Decisions((ROW, replace(ROW, decision=Choice.RELABEL)))
    assert not settled(decisions, "a", 1)


@pytest.mark.parametrize(("choice", "is_settled"), [("keep", True), ("remove", True), ("relabel", False)])
def test_what_is_to_be_relabelled_is_not_settled(choice: str, is_settled: bool) -> None:
    """Only what stays as it is, or goes, needs no further question."""
    assert settled(Decisions((replace(ROW, decision=Choice(choice)),)), "a", 1) is is_settled


def test_another_revision_is_asked_anew() -> None:
    """A decision says nothing about a mask that it was not made for."""
    assert not settled(Decisions((ROW,)), "a", 2)


def test_a_decision_that_counts_is_not_repeated(tmp_path: Path) -> None:
    """The same decision made twice is one row, and the file does not change."""
    file = tmp_path / "d.csv"
    append_decisions(file, [ROW])
    before = file.read_bytes()
    assert append_decisions(file, [replace(ROW, by="ben")]) == 0
    assert file.read_bytes() == before


def test_rows_are_only_appended(tmp_path: Path) -> None:
    """What was decided before stays in the file as it was."""
    file = tmp_path / "d.csv"
    append_decisions(file, [ROW])
    before = file.read_text()
    append_decisions(file, [replace(ROW, decision=Choice.REMOVE)])
    assert file.read_text().startswith(before)


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@given(WORDS, WORDS, WORDS)
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, item: str, by: str, note: str) -> None:
    """Commas, quotes and signs that spreadsheets act on come back as they were."""
    row = replace(ROW, item_id=item, by=by, note=note)
    file = tmp_path_factory.mktemp("decisions") / "d.csv"
    append_decisions(file, [row])
    assert read_decisions(file).rows == (row,)


@pytest.mark.parametrize("name", ["=cmd", "+1", "-1", "@sum", "'quoted"])
def test_no_cell_begins_with_what_a_spreadsheet_runs(tmp_path: Path, name: str) -> None:
    """A name that looks like a formula is written behind a single quote, and read without it."""
    file = tmp_path / "d.csv"
    append_decisions(file, [replace(ROW, item_id=name)])
    assert file.read_text().splitlines()[1].startswith(f"'{name}")
    assert read_decisions(file).rows[0].item_id == name


@pytest.mark.parametrize(
    "line",
    [
        "a,1,keep",
        LINE.replace(",1,", ",one,"),
        LINE.replace(",1,", ",0,"),
        LINE.replace("keep", "burn"),
        LINE.replace("2026-05-01T12:00:00+00:00", "yesterday"),
        LINE.replace("+00:00", ""),
        LINE.replace("it is right", '"never ends'),
        "",
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    """The error says which line cannot be read."""
    file = tmp_path / "d.csv"
    file.write_text(f"{','.join(COLUMNS)}\n{LINE}\n{line}\n")
    with pytest.raises(UserError, match="line 3"):
        read_decisions(file)


@pytest.mark.parametrize("content", [b"", b"item_id,decision\n", b"\xff\xfe\n"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    """Another header, or no text, is no file of decisions."""
    (tmp_path / "d.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"d\.csv"):
        read_decisions(tmp_path / "d.csv")
