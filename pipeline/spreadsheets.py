"""Cells of CSV files that no spreadsheet runs as formulas.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@`. Names and notes are data and may begin so: such a cell
(and one that begins with a quote) is written with a single quote before it, which reading takes away again.
"""

QUOTE = "'"
RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "\n", QUOTE)


def as_text(cell: object) -> object:
    """A cell that no spreadsheet runs: text that begins like a formula gets a quote before it."""
    return f"{QUOTE}{cell}" if isinstance(cell, str) and cell.startswith(RUN_BY_SPREADSHEETS) else cell


def as_meant(cell: str) -> str:
    """A cell as it was before `as_text`."""
    return cell.removeprefix(QUOTE)
