"""Metrics as a function of summed counts, so that one sum per bootstrap replicate is all that has to be computed.

Each agrees to the last bit with what `pipeline.scores` says of all images.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.gating.counts import Counts
from training.boundary import BoundaryCounts
from training.metrics import ratio, support

Floats = npt.NDArray[np.float64]

STEP = 1e-3  # share of an image that is added to see what it changes; sums are whole numbers below 2^53


@dataclass(frozen=True)
class Measure:
    """A metric of any set of images, each as often as wanted.

    Attributes:
        per_image: Shape (N, K), float64: what is summed over the images; integers are exact up to 2^53.
        statistic: Turns sums of shape (..., K) into values of shape (..., S); NaN where undefined.
    """

    per_image: Floats
    statistic: Callable[[Floats], Floats]


def iou(counts: Counts) -> Measure:
    """Intersection over union per class: TP / (TP + FP + FN); S = C, NaN where a class is in neither map."""
    return Measure(_overlaps(counts), _ratios)


def miou(counts: Counts) -> Measure:
    """Mean of the IoU over the classes where it is defined; S = 1."""
    return Measure(_overlaps(counts), _mean_ratio)


def boundary_f(counts: Counts) -> Measure:
    """Boundary F-score per class, see `training.boundary.BoundaryCounts.f_score`; S = C."""
    return Measure(counts.boundary.reshape(len(counts.item_ids), -1).astype(np.float64), _f_score)


def false_positive_rate(counts: Counts) -> Measure:
    """FP / (FP + TN) per class; S = C, NaN where no pixel of another class was counted."""
    each = counts.confusion
    false = each.sum(axis=1) - _hits(counts)
    negatives = each.sum(axis=(1, 2))[:, np.newaxis] - support(each)
    return Measure(_columns(false, negatives), _ratios)


def ece(counts: Counts) -> Measure:
    """Expected calibration error over the bins of confidence (Guo et al., ICML 2017, equation 3); S = 1."""
    return Measure(counts.bins.reshape(len(counts.item_ids), -1), _calibration_error)


def difference(one: Measure, other: Measure) -> Measure:
    """`one` minus `other` on the same images, which must be in the same order (see `counts.paired`).

    Raises:
        ValueError: They are not of equally many images.
    """
    if len(one.per_image) != len(other.per_image):
        raise ValueError(f"measures of {len(one.per_image)} and {len(other.per_image)} images: pair the counts first.")
    columns = one.per_image.shape[1]

    def statistic(sums: Floats) -> Floats:
        return one.statistic(sums[..., :columns]) - other.statistic(sums[..., columns:])

    return Measure(_columns(one.per_image, other.per_image), statistic)


def influence(measure: Measure) -> Floats:
    """How much each image moves a metric, to first order: by how much it would change with a little more of the image.

    Returns:
        Shape (N, S); 0 where the metric is undefined.
    """
    total = measure.per_image.sum(axis=0)
    more = measure.statistic(total + STEP * measure.per_image)
    moved: Floats = np.nan_to_num((more - measure.statistic(total)) / STEP)
    return moved


def _overlaps(counts: Counts) -> Floats:
    """True positives and unions, (N, 2C): a fifth of the columns that the matrices have with 19 classes."""
    hits = _hits(counts)
    return _columns(hits, support(counts.confusion) + counts.confusion.sum(axis=1) - hits)


def _hits(counts: Counts) -> npt.NDArray[np.int64]:
    return np.diagonal(counts.confusion, axis1=1, axis2=2)


def _columns(*parts: npt.NDArray[np.int64] | Floats) -> Floats:
    return np.concatenate(parts, axis=1).astype(np.float64)


def _ratios(sums: Floats) -> Floats:
    numerator, denominator = np.split(sums, 2, axis=-1)
    return ratio(numerator, denominator)


def _mean_ratio(sums: Floats) -> Floats:
    scores = _ratios(sums)
    defined = ~np.isnan(scores)
    return ratio(np.where(defined, scores, 0).sum(axis=-1), defined.sum(axis=-1))[..., np.newaxis]


def _f_score(sums: Floats) -> Floats:
    return BoundaryCounts(*np.split(sums.astype(np.int64), 4, axis=-1)).f_score()


def _calibration_error(sums: Floats) -> Floats:
    px, confidence, correct = np.split(sums, 3, axis=-1)
    gap = np.nan_to_num(np.abs(ratio(correct, px) - ratio(confidence, px)))  # an empty bin weighs nothing
    return ratio((gap * px).sum(axis=-1), px.sum(axis=-1))[..., np.newaxis]
