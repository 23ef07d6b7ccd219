"""How well the outlines of a label map match: the boundary F-score per class."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from training.metrics import ratio

Labels = npt.NDArray[np.int16]
Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

_NONE = -1  # no label: void, outside the image, or not on a boundary


@dataclass(frozen=True)
class BoundaryCounts:
    """Boundary pixels per class, four (C,) int64 arrays; add the counts of images, then ask for the score.

    Attributes:
        matched_predicted: Predicted boundary pixels with a true boundary of their class within the tolerance.
        predicted: All predicted boundary pixels that can be judged.
        matched_true: True boundary pixels with a predicted boundary of their class within the tolerance.
        true: All true boundary pixels.
    """

    matched_predicted: Counts
    predicted: Counts
    matched_true: Counts
    true: Counts

    @classmethod
    def zeros(cls, num_classes: int) -> Self:
        """Counts of no image at all, to start a sum with."""
        return cls(*np.zeros((4, num_classes), np.int64))

    def __add__(self, other: "BoundaryCounts") -> "BoundaryCounts":
        """Pool the pixels of two sets of images."""
        return BoundaryCounts(
            self.matched_predicted + other.matched_predicted,
            self.predicted + other.predicted,
            self.matched_true + other.matched_true,
            self.true + other.true,
        )

    def f_score(self) -> npt.NDArray[np.float64]:
        """Harmonic mean of boundary precision and recall (Csurka et al., BMVC 2013; Perazzi et al., CVPR 2016).

        Returns:
            (C,) in [0, 1]; NaN for a class with no boundary in truth and prediction, 0 with one in only one of
            them.
        """
        precision = np.nan_to_num(ratio(self.matched_predicted, self.predicted))
        recall = np.nan_to_num(ratio(self.matched_true, self.true))
        score = np.nan_to_num(ratio(2 * precision * recall, precision + recall))
        return np.where(self.predicted + self.true > 0, score, np.nan)


def boundary_counts(
    truth: npt.NDArray[np.uint8],
    prediction: npt.NDArray[np.uint8],
    num_classes: int,
    tolerance_px: int,
    ignore_index: int = 255,
) -> BoundaryCounts:
    """Compare the outlines of every class in one image.

    A pixel is on the boundary of its class if one of its four neighbours has another class. The image border is
    no boundary. Void hides where the true outline runs, so an edge of the truth against void is no boundary, and
    a predicted boundary pixel in void, or unmatched with void within the tolerance, is not judged: it may be
    right. Predicted boundaries that lie in void still count as found when a true one is near.

    Args:
        truth: True class ids, (H, W) uint8 in [0, num_classes) or `ignore_index`.
        prediction: Predicted class ids, (H, W) uint8 in [0, num_classes).
        num_classes: Number of classes C.
        tolerance_px: Largest Euclidean distance in pixels between matching boundary pixels, at least 0.
        ignore_index: The void label of `truth`.

    Raises:
        ValueError: If the shapes differ or the tolerance is negative.
    """
    if truth.shape != prediction.shape or tolerance_px < 0:
        raise ValueError(
            f"truth has shape {truth.shape}, prediction {prediction.shape}, tolerance_px is {tolerance_px}; "
            "compare maps of the same size with a tolerance of at least 0.",
        )
    void = truth == ignore_index
    true_edge = _boundary(np.where(void, np.int16(_NONE), truth.astype(np.int16)))
    predicted_edge = _boundary(prediction.astype(np.int16))
    found = _near(true_edge, predicted_edge, tolerance_px)
    on_target = _near(predicted_edge, true_edge, tolerance_px)
    void_nearby = _near(np.where(predicted_edge == _NONE, predicted_edge, 0), void.astype(np.int16) - 1, tolerance_px)
    judged = ~void & (on_target | ~void_nearby)
    return BoundaryCounts(
        _per_class(predicted_edge, judged & on_target, num_classes),
        _per_class(predicted_edge, judged, num_classes),
        _per_class(true_edge, found, num_classes),
        _per_class(true_edge, np.ones_like(void), num_classes),
    )


def _boundary(labels: Labels) -> Labels:
    """Keep the label of every pixel that has a neighbour of another class, `_NONE` elsewhere; (H, W)."""
    edge = np.zeros(labels.shape, np.bool_)
    for first, second in (
        (np.s_[:-1, :], np.s_[1:, :]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        a, b = labels[first], labels[second]
        differ = (a != b) & (a != _NONE) & (b != _NONE)
        edge[first] |= differ
        edge[second] |= differ
    return np.where(edge, labels, np.int16(_NONE))


def _near(edge: Labels, other: Labels, tolerance_px: int) -> Mask:
    """Mark the pixels of `edge` that have the same label in `other` within the tolerance; (H, W).

    Boundaries are thin: looking around each of their pixels is much cheaper than a distance map per class.
    """
    rows, columns = np.nonzero(edge != _NONE)
    labels = edge[rows, columns]
    padded = np.pad(other, tolerance_px, constant_values=_NONE)
    matched = np.zeros(labels.shape, np.bool_)
    reach = np.arange(-tolerance_px, tolerance_px + 1)
    for down in reach:
        for right in reach[reach**2 + down**2 <= tolerance_px**2]:
            matched |= padded[rows + tolerance_px + down, columns + tolerance_px + right] == labels
    result = np.zeros(edge.shape, np.bool_)
    result[rows, columns] = matched
    return result


def _per_class(edge: Labels, selected: Mask, num_classes: int) -> Counts:
    """Count the selected boundary pixels per class, (C,)."""
    return np.bincount(edge[selected & (edge != _NONE)], minlength=num_classes)
