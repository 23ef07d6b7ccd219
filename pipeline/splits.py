"""The split ledger: an append-only CSV in git that says to which split each group belongs, and since when.

A group never straddles splits and never changes side. The one exception is a split that came with the data and was
taken over on request: where it straddles a group, the ledger holds a row per split, visibly, and each item keeps the
split it came with.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from pipeline.errors import UserError
from pipeline.files import write_atomic
from pipeline.params import Section

SPLITS = ("train", "val", "test")
HOLDOUT = "test"
SHOWN = 10
HEADER = ["group", "split", "since"]


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
    """One assignment; `since` is the batch that brought the group."""

    group: str
    split: str
    since: str


@dataclass(frozen=True)
class Ledger:
    """All assignments, in the order in which they were made."""

    rows: tuple[LedgerRow, ...] = ()

    @property
    def splits(self) -> dict[str, set[str]]:
        """The splits of each group; more than one only where a split taken over straddles it."""
        found: dict[str, set[str]] = {}
        for row in self.rows:
            found.setdefault(row.group, set()).add(row.split)
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
        lines = list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text: {error}. Restore it from git.") from None
    if not lines or lines[0] != HEADER:
        raise UserError(f"{path} must begin with the header {','.join(HEADER)}, received {lines[:1]}.")
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(HEADER) or line[1] not in SPLITS:
            raise UserError(f"{path}, line {number}: expected group, {'|'.join(SPLITS)}, since; received {line}.")
    return Ledger(tuple(LedgerRow(*line) for line in lines[1:]))


def append_ledger(path: Path, ledger: Ledger, rows: Iterable[LedgerRow]) -> Ledger:
    """Writes the ledger with further rows; those that it holds already are not repeated.

    Returns:
        The ledger as it now stands.
    """
    known = {(row.group, row.split) for row in ledger.rows}
    new = tuple(row for row in rows if (row.group, row.split) not in known)
    grown = Ledger(ledger.rows + new)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows([row.group, row.split, row.since] for row in grown.rows)
    write_atomic(path, buffer.getvalue())
    return grown


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
