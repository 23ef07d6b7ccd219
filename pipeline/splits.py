"""The split ledger: an append-only CSV in git that says to which split each group belongs, and since when.

A group never straddles splits and never changes side, with two exceptions, both visible. A split that came with the
data and was taken over on request may straddle a group: the ledger then holds a row per split, and each item keeps the
split it came with. And `segloop resplit` moves a whole group: by a further row, whose `since` says when, who and why;
from there on the group lies where that row says.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from pipeline.errors import UserError
from pipeline.files import write_atomic
from pipeline.params import Section
from pipeline.spreadsheets import as_meant, as_text

SPLITS = ("train", "val", "test")
HOLDOUT = "test"
SHOWN = 10
HEADER = ["group", "split", "since"]
# What mends a leak: out of the holdout rather than into it, since models have learnt from what lies elsewhere.
MOVE_OUT = "`segloop resplit GROUP --to train --note WHY` moves the group out of it"
ONE_SIDE = "`segloop resplit GROUP --to train --note WHY` puts the whole group on one side"
REUNITE = (
    "`segloop resplit GROUP --to SPLIT --note WHY` moves one's group to the other's split, rather out of the holdout "
    "than into it"
)
TOGETHER = "should one group ever move, `segloop resplit GROUP GROUP --to SPLIT --note WHY` moves both"
MEASURE_ANEW = (
    "Train anew, and judge by `segloop gate VERSION --again`; a group that moved by mistake goes back by "
    "`segloop resplit GROUP --to SPLIT --note WHY`"
)
# A batch's name has no blank, so that no batch can be taken for a move.
MOVED = re.compile(r"moved (?P<date>\d{4}-\d{2}-\d{2}) by (?P<who>[^:]+): (?P<note>.+)")


class SplitParams(Section):
    """Shares of the validation and test (holdout) splits by items, and the salt of the hash."""

    val: float = Field(ge=0, le=1)
    test: float = Field(ge=0, le=1)
    salt: str

    @model_validator(mode="after")
    def _leaves_some_to_train(self) -> Self:
        if self.val + self.test >= 1:
            raise ValueError(f"val and test add up to less than 1, received {self.val} and {self.test}")
        return self


class LedgerRow(NamedTuple):
    """One assignment; `since` is the batch that brought the group, or tells of a move."""

    group: str
    split: str
    since: str

    @property
    def moved(self) -> bool:
        """Whether the row moves its group."""
        return MOVED.fullmatch(self.since) is not None


class Move(NamedTuple):
    """A group that was moved: from which splits to which, on which day, by whom and why."""

    group: str
    before: tuple[str, ...]
    after: str
    date: str
    who: str
    note: str


@dataclass(frozen=True)
class Ledger:
    """All assignments, in the order in which they were made."""

    rows: tuple[LedgerRow, ...] = ()

    @cached_property
    def splits(self) -> Mapping[str, set[str]]:
        """The splits of each group; more than one only where a split taken over straddles it."""
        found: dict[str, set[str]] = {}
        for row in self.rows:
            if row.moved:
                found[row.group] = set()
            found.setdefault(row.group, set()).add(row.split)
        return found

    @property
    def moves(self) -> list[Move]:
        """The recorded moves, in order."""
        found, splits = [], dict[str, set[str]]()
        for row in self.rows:
            told = MOVED.fullmatch(row.since)
            before = splits.setdefault(row.group, set())
            if told:
                sides = tuple(side for side in SPLITS if side in before)
                found.append(Move(row.group, sides, row.split, told["date"], told["who"], told["note"]))
                before.clear()
            before.add(row.split)
        return found

    def split_of(self, group: str, source_split: str | None) -> str | None:
        """The split of an item, or None when the ledger does not settle it.

        Args:
            group: The item's group.
            source_split: The split it came with, which decides within a straddling group only.
        """
        return resolve(self.splits.get(group, set()), source_split)


def resolve(splits: set[str], source_split: str | None) -> str | None:
    """The split of an item whose group has these splits: the only one, or the item's own among several."""
    if len(splits) == 1:
        return next(iter(splits))
    return source_split if source_split in splits else None


def straddling(splits: Mapping[str, Iterable[str]]) -> list[str]:
    """The groups that lie in several splits, in words: a line for each set of splits.

    Args:
        splits: Splits by group.
    """
    groups: dict[str, list[str]] = {}
    for group, found in sorted(splits.items()):
        if len(set(found)) > 1:
            groups.setdefault(" and ".join(split for split in SPLITS if split in set(found)), []).append(group)
    return [f"straddles {sides}: {_listed(names)}" for sides, names in sorted(groups.items())]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def read_ledger(path: Path) -> Ledger:
    """Reads the ledger; a missing file is an empty one.

    Raises:
        UserError: The header or a split is not one of the format's; the message names the line.
    """
    if not path.exists():
        return Ledger()
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text: {error}. Restore it from git.") from None
    return parse_ledger(text, str(path))


