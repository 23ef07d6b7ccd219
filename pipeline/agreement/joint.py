"""Which labels the annotators of an image gave together, and how often: nearly all that is asked follows from it.

A few dozen combinations stand for the millions of pixels of an image, so what is computed from them costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.confusion import confusion_matrix

Counts = npt.NDArray[np.int64]
Labels = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

PAIR = 2
BYTE = 255


@dataclass(frozen=True)
class Joint:
    """The combinations of labels in an image, each with its pixels.

    Attributes:
        labels: Shape (P, R): what each of R annotators gave, in [0, C), or C for void.
        times: Shape (P,): pixels with this combination, at least 1.
        num_classes: C.
    """

    labels: Counts
    times: Counts
    num_classes: int

    @property
    def votes(self) -> Counts:
        """How many annotators gave each label, (P, C + 1); the last column is void."""
        votes: Counts = (self.labels[:, :, np.newaxis] == np.arange(self.num_classes + 1)).sum(axis=1)
        return votes

    def pair(self, one: int, other: int) -> Counts:
        """How often the class of one annotator meets that of another, (C, C), `one` in rows; no void."""
        matrix = np.zeros((self.num_classes + 1, self.num_classes + 1), np.int64)
        np.add.at(matrix, (self.labels[:, one], self.labels[:, other]), self.times)
        return matrix[:-1, :-1]

    def of(self, annotators: Sequence[int]) -> "Joint":
        """The same of some of the annotators; a combination may then occur in several rows."""
        return Joint(self.labels[:, list(annotators)], self.times, self.num_classes)


def joint(masks: Sequence[Labels], num_classes: int, ignore_index: int) -> Joint:
    """Counts the combinations.

    Args:
        masks: At least one, shape (H, W) each.
        num_classes: C, at most 255.
        ignore_index: Void.

    Raises:
        ValueError: The masks differ in size, or hold what is no class.
    """
    if len(masks) != PAIR or num_classes + 1 >= BYTE:
        return locate(masks, num_classes, ignore_index)[0]
    one, other = _dense(masks, num_classes, ignore_index)
    counts = confusion_matrix(one, other, num_classes + 1, BYTE)  # faster than what any number of masks takes
    return Joint(np.argwhere(counts), counts[counts > 0], num_classes)


def locate(masks: Sequence[Labels], num_classes: int, ignore_index: int) -> tuple[Joint, Places]:
    """Counts the combinations and tells where they are: arguments and errors of `joint`.

    Returns:
        The combinations, and for each pixel the row of its own, shape (H, W).
    """
    first, *others = _dense(masks, num_classes, ignore_index)
    labels, places = _renumbered(first.astype(np.int64))
    rows = labels[:, np.newaxis]
    for mask in others:
        found, places = _renumbered(places * (num_classes + 1) + mask)
        rows = np.column_stack([rows[found // (num_classes + 1)], found % (num_classes + 1)])
    return Joint(rows, np.bincount(places.ravel(), minlength=len(rows)), num_classes), places


def check_classes(mask: Labels, num_classes: int, ignore_index: int) -> None:
    """Refuses a mask that holds what is no class.

    Raises:
        ValueError: It does; the message names the first such value.
    """
    _dense([mask], num_classes, ignore_index)


def _dense(masks: Sequence[Labels], num_classes: int, ignore_index: int) -> list[Labels]:
    """The masks with void as class C."""
    import cv2

    if len({mask.shape for mask in masks}) != 1:
        raise ValueError(f"masks of {sorted({mask.shape for mask in masks})} pixels cannot be compared")
    table = np.full(BYTE + 1, min(num_classes + 1, BYTE), np.uint8)
    table[:num_classes], table[ignore_index] = np.arange(num_classes), num_classes
    dense = [np.asarray(cv2.LUT(mask, table), np.uint8) for mask in masks]
    for mask, lifted in zip(masks, dense, strict=True):
        if lifted.max(initial=0) > num_classes:
            raise ValueError(f"its mask holds the value {mask[lifted > num_classes][0]}, which is no class")
    return dense


def _renumbered(values: Places) -> tuple[Counts, Places]:
    """The values that occur, ascending, and the pixels as their numbers."""
    found = np.flatnonzero(np.bincount(values.ravel()))
    number = np.zeros(int(found[-1]) + 1 if found.size else 1, np.int64)
    number[found] = np.arange(len(found))
    return found, number[values]
