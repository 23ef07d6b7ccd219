"""Compares two releases: which items came, went or changed, and what became of every labelled pixel."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.command import progress
from pipeline.files import sha256_bytes
from pipeline.images import ImageError, Limits, decode_mask
from pipeline.releasing.reader import Release
from pipeline.releasing.recorded_changes import ClassChange
from pipeline.taxonomy import Taxonomy

if TYPE_CHECKING:
    import pandas as pd

PLACE = ["part_md5", "row_group", "row"]
KINDS = ("added", "removed", "relabelled", "replaced", "moved", "migrated")


@dataclass(frozen=True)
class Items:
    """The items of two releases, by what became of them; each list is sorted.

    Attributes:
        before: How many there were.
        after: How many there are.
        added: New ones.
        removed: Gone.
        relabelled: With another mask.
        replaced: With another image.
        moved: In another split.
        migrated: With another mask that says what it said, once its classes are called as migrations called them.
    """

    before: int
    after: int
    added: list[str]
    removed: list[str]
    relabelled: list[str]
    replaced: list[str]
    moved: list[str]
    migrated: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How many were added, removed, relabelled, replaced and moved, and how many were migrated alone."""
        return {name: len(getattr(self, name)) for name in KINDS}


@dataclass(frozen=True)
class Relabelled:
    """What became of one item's mask.

    Attributes:
        item_id: Its name.
        agreement: Pixels by old class and new class, void last in both. Shape: (C_old + 1, C_new + 1), int64. None
            where it cannot be counted.
        problem: Why it cannot be counted; empty where it can.
    """

    item_id: str
    agreement: npt.NDArray[np.int64] | None
    problem: str = ""


def compare_items(old: Release, new: Release) -> Items:
    """Finds the items that differ.

    A row that lies at the same place of the same part is the same row, so no byte of it is read. Of the others the
    masks are, and what differs in any byte counts as relabelled: `apart` finds those that migrations alone rewrote.
    """
    before, after = (release.index for release in (old, new))
    if before.empty or after.empty:
        names: tuple[list[str], list[str]] = tuple(sorted(each.get("item_id", [])) for each in (before, after))  # type: ignore[assignment]
        return Items(len(before), len(after), names[1], names[0], [], [], [])
    both = before.merge(after, on="item_id", suffixes=("_old", "_new"))
    known = both["part_md5_old"] != ""
    for name in PLACE:
        known &= both[f"{name}_old"] == both[f"{name}_new"]
    candidates = both[~known]
    differing = candidates["sha256_old"] != candidates["sha256_new"]
    return Items(
        before=len(before),
        after=len(after),
        added=sorted(set(after["item_id"]) - set(before["item_id"])),
        removed=sorted(set(before["item_id"]) - set(after["item_id"])),
        relabelled=_relabelled(old, new, set(candidates["item_id"])),
        replaced=sorted(candidates.loc[differing, "item_id"]),
        moved=sorted(both.loc[both["split_old"].fillna("") != both["split_new"].fillna(""), "item_id"]),
    )


def apart(old: Release, new: Release, items: Items, limits: Limits) -> Items:
    """Tells the items that migrations alone rewrote from those that somebody drew anew.

    Args:
        old: The release before.
        new: The release after.
        items: What `compare_items` found.
        limits: What is refused before decoding.

    Returns:
        The same where no recorded migration lies between: then no mask is decoded.
    """
    classes = ClassChange(old.taxonomy, new.taxonomy)
    if classes.becomes is None:
        return items
    found = [each.item_id for each in agreements(old, new, items.relabelled, limits) if is_migrated(each, classes)]
    return replace(items, relabelled=sorted(set(items.relabelled) - set(found)), migrated=sorted(found))


def is_migrated(each: Relabelled, classes: ClassChange) -> bool:
    """Whether a recorded migration explains every pixel of an item's mask."""
    if classes.becomes is None or each.agreement is None:
        return False
    return not each.agreement[~classes.same].any()


def agreements(old: Release, new: Release, relabelled: list[str], limits: Limits) -> Iterator[Relabelled]:
    """Counts, for each relabelled item, what its pixels were and are; two masks are decoded at a time.

    Args:
        old: The release before.
        new: The release after.
        relabelled: Items of both.
        limits: What is refused before decoding.

    Yields:
        In the order of the names.
    """
    for item_id, before, after in mask_pairs(old, new, relabelled):
        try:
            was, now = decode_mask(before, limits), decode_mask(after, limits)
        except ImageError as error:
            yield Relabelled(item_id, None, str(error))
            continue
        if was.shape != now.shape:
            yield Relabelled(item_id, None, f"the mask was {_size(was)}, is {_size(now)}")
            continue
        yield Relabelled(item_id, agreement(was, now, old.taxonomy, new.taxonomy))


def agreement(
    was: npt.NDArray[np.uint8], now: npt.NDArray[np.uint8], old: Taxonomy, new: Taxonomy
) -> npt.NDArray[np.int64]:
    """Counts the pixels by old and new class, void last; what is no class counts as void.

    Args:
        was: Shape (H, W), uint8.
        now: Shape (H, W), uint8.
        old: The classes of `was`.
        new: The classes of `now`.

    Returns:
        Shape (C_old + 1, C_new + 1), int64.
    """
    rows, columns = old.num_classes + 1, new.num_classes + 1
    places = np.minimum(was, rows - 1).astype(np.int64) * columns + np.minimum(now, columns - 1)
    return np.bincount(places.ravel(), minlength=rows * columns).reshape(rows, columns)


def same_class(old: Taxonomy, new: Taxonomy) -> npt.NDArray[np.bool_]:
    """Which old class is which new one, by recorded migrations or by name. Shape: (C_old + 1, C_new + 1)."""
    return ClassChange(old, new).same


def mask_pairs(old: Release, new: Release, names: list[str]) -> Iterator[tuple[str, bytes, bytes]]:
    """The masks of items of both releases, before and after, in the order of the names.

    The rows are read in order of the name and not of the part; neighbours mostly lie in one row group, which is kept.
    """
    sides = [_MaskReader(release) for release in (old, new)]
    for name in progress(sorted(names), total=len(names), label="masks"):
        yield name, sides[0].read(name), sides[1].read(name)


class _MaskReader:
    """Reads masks by item, one row group in memory."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self._rows = release.index.set_index("item_id", drop=False)
        places = zip(self._rows["part"], self._rows["row_group"], strict=True)
        self._places = dict(zip(self._rows["item_id"], places, strict=True))
        self._at: tuple[str, int] | None = None
        self._masks: dict[str, bytes] = {}

    def read(self, item_id: str) -> bytes:
        at = self._places[item_id]
        if at != self._at:
            group = self._rows[(self._rows["part"] == at[0]) & (self._rows["row_group"] == at[1])]
            self._masks = {str(each["item_id"]): mask for each, mask in self._release.masks(group)}
            self._at = at
        return self._masks[item_id]


def mask_digests(release: Release, rows: "pd.DataFrame") -> dict[str, str]:
    """The digests of the masks as they are stored, by item."""
    return {str(row["item_id"]): sha256_bytes(mask) for row, mask in release.masks(rows)}


def _relabelled(old: Release, new: Release, candidates: set[str]) -> list[str]:
    sides = []
    for release in (old, new):
        rows = release.index[release.index["item_id"].isin(candidates)]
        sides.append(mask_digests(release, rows))
    return sorted(name for name in candidates if sides[0][name] != sides[1][name])


def _size(mask: npt.NDArray[np.uint8]) -> str:
    return f"{mask.shape[1]}x{mask.shape[0]}"
