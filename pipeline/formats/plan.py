"""Gives every item of a source its group and its place in the group's sequence, before anything is decoded."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from pipeline.errors import UserError
from pipeline.formats.source import SourceItem

# Every number of so many digits fits into a column of 64 bits.
INDEX_DIGITS = 18


@dataclass(frozen=True)
class Planned:
    """An item with the group that keeps it on one side of the split, and its place in the group's sequence.

    Attributes:
        item: The item.
        group: Its group.
        sequence_index: Its place.
        counted: The place is merely the order by name: nothing stated it.
    """

    item: SourceItem
    group: str
    sequence_index: int
    counted: bool


def plan(items: Iterable[SourceItem], group_by: str | None, sequence_by: str | None) -> dict[str, Planned]:
    """Plans a source's items by name.

    The group is the one the source states, else what `group_by` finds in the name, else the folder in the name, else
    the name itself. The place is the one the source states, else what `sequence_by` finds, else the order by name.

    Args:
        items: The items; their names are unique.
        group_by: A regular expression; its first group, or the whole match, is the group.
        sequence_by: A regular expression whose match is a whole number.

    Raises:
        UserError: An expression is malformed, matches no part of a name, or finds no whole number for the place.
    """
    grouping, sequencing = _compiled(group_by, "--group-by"), _compiled(sequence_by, "--sequence-by")
    places: Counter[str] = Counter()
    planned: dict[str, Planned] = {}
    for item in sorted(items, key=lambda each: each.name):
        group = _group(item, grouping)
        if not (item.name + group).isprintable():
            # Lists and the ledger are lines of text, which such a name would break.
            problem = f"a name or group with control characters, {item.name!r} of group {group!r}: rename it"
            item = replace(item, problem=problem)  # noqa: PLW2901
        place = _place(item, sequencing)
        planned[item.name] = Planned(item, group, places[group] if place is None else place, counted=place is None)
        places[group] += 1
    return planned


def _compiled(expression: str | None, option: str) -> re.Pattern[str] | None:
    try:
        return re.compile(expression) if expression is not None else None
    except re.error as error:
        raise UserError(f"{option} '{expression}' is no regular expression: {error}.") from None


def _group(item: SourceItem, grouping: re.Pattern[str] | None) -> str:
    if item.facts.group is not None:
        return item.facts.group
    if grouping is not None:
        return _found(grouping, item.name, "--group-by")
    folder = PurePosixPath(item.name).parent.as_posix()
    return item.name if folder == "." else folder


def _place(item: SourceItem, sequencing: re.Pattern[str] | None) -> int | None:
    if item.facts.sequence_index is not None:
        return item.facts.sequence_index
    if sequencing is None:
        return None
    text = _found(sequencing, item.name, "--sequence-by")
    if not text.isdecimal() or len(text) > INDEX_DIGITS:
        raise UserError(
            f"--sequence-by '{sequencing.pattern}' finds '{text}' in '{item.name}', no whole number of at most "
            f"{INDEX_DIGITS} digits."
        )
    return int(text)


def _found(expression: re.Pattern[str], name: str, option: str) -> str:
    match = expression.search(name)
    text = match and (match[1] if expression.groups else match[0])
    if not text:
        raise UserError(f"{option} '{expression.pattern}' finds nothing in the name '{name}'. It must fit every item.")
    return text