def parse_ledger(text: str, where: str) -> Ledger:
    """Reads the ledger's text; `where` names it in messages.

    Raises:
        UserError: The header or a split is not one of the format's; the message names the line.
    """
    lines = list(csv.reader(io.StringIO(text, newline="")))
    if not lines or lines[0] != HEADER:
        raise UserError(f"{where} must begin with the header {','.join(HEADER)}, received {lines[:1]}.")
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(HEADER) or line[1] not in SPLITS:
            raise UserError(f"{where}, line {number}: expected group, {'|'.join(SPLITS)}, since; received {line}.")
    return Ledger(tuple(LedgerRow(*map(as_meant, line)) for line in lines[1:]))


def append_ledger(path: Path, ledger: Ledger, rows: Iterable[LedgerRow]) -> Ledger:
    """Writes the ledger with further rows; those that it holds already are not repeated.

    A move is no repetition, even of a side where its group once was; an assignment of a group that has moved is one.

    Returns:
        The ledger as it now stands.
    """
    known = {(row.group, row.split) for row in ledger.rows}
    new = tuple(row for row in rows if row.moved or (row.group, row.split) not in known)
    grown = Ledger(ledger.rows + new)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows([as_text(row.group), row.split, as_text(row.since)] for row in grown.rows)
    write_atomic(path, buffer.getvalue())
    return grown


def moved_row(group: str, split: str, date: str, who: str, note: str) -> LedgerRow:
    """The row that moves a group; line breaks in who and note become blanks, and a colon in who a blank too."""
    who, note = (" ".join(text.split()) for text in (who.replace(":", " "), note))
    return LedgerRow(group, split, f"moved {date} by {who}: {note}")


def check_appended(before: Ledger, after: Ledger, what: str) -> None:
    """Refuses a ledger in which rows of an earlier state are gone or changed.

    Args:
        before: The earlier state.
        after: The ledger as it stands.
        what: Names the earlier state in the message: "HEAD", "data/v3".

    Raises:
        UserError: Naming the first such row; rows may only be added at the end.
    """
    for number, row in enumerate(before.rows, start=2):
        now = after.rows[number - 2] if number - 2 < len(after.rows) else None
        if now != row:
            received = "nothing" if now is None else f"'{','.join(now)}'"
            raise UserError(
                f"The split ledger is append-only, but line {number} was '{','.join(row)}' in {what} and is now "
                f"{received}. Restore it (git checkout {what} -- FILE) and move groups with `segloop resplit`."
            )


def assign(class_px: Mapping[str, np.ndarray], sizes: Mapping[str, int], params: SplitParams) -> dict[str, str]:
    """The first assignment: balances items and class pixels over the splits, whole groups at a time.

    Greedy: the groups, those with the rarest content first, go to the split that lacks most of what they hold (after
    Sechidis et al. 2011, On the Stratification of Multi-Label Data, with pixel shares in place of label counts).

    Args:
        class_px: Pixels per class by group. Shape of each: (C,).
        sizes: Items by group.
        params: The shares wanted.

    Returns:
        The split by group.
    """
    shares = {"train": 1 - params.val - params.test, "val": params.val, "test": params.test}
    groups = sorted(class_px)
    if not groups:
        return {}
    # Each column (items, then classes) is a share of the whole dataset: rare classes weigh as much as common ones.
    content = np.array([[sizes[group], *class_px[group]] for group in groups], dtype=np.float64)
    content /= np.maximum(content.sum(axis=0), 1)
    wanted = {split: np.full(content.shape[1], share) for split, share in shares.items() if share > 0}
    order = sorted(range(len(groups)), key=lambda i: (-content[i].max(initial=0), _hash(params.salt, groups[i])))
    placed: dict[str, str] = {}
    for i in order:
        split = max(wanted, key=lambda name: (float(content[i] @ wanted[name]) / shares[name], name))
        wanted[split] -= content[i]
        placed[groups[i]] = split
    return placed


def place(group: str, sampling: str, params: SplitParams) -> str:
    """The split of a group that comes later: by a salted hash, so that it depends on nothing else.

    What a model selected never enters the holdout: its estimate would be biased towards what the model finds hard.
    """
    position = _hash(params.salt, group)
    test = 0.0 if sampling == "selected" else params.test
    if position < test:
        return "test"
    return "val" if position < test + params.val else "train"


def _hash(salt: str, group: str) -> float:
    digest = hashlib.sha256(f"{salt}\0{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
