"""All that differs between two releases, gathered: items, labels, class shares, taxonomy."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.dossiers.changes import taxonomy_changes
from pipeline.images import Limits
from pipeline.releasing.card import Card
from pipeline.releasing.comparison import Items, Relabelled, agreements, compare_items, same_class
from pipeline.releasing.reader import Release

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
        matrix: Pixels of all relabelled items by old and new class, void last. Shape: (C_old + 1, C_new + 1), int64.
        taxonomy: A sentence for each difference of the taxonomies.
        shares: Class, its share of the labelled pixels before and after; None where there is no such class or no card.
    """

    old: Release
    new: Release
    items: Items
    relabelled: list[ItemChange]
    matrix: npt.NDArray[np.int64]
    taxonomy: list[str]
    shares: list[tuple[str, float | None, float | None]]

    @property
    def row_names(self) -> list[str]:
        """The old classes, and void."""
        return [*self.old.taxonomy.names, VOID]

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
            "counts": self.items.counts,
            "added": self.items.added,
            "removed": self.items.removed,
            "replaced": self.items.replaced,
            "moved": self.items.moved,
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
    items = compare_items(old, new)
    same = same_class(old.taxonomy, new.taxonomy)
    matrix: npt.NDArray[np.int64] = np.zeros(same.shape, dtype=np.int64)
    changed = []
    for each in agreements(old, new, items.relabelled, limits):
        if each.agreement is not None:
            matrix += each.agreement
        changed.append(_change(each, same, old.taxonomy.names, new.taxonomy.names))
    changed.sort(key=lambda each: (-each.share, each.item_id))
    shares = _shares(*cards, [*old.taxonomy.names, *new.taxonomy.names])
    return Difference(old, new, items, changed, matrix, taxonomy_changes(old.taxonomy, new.taxonomy), shares)


def varied(changes: Iterable[ItemChange], count: int) -> list[str]:
    """The most changed items, in turn from those of each flow, so that one kind of change does not hide the others."""
    of_flow: dict[str, list[str]] = {}
    for each in changes:
        if not each.problem:
            of_flow.setdefault(each.flow, []).append(each.item_id)
    in_turn = [name for names in zip_longest(*of_flow.values()) for name in names if name is not None]
    return in_turn[:count]


def _change(each: Relabelled, same: npt.NDArray[np.bool_], old: list[str], new: list[str]) -> ItemChange:
    if each.agreement is None:
        return ItemChange(each.item_id, 0, 1.0, each.problem)
    changed = each.changed_px(same)
    moved = np.where(same, 0, each.agreement)
    row, column = (int(place) for place in np.unravel_index(moved.argmax(), moved.shape))
    flow = f"{[*old, VOID][row]} to {[*new, VOID][column]}" if changed else ""
    return ItemChange(each.item_id, changed, changed / max(int(each.agreement.sum()), 1), "", flow)


def _shares(
    before: Card | None, after: Card | None, names: Iterable[str]
) -> list[tuple[str, float | None, float | None]]:
    old, new = (
        {} if card is None else {each["name"]: float(each["share"]) for each in card.content["classes"]}
        for card in (before, after)
    )
    return [(name, old.get(name), new.get(name)) for name in dict.fromkeys(names)]


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
