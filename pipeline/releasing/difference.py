"""All that differs between two releases, gathered: items, labels, class shares, taxonomy."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.images import Limits
from pipeline.releasing.card import Card
from pipeline.releasing.comparison import Items, Relabelled, agreements, compare_items, is_migrated
from pipeline.releasing.reader import Release
from pipeline.releasing.recorded_changes import ClassChange

SCHEMA = 1
VOID = "void"


@dataclass(frozen=True)
class ItemChange:
    """How much of one item's mask changed.

    Attributes:
        item_id: Its name.
        changed_px: Pixels of another class than before.
        share: Of the mask's pixels; 1 where the masks cannot be compared.
        problem: Why they cannot be compared; empty where they can.
        flow: Which class lost most of its pixels to which other; empty where none did.
    """

    item_id: str
    changed_px: int
    share: float
    problem: str
    flow: str = ""


@dataclass(frozen=True)
class ClassAgreement:
    """A class in the relabelled items.

    Attributes:
        name: The class.
        before_px: Pixels that it had.
        after_px: Pixels that it has.
        kept: Share of those before that stayed; None without any.
        iou: Intersection over union of before and after; None where it is in neither.
        into: Where most of those that it lost went, and how many; empty when it lost none.
    """

    name: str
    before_px: int
    after_px: int
    kept: float | None
    iou: float | None
    into: str


@dataclass(frozen=True)
class Difference:
    """Two releases compared.

    Attributes:
        old: The release before.
        new: The release after.
        items: Items by what became of them.
        relabelled: The relabelled items, the most changed first.
        before: The classes that the relabelled items' pixels had, by their new names where migrations recorded them.
        matrix: Pixels of all relabelled items by class in `before` and new class, void last.
            Shape: (len(before) + 1, C_new + 1), int64.
        taxonomy: A sentence for each difference of the taxonomies.
        shares: Class, its share of the labelled pixels before and after; None where there is no such class or no card.
    """

    old: Release
    new: Release
    items: Items
    relabelled: list[ItemChange]
    before: list[str]
    matrix: npt.NDArray[np.int64]
    taxonomy: list[str]
    shares: list[tuple[str, float | None, float | None]]

    @property
    def counts(self) -> dict[str, int]:
        """How many items were added, removed, relabelled, replaced and moved, and how many were migrated alone."""
        return self.items.counts

    @property
    def row_names(self) -> list[str]:
        """The classes before, and void."""
        return [*self.before, VOID]

    @property
    def column_names(self) -> list[str]:
        """The new classes, and void."""
        return [*self.new.taxonomy.names, VOID]

    @property
    def classes(self) -> list[ClassAgreement]:
        """The agreement of each class that old and new have in common, and of void."""
        columns = {name: number for number, name in enumerate(self.column_names)}
        return [self._class(row, columns.get(name)) for row, name in enumerate(self.row_names)]

    def as_json(self) -> dict[str, Any]:
        """All of it, for machines."""
        return {
            "schema": SCHEMA,
            "old": _side(self.old),
            "new": _side(self.new),
            "counts": self.counts,
            "added": self.items.added,
            "removed": self.items.removed,
            "replaced": self.items.replaced,
            "moved": self.items.moved,
            "migrated": self.items.migrated,
            "relabelled": [vars(each) for each in self.relabelled],
            "agreement": {"old": self.row_names, "new": self.column_names, "px": self.matrix.tolist()},
            "classes": [vars(each) for each in self.classes],
            "class_shares": [{"class": name, "old": was, "new": now} for name, was, now in self.shares],
            "taxonomy": self.taxonomy,
        }

    def _class(self, row: int, column: int | None) -> ClassAgreement:
        before = int(self.matrix[row].sum())
        after = 0 if column is None else int(self.matrix[:, column].sum())
        both = 0 if column is None else int(self.matrix[row, column])
        lost = self.matrix[row].copy()
        if column is not None:
            lost[column] = 0
        most = int(lost.argmax())
        return ClassAgreement(
            name=self.row_names[row],
            before_px=before,
            after_px=after,
            kept=both / before if before else None,
            iou=both / (before + after - both) if before + after else None,
            into=f"{self.column_names[most]} ({int(lost[most]):,} px)" if lost.any() else "",
        )


def differ(old: Release, new: Release, cards: tuple[Card | None, Card | None], limits: Limits) -> Difference:
    """Compares two releases.

    Args:
        old: The release before.
        new: The release after.
        cards: Of both; without one the class shares are not known.
        limits: What is refused before decoding.
    """
    items, classes = compare_items(old, new), ClassChange(old.taxonomy, new.taxonomy)
    names = [*classes.before, VOID], [*new.taxonomy.names, VOID]
    matrix: npt.NDArray[np.int64] = np.zeros((len(names[0]), len(names[1])), dtype=np.int64)
    changed, migrated = [], []
    for each in agreements(old, new, items.relabelled, limits):
        folded = None if each.agreement is None else classes.folded(each.agreement)
        if is_migrated(each, classes):
            migrated.append(each.item_id)
            continue
        if folded is not None:
            matrix += folded
        changed.append(_change(each, folded, *names))
    changed.sort(key=lambda each: (-each.share, each.item_id))
    items = replace(items, relabelled=sorted(each.item_id for each in changed), migrated=migrated)
    shares = _shares(*cards, classes)
    return Difference(old, new, items, changed, classes.before, matrix, classes.sentences(), shares)


def varied(changes: Iterable[ItemChange], count: int) -> list[str]:
    """The most changed items, in turn from those of each flow, so that one kind of change does not hide the others."""
    of_flow: dict[str, list[str]] = {}
    for each in changes:
        if not each.problem:
            of_flow.setdefault(each.flow, []).append(each.item_id)
    in_turn = [name for names in zip_longest(*of_flow.values()) for name in names if name is not None]
    return in_turn[:count]


def _change(each: Relabelled, px: npt.NDArray[np.int64] | None, old: list[str], new: list[str]) -> ItemChange:
    if px is None:
        return ItemChange(each.item_id, 0, 1.0, each.problem)
    moved = np.where(np.array([[was == now for now in new] for was in old]), 0, px)
    changed = int(moved.sum())
    row, column = (int(place) for place in np.unravel_index(moved.argmax(), moved.shape))
    flow = f"{old[row]} to {new[column]}" if changed else ""
    return ItemChange(each.item_id, changed, changed / max(int(px.sum()), 1), "", flow)


def _shares(
    before: Card | None, after: Card | None, classes: ClassChange
) -> list[tuple[str, float | None, float | None]]:
    old: dict[str, float] = {}
    for each in before.content["classes"] if before else ():
        name = classes.share_name(each["name"])
        old[name] = old.get(name, 0.0) + float(each["share"])
    new = {each["name"]: float(each["share"]) for each in after.content["classes"]} if after else {}
    was = [classes.share_name(name) for name in classes.old.names]
    return [(name, old.get(name), new.get(name)) for name in dict.fromkeys([*was, *classes.new.names])]


def _side(release: Release) -> dict[str, Any]:
    return {
        "name": release.name,
        "commit": release.commit,
        "dvc_md5": release.folder_md5,
        "items": len(release.index),
        "parts": len(release.parts),
        "purged": list(release.losses.sentences),
        "taxonomy_version": release.taxonomy.version,
    }
