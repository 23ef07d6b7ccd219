"""Tests of the page of Data Docs."""

import re
from html import unescape
from pathlib import Path

import pandas as pd

from pipeline.checks import Check
from pipeline.data_docs import escaped, write_docs
from pipeline.suite import Table, judge

ROWS = pd.DataFrame(
    {
        "item_id": ["a", "b", "c", "d"],
        "image_size": ["8x6", "8x6", "8x6", "4x4"],
        "mask_size": ["8x6", "8x5", "8x5", "4x4"],
        "error": [None, None, "it is <cut> off", "it is <cut> off"],
    }
)
CHECKS = [
    Check("sizes", "item", "image_size", "equal", "sizes agree", "{image_size}", other="mask_size"),
    Check("readable", "item", "error", "null", "files can be read", "{error}"),
]


def page(folder: Path, rows: pd.DataFrame) -> str:
    """The text of the page, its cells parted by bars."""
    write_docs(judge([Table("items", rows, "item_id", CHECKS)]), [], folder)
    text = unescape(re.sub(r"<[^>]+>", "|", (folder / "index.html").read_text()))
    return re.sub(r"(\s*\|\s*)+", "|", text)


def test_rows_are_shown_by_their_names(tmp_path: Path) -> None:
    """Values and items stand there as people read them, not as Python writes dictionaries and tuples."""
    told = page(tmp_path, ROWS)
    assert "|8x6 and 8x5|2|b, c|" in told
    assert "|it is <cut> off|2|c, d|" in told
    assert not any(sign in told for sign in ("{'", "('", "['"))


def test_an_empty_table_says_so(tmp_path: Path) -> None:
    """Nothing to judge is no share of rows."""
    told = page(tmp_path, ROWS.head(0))
    assert "nothing to judge" in told
    assert "NaN" not in told


def test_names_from_the_data_cannot_become_markup() -> None:
    """Every text of a section is escaped, however deep; what is no text stays."""
    section = {"table": [["<script>x</script>", 3], ["a & b", None]]}
    assert escaped(section) == {"table": [["&lt;script&gt;x&lt;/script&gt;", 3], ["a &amp; b", None]]}
