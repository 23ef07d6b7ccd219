"""Cells of CSV files that a spreadsheet opens."""

import pytest

from pipeline.spreadsheets import as_meant, as_text


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\tx", "\rx", "\nx", "'quoted", "plain", ""])
def test_no_text_is_run_and_every_text_comes_back(text: str) -> None:
    """What begins like a formula gets a quote before it; what is read is what was written."""
    cell = str(as_text(text))
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert as_meant(cell) == text
    assert (cell == text) == (text in {"plain", ""})


def test_numbers_stay_numbers() -> None:
    """Only text is guarded: a negative number is no formula."""
    assert as_text(-1.5) == -1.5
