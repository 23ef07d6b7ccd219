"""Which items to ask about: those on the list of suspicions, those named in a file, or those decided to relabel."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.annotation_tasks.tasks import Suspect
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.label_qa.decisions import Choice, Decisions, settled
from pipeline.params import parse

CHECK_FIRST = "run `segloop labels check`, or name items by --items or --decided"


def suspicions(path: Path) -> dict[str, Suspect]:
    """The list that `segloop labels check` made, by item, worst first.

    Raises:
        UserError: It is missing or damaged.
    """
    found = read_json(path, CHECK_FIRST).get("found")
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise UserError(f"{path} has no list 'found': {CHECK_FIRST}.")
    listed: dict[str, Suspect] = {}
    for number, each in enumerate(found):
        told = {key: value for key, value in each.items() if key in Suspect.model_fields}
        suspect = parse(Suspect, told, f"{path}, found {number}")
        listed.setdefault(suspect.item_id, suspect)
    return listed


def known_suspicions(path: Path) -> dict[str, Suspect]:
    """The same where items are named by hand: without a list, nothing is known of them."""
    return suspicions(path) if path.exists() else {}


def named(file: Path, listed: Mapping[str, Suspect]) -> list[Suspect]:
    """The items of a file, one name a line, in its order.

    Raises:
        UserError: The file is no text or names nothing.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is no UTF-8 text: {error}. Write one item's name a line.") from None
    wanted = dict.fromkeys(line for line in lines if line.strip())
    if not wanted:
        raise UserError(f"{file} names no item. Write one item's name a line.")
    return [listed.get(each) or Suspect(item_id=each) for each in wanted]


def decided(decisions: Decisions, index: pd.DataFrame, listed: Mapping[str, Suspect]) -> list[Suspect]:
    """The items whose present revision is to be relabelled, in the order in which that was decided."""
    revisions = dict(zip(index["item_id"], index["revision"], strict=True))
    wanted = {
        row.item_id: listed.get(row.item_id) or Suspect(item_id=row.item_id, kind=row.kind, why=row.note)
        for row in decisions.rows
        if revisions.get(row.item_id) == row.revision and decisions.latest[row.item_id, row.revision] is Choice.RELABEL
    }
    return list(wanted.values())


def unsettled(listed: Mapping[str, Suspect], index: pd.DataFrame, decisions: Decisions) -> list[Suspect]:
    """The suspicions that nobody has settled since, worst first."""
    revisions = dict(zip(index["item_id"], index["revision"], strict=True))
    return [
        each
        for each in listed.values()
        if each.item_id not in revisions or not settled(decisions, each.item_id, int(revisions[each.item_id]))
    ]
