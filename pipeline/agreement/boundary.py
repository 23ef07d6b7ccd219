"""How well the outlines of two annotators match; void on either side hides them."""

import numpy as np
import numpy.typing as npt

from training.boundary import BoundaryCounts

Counts = npt.NDArray[np.int64]
Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


def outline_counts(
    one: Labels, other: Labels, num_classes: int, tolerance_px: int, ignore_index: int
) -> BoundaryCounts:
    """Compares the outlines of every class, as `training.boundary` does with a model's, but both sides may have void.

    An edge against void is no outline, and an outline without a match is not judged where void lies within the
    tolerance: the other may have gone on there. Without void this gives what `boundary_counts` gives. The score is
    the same in either order.

    Args:
        one: Shape (H, W); stands where the truth does.
        other: Shape (H, W).
        num_classes: C.
        tolerance_px: Largest Euclidean distance in pixels between matching outlines, at least 0.
        ignore_index: Void.
    """
    void: Mask | None = (one == ignore_index) | (other == ignore_index)
    assert void is not None
    if void.any():
        one, other = (np.where(void, np.uint8(ignore_index), labels) for labels in (one, other))
    else:
        void = None
    sides = [_Outline.of(labels, tolerance_px, ignore_index) for labels in (one, other)]
    steps = _steps(tolerance_px, one.shape[1] + 2 * tolerance_px)
    veil = None if void is None else np.pad(void, tolerance_px).ravel()
    first, second = (
        _matched(mine, its, steps, veil, num_classes) for mine, its in zip(sides, reversed(sides), strict=True)
    )
    return BoundaryCounts(
        matched_predicted=second[0], predicted=second[1], matched_true=first[0], true=first[1]
    )  # fmt: skip


class _Outline:
    """The pixels of a mask with a neighbour of another class, padded by the tolerance.

    Attributes:
        drawn: Flat, uint8: the class on the outline, void elsewhere.
        places: Where it is.
    """

    def __init__(self, drawn: Labels, ignore_index: int) -> None:
        self.drawn = drawn
        self.places = np.flatnonzero(drawn != ignore_index)

    @classmethod
    def of(cls, labels: Labels, tolerance_px: int, ignore_index: int) -> "_Outline":
        """Of a mask of shape (H, W)."""
        edge = np.zeros(labels.shape, np.bool_)
        for first, second in ((np.s_[:-1, :], np.s_[1:, :]), (np.s_[:, :-1], np.s_[:, 1:])):
            one, other = labels[first], labels[second]
            differ = (one != other) & (one != ignore_index) & (other != ignore_index)
            edge[first] |= differ
            edge[second] |= differ
        drawn = np.where(edge, labels, np.uint8(ignore_index))
        return cls(np.pad(drawn, tolerance_px, constant_values=ignore_index).ravel(), ignore_index)


def _steps(tolerance_px: int, width: int) -> list[int]:
    """How far apart in a flat mask of this width are pixels within the tolerance."""
    reach = range(-tolerance_px, tolerance_px + 1)
    return [down * width + right for down in reach for right in reach if down**2 + right**2 <= tolerance_px**2]


def _matched(
    mine: _Outline, its: _Outline, steps: list[int], veil: Mask | None, num_classes: int
) -> tuple[Counts, Counts]:
    """Pixels of my outline that the other has too, and those that can be judged, (C,) each."""
    labels = mine.drawn[mine.places]
    matched = np.zeros(len(labels), np.bool_)
    hidden = np.zeros(len(labels), np.bool_)
    for step in steps:
        matched |= its.drawn[mine.places + step] == labels
        if veil is not None:
            hidden |= veil[mine.places + step]
    found = np.bincount(labels[matched], minlength=num_classes)
    return found, np.bincount(labels[matched | ~hidden], minlength=num_classes)
