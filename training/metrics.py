"""Overlap metrics of confusion matrices, of one image or of a stack of them.

Every function takes matrices with the truth in rows and any leading dimensions. What cannot be measured, such as
the IoU of a class that is neither in the truth nor in the prediction, is NaN: never 0, never 1.
"""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


def iou(confusion: Counts) -> Scores:
    """Intersection over union per class: TP / (TP + FP + FN) (Everingham et al. 2010, PASCAL VOC).

    Args:
        confusion: (..., C, C) counts, void already left out.

    Returns:
        (..., C) in [0, 1]; NaN where a class is in neither truth nor prediction.
    """
    hits = _hits(confusion)
    return ratio(hits, support(confusion) + confusion.sum(axis=-2) - hits)


def mean_iou(confusion: Counts) -> Scores:
    """Mean of the IoU over the classes where it is defined.

    Args:
        confusion: (..., C, C) counts.

    Returns:
        (...) in [0, 1]; NaN where no class is defined (an image of nothing but void).
    """
    scores = iou(confusion)
    defined = ~np.isnan(scores)
    return ratio(np.where(defined, scores, 0).sum(axis=-1), defined.sum(axis=-1))


def pixel_accuracy(confusion: Counts) -> Scores:
    """Share of the pixels that carry their true class.

    Args:
        confusion: (..., C, C) counts.

    Returns:
        (...) in [0, 1]; NaN where nothing was counted.
    """
    return ratio(_hits(confusion).sum(axis=-1), confusion.sum(axis=(-2, -1)))


def false_positive_rate(confusion: Counts) -> Scores:
    """Share of the pixels of other classes that were predicted as this class: FP / (FP + TN).

    Args:
        confusion: (..., C, C) counts.

    Returns:
        (..., C) in [0, 1]; NaN where no pixel of another class was counted.
    """
    negatives = confusion.sum(axis=(-2, -1))[..., np.newaxis] - support(confusion)
    return ratio(confusion.sum(axis=-2) - _hits(confusion), negatives)


def support(confusion: Counts) -> Counts:
    """Number of true pixels per class.

    Args:
        confusion: (..., C, C) counts.

    Returns:
        (..., C) int64.
    """
    pixels: Counts = np.asarray(confusion).sum(axis=-1)
    return pixels


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Scores:
    """Divide element by element; NaN, and no warning, where the denominator is zero.

    Args:
        numerator: Array of any shape.
        denominator: Array of the same shape, at least 0.

    Returns:
        float64 of that shape (0-dimensional for scalars).
    """
    below = np.asarray(denominator, np.float64)
    quotient: Scores = np.full(below.shape, np.nan)
    np.divide(numerator, below, out=quotient, where=below > 0)
    return quotient


def _hits(confusion: Counts) -> Counts:
    """True positives per class, (..., C)."""
    return np.diagonal(confusion, axis1=-2, axis2=-1)
