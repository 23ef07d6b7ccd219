"""The line of champions that the promotions and rollbacks of a model leave behind."""

from collections.abc import Sequence
from typing import Any

from pipeline.decisions.entry import CERTIFIED, Entry, Kind

CHAMPION = "champion"


def line_of(entries: Sequence[Entry]) -> list[Entry]:
    """The champions that a rollback can go back through, oldest first; a rollback takes the last one off.

    Args:
        entries: Of one model, by sequence number.

    Returns:
        The promotion or rollback by which each of them last came to serve.

    Raises:
        ValueError: The entries are of several models: a bug of the caller's.
    """
    line: list[Entry] = []
    for entry in entries:
        if entry.model_name != entries[0].model_name:
            raise ValueError(f"entries of one model wanted, received {entries[0].model_name} and {entry.model_name}")
        if not _crowns(entry):
            continue
        if entry.kind == Kind.ROLLBACK:
            line = _back_to(line, entry.version)
        line.append(entry)
    return line


def stood_down(entries: Sequence[Entry], version: int) -> int:
    """Number of the decision that last took a version's place as champion, 0 where none did."""
    last, holder = 0, None
    for entry in entries:
        if _crowns(entry):
            if holder == version and entry.version != version:
                last = entry.sequence
            holder = entry.version
    return last


def part(entry: Entry, name: str) -> dict[str, Any]:
    """An object in an entry's payload; empty where there is none."""
    found = entry.payload.get(name)
    return found if isinstance(found, dict) else {}


def _crowns(entry: Entry) -> bool:
    """Whether it makes a champion: a shadow or a canary takes nothing from the one that serves."""
    return entry.kind in CERTIFIED and part(entry, "certificate").get("scope") == CHAMPION


def _back_to(line: list[Entry], version: int) -> list[Entry]:
    """The line without its champion, and without the version that returns: its new entry stands for it."""
    left = line[:-1]
    while left and left[-1].version != version:
        left.pop()
    return left[:-1]
