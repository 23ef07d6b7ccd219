"""How well annotators of the same image agree, from counts of pixels: coefficients that leave chance out, and overlaps.

Pairs are counted as confusion matrices of one annotator against another. Pixels that either has left void are not
counted: void says nothing.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.agreement.joint import Joint, joint
from training.metrics import ratio

Counts = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]


def pair_confusion(one: Labels, other: Labels, num_classes: int, ignore_index: int) -> Counts:
    """How often one annotator's class meets the other's, (C, C), `one` in rows; pixels void in either left out.

    Args:
        one: Shape (H, W).
        other: Shape (H, W).
        num_classes: C.
        ignore_index: Void.

    Raises:
        ValueError: The masks differ in size, or hold what is no class.
    """
    return joint([one, other], num_classes, ignore_index).pair(0, 1)


def dice(confusion: Counts) -> Scores:
    """Dice coefficient per class, 2 TP / (2 TP + FP + FN) (Dice 1945); (C,), NaN where neither drew the class."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return ratio(2 * hits, confusion.sum(axis=-1) + confusion.sum(axis=-2))


def cohen_kappa(confusion: Counts) -> float:
    """Agreement of two annotators beyond chance, each with habits of their own (Cohen 1960).

    Returns:
        At most 1; 0 is chance. NaN without a pixel, and where both used one and the same class only.
    """
    total = int(confusion.sum())
    if total == 0:
        return float("nan")
    observed = np.trace(confusion) / total
    expected = float(confusion.sum(axis=1) @ confusion.sum(axis=0)) / total**2
    return float("nan") if expected == 1 else float((observed - expected) / (1 - expected))


@dataclass(frozen=True)
class Ratings:
    """Pixels by how many annotators gave each class: all that the coefficients of more than two annotators need.

    Add those of images, then ask. Only pixels with at least two labels count.

    Attributes:
        pairs: Shape (C, C): coincidences, each ordered pair of a pixel's labels counted 1 / (labels of it - 1).
        labels: Shape (C,): labels given.
        full_pairs: Shape (C,): ordered pairs of equal labels, of pixels that every annotator labelled.
        full_labels: Shape (C,): labels of those pixels.
        annotators: Of an image; 0 before the first, -1 where images differ in it.
    """

    pairs: Scores
    labels: Scores
    full_pairs: Scores
    full_labels: Scores
    annotators: int

    @classmethod
    def none(cls, num_classes: int) -> "Ratings":
        """Of no image, to start a sum with."""
        nothing = np.zeros(num_classes)
        return cls(np.zeros((num_classes, num_classes)), nothing, nothing, nothing, 0)

    @classmethod
    def of(cls, together: Joint) -> "Ratings":
        """Of one image.

        Args:
            together: What its annotators gave, at least two.
        """
        given = together.votes[:, :-1].astype(np.float64)
        count = given.sum(axis=1)
        kept = count > 1
        given, count, times = given[kept], count[kept], together.times[kept].astype(np.float64)
        weight = times / np.maximum(count - 1, 1)
        annotators = together.labels.shape[1]
        full = count == annotators
        return cls(
            pairs=(given * weight[:, np.newaxis]).T @ given - np.diag(weight @ given),
            labels=times @ given,
            full_pairs=times[full] @ (given[full] * (given[full] - 1)),
            full_labels=times[full] @ given[full],
            annotators=annotators,
        )

    def __add__(self, other: "Ratings") -> "Ratings":
        """Pool the pixels of two sets of images."""
        counts = {self.annotators, other.annotators} - {0}
        return Ratings(
            self.pairs + other.pairs,
            self.labels + other.labels,
            self.full_pairs + other.full_pairs,
            self.full_labels + other.full_labels,
            counts.pop() if len(counts) == 1 else (-1 if counts else 0),
        )

    def krippendorff_alpha(self) -> float:
        """Agreement beyond chance of any number of annotators, void left out (Krippendorff 2011, nominal data).

        Returns:
            At most 1; 0 is chance. NaN without a pixel, and where a single class was used.
        """
        return float(alpha(self.pairs, self.labels))

    def fleiss_kappa(self) -> float:
        """Agreement beyond chance of a fixed number of annotators on the pixels that all labelled (Fleiss 1971).

        Returns:
            At most 1; 0 is chance. NaN without such a pixel, where a single class was used, and where images have
            different numbers of annotators.
        """
        given = self.full_labels.sum()
        if self.annotators < 2 or given == 0:  # noqa: PLR2004 - a pair
            return float("nan")
        observed = self.full_pairs.sum() / (given * (self.annotators - 1))
        expected = float(((self.full_labels / given) ** 2).sum())
        return float("nan") if expected == 1 else float((observed - expected) / (1 - expected))


def alpha(pairs: Scores, labels: Scores) -> Scores:
    """Krippendorff's alpha of sums of `Ratings.pairs`, (..., C, C), and `Ratings.labels`, (..., C), NaN as there."""
    total = labels.sum(axis=-1)
    observed = pairs.sum(axis=(-2, -1)) - np.trace(pairs, axis1=-2, axis2=-1)
    expected = (total**2 - (labels**2).sum(axis=-1)) / np.maximum(total - 1, 1)
    coefficient: Scores = 1 - ratio(observed, expected)
    return coefficient
