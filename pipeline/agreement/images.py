"""What is counted of each image that several annotated, in several processes."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.agreement.boundary import outline_counts
from pipeline.agreement.coefficients import Ratings
from pipeline.agreement.consensus import FEW, staple
from pipeline.agreement.copies import UNNAMED, Copies, chunks, read_copies
from pipeline.agreement.joint import Joint, check_classes, joint
from pipeline.command import in_processes, progress
from pipeline.images import Limits
from training.boundary import BoundaryCounts

Counts = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class How:
    """How images are compared.

    Attributes:
        num_classes: C.
        ignore_index: Void.
        critical: Ids of the safety-critical classes.
        tolerance_px: Outlines this near count as the same.
        look_below: IoU of a class below which a pair may need a third look.
        look_px: Pixels in dispute from which it does.
        limits: What is refused before it is decoded.
    """

    num_classes: int
    ignore_index: int
    critical: tuple[int, ...]
    tolerance_px: int
    look_below: float
    look_px: int
    limits: Limits


@dataclass(frozen=True)
class Look:
    """The class of a pair that most needs a third look.

    Attributes:
        label: The class.
        critical: Whether it is safety-critical.
        iou: Of the two, where no third annotator has settled it.
        disputed_px: Pixels that only one of the two gave this class, and no majority settles.
        box: x, y, width, height of the largest coherent piece of them.
    """

    label: int
    critical: bool
    iou: float
    disputed_px: int
    box: Box


@dataclass(frozen=True)
class Pair:
    """Two masks of one image.

    Attributes:
        items: Their names.
        annotators: Who drew them.
        confusion: Shape (C, C): the first in rows; pixels void in either left out.
        void_px: Pixels that just one of them left void.
        boundary: Of their outlines.
        look: What needs a third look, if anything does.
    """

    items: tuple[str, str]
    annotators: tuple[str, str]
    confusion: Counts
    void_px: int
    boundary: BoundaryCounts
    look: Look | None

    @property
    def of_one(self) -> bool:
        """Whether one annotator drew both: then it says how steady that one is."""
        return self.annotators[0] == self.annotators[1] != UNNAMED


@dataclass(frozen=True)
class Compared:
    """One image.

    Attributes:
        sha256: The image.
        group: Its group.
        ratings: Of all its annotators, each counted once.
        pairs: Every two of its masks.
        against: Shape (C, C) by annotator: the others' majority in rows, what the annotator drew in columns.
        judged: The same as STAPLE estimates it, of images with at least three annotators.
        problems: Why an item could not be compared, by name.
    """

    sha256: str
    group: str
    ratings: Ratings
    pairs: list[Pair] = field(default_factory=list)
    against: dict[str, Counts] = field(default_factory=dict)
    judged: dict[str, Scores] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def compare_all(dataset: Path, rows: pd.DataFrame, how: How, workers: int) -> Iterator[Compared]:
    """Compares the masks of every image, in the order of the parts.

    Args:
        dataset: The dataset's folder.
        rows: As `overlapping` gives them.
        how: What counts.
        workers: Processes; 0 takes every core.
    """
    parts = chunks(rows)
    count = len(parts)
    done = in_processes(_compare_chunk, [dataset] * count, parts, [how] * count, workers=workers, section="agreement")
    for found in progress(done, total=count, label="annotators"):
        yield from found


def compare(copies: Copies, how: How) -> Compared:
    """Compares the masks of one image; a mask with what is no class is a problem of its item."""
    copies = keep_known(copies, how)
    nothing = Compared(copies.sha256, copies.group, Ratings.none(how.num_classes), problems=copies.problems)
    if len(copies.masks) < 2:  # noqa: PLR2004 - a pair
        return nothing
    together = joint(copies.masks, how.num_classes, how.ignore_index)
    once = _once_each(copies.annotators)
    each = together.of(once)
    names = [copies.annotators[place] for place in once]
    return replace(
        nothing,
        ratings=Ratings.of(each) if len(once) > 1 else nothing.ratings,
        pairs=[_pair(copies, together, one, other, how) for one, other in combinations(range(len(copies.masks)), 2)],
        against=_against_others(each, names),
        judged=_judged(each, names),
    )


def keep_known(copies: Copies, how: How) -> Copies:
    """The same without the masks that hold what is no class; they become problems of their items."""
    problems, kept = dict(copies.problems), []
    for place, mask in enumerate(copies.masks):
        try:
            check_classes(mask, how.num_classes, how.ignore_index)
            kept.append(place)
        except ValueError as error:
            problems[copies.items[place]] = str(error)
    if len(kept) == len(copies.masks):
        return copies
    return replace(
        copies,
        items=tuple(copies.items[place] for place in kept),
        annotators=tuple(copies.annotators[place] for place in kept),
        masks=tuple(copies.masks[place] for place in kept),
        problems=problems,
    )


def _compare_chunk(dataset: Path, rows: pd.DataFrame, how: How) -> list[Compared]:
    import cv2

    cv2.setNumThreads(1)  # the processes share the cores
    return [compare(copies, how) for copies in read_copies(dataset, rows, how.limits)]


def _once_each(annotators: tuple[str, ...]) -> list[int]:
    """The last mask of each annotator who is named, and all of those who are not."""
    last = {name if name != UNNAMED else f"{UNNAMED} {place}": place for place, name in enumerate(annotators)}
    return sorted(last.values())


def _pair(copies: Copies, together: Joint, one: int, other: int, how: How) -> Pair:
    masks = copies.masks[one], copies.masks[other]
    void = together.labels[:, [one, other]] == how.num_classes
    return Pair(
        items=(copies.items[one], copies.items[other]),
        annotators=(copies.annotators[one], copies.annotators[other]),
        confusion=together.pair(one, other),
        void_px=int(together.times[void[:, 0] != void[:, 1]].sum()),
        boundary=outline_counts(*masks, how.num_classes, how.tolerance_px, how.ignore_index),
        look=_look(copies, together, one, other, how),
    )


def _look(copies: Copies, together: Joint, one: int, other: int, how: How) -> Look | None:
    """The critical class of least IoU that is low enough, else the other class of least IoU."""
    labels, settled = together.labels[:, [one, other]], _settled(together)
    counted = (labels < how.num_classes).all(axis=1)
    found = []
    for label in range(how.num_classes):
        has = labels == label
        disputed = int(together.times[counted & ~settled & (has[:, 0] != has[:, 1])].sum())
        both = int(together.times[has.all(axis=1)].sum())
        if disputed >= how.look_px and both < how.look_below * (both + disputed):
            found.append((label not in how.critical, both / (both + disputed), label, disputed))
    if not found:
        return None
    harmless, score, label, disputed = min(found)
    box = _box(copies, one, other, label, how)
    return Look(label, not harmless, score, disputed, box)


def _settled(together: Joint) -> npt.NDArray[np.bool_]:
    """The combinations in which one label has more than half of the votes, (P,)."""
    settled: npt.NDArray[np.bool_] = 2 * together.votes.max(axis=1) > together.labels.shape[1]
    return settled


def _box(copies: Copies, one: int, other: int, label: int, how: How) -> Box:
    import cv2

    first, second = copies.masks[one], copies.masks[other]
    disputed = ((first == label) != (second == label)) & (first != how.ignore_index) & (second != how.ignore_index)
    _, _, stats, _ = cv2.connectedComponentsWithStats(disputed.astype(np.uint8), connectivity=8)
    largest = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())]
    return int(largest[0]), int(largest[1]), int(largest[2]), int(largest[3])


def _against_others(each: Joint, names: list[str]) -> dict[str, Counts]:
    """Each annotator against what most of the others drew; where they are divided nothing is counted."""
    found: dict[str, Counts] = {}
    classes = each.num_classes
    for place, name in enumerate(names):
        own = each.labels[:, place]
        votes = each.of([other for other in range(len(names)) if other != place]).votes[:, :classes]
        ordered = np.sort(votes, axis=1)
        clear = ordered[:, -1] > (ordered[:, -2] if classes > 1 else 0)
        counted = clear & (own < classes)
        matrix = np.zeros((classes, classes), np.int64)
        np.add.at(matrix, (votes.argmax(axis=1)[counted], own[counted]), each.times[counted])
        found[name] = found.get(name, 0) + matrix
    return found


def _judged(each: Joint, names: list[str]) -> dict[str, Scores]:
    if len(names) < FEW:
        return {}
    found: dict[str, Scores] = {}
    for name, matrix in zip(names, staple(each).confusions, strict=True):
        found[name] = found.get(name, 0) + matrix
    return found
