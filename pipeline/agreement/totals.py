"""Sums what was counted of the images: by pair, by annotator, by group."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.agreement.coefficients import Ratings, cohen_kappa
from pipeline.agreement.images import Compared, Look, Pair
from training.boundary import BoundaryCounts

Counts = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PairRow:
    """Two masks of one image, in what their scores follow from.

    Attributes:
        sha256: The image.
        group: Its group.
        items: Their names.
        annotators: Who drew them.
        same_annotator: Whether one annotator drew both: then it says how steady that one is.
        both_px: Shape (C,): pixels that both gave the class.
        either_px: Shape (C,): pixels that one of them did, void in neither.
        outlines: Shape (4, C): the counts of `BoundaryCounts`.
        void_px: Pixels that just one of them left void.
        kappa: Cohen's, of the pixels that both labelled.
        look: What needs a third look, if anything does.
    """

    sha256: str
    group: str
    items: tuple[str, str]
    annotators: tuple[str, str]
    same_annotator: bool
    both_px: Counts
    either_px: Counts
    outlines: Counts
    void_px: int
    kappa: float
    look: Look | None

    @property
    def disputed_px(self) -> int:
        """Pixels to which the two gave different classes."""
        return int((self.either_px - self.both_px).sum()) // 2

    @property
    def compared_px(self) -> int:
        """Pixels that both gave a class."""
        return int(self.both_px.sum()) + self.disputed_px


@dataclass
class Sums:
    """What the figures of a set of pairs follow from; see `PairRow` and `Ratings`."""

    both_px: Counts
    either_px: Counts
    outlines: Counts
    coincidences: Scores
    labels: Scores

    @classmethod
    def none(cls, num_classes: int) -> "Sums":
        """Of no pair."""
        whole, parts = np.zeros((6, num_classes), np.int64), np.zeros((num_classes + 1, num_classes))
        return cls(whole[0], whole[1], whole[2:], parts[:-1], parts[-1])


@dataclass
class Totals:
    """What all images together say; pairs of one annotator with itself enter `pairs` and `by_pair` only.

    Attributes:
        num_classes: C.
        images: Images with at least two masks that could be compared.
        pairs: Every two masks of an image.
        by_pair: Shape (C, C) by two annotators in alphabetical order: their confusion, the first in rows.
        against: Shape (C, C) by annotator: the others' majority in rows.
        judged: The same as STAPLE estimates it.
        ratings: By number of annotators of an image.
        groups: By group.
        problems: Why an item could not be compared.
    """

    num_classes: int
    images: int = 0
    pairs: list[PairRow] = field(default_factory=list)
    by_pair: dict[tuple[str, str], Counts] = field(default_factory=dict)
    against: dict[str, Counts] = field(default_factory=dict)
    judged: dict[str, Scores] = field(default_factory=dict)
    ratings: dict[int, Ratings] = field(default_factory=dict)
    groups: dict[str, Sums] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, compared: Iterable[Compared], num_classes: int) -> "Totals":
        """Of all images, one at a time."""
        totals = cls(num_classes)
        for each in compared:
            totals.problems |= each.problems
            if each.pairs:
                totals._add(each)
        return totals

    def _add(self, image: Compared) -> None:
        self.images += 1
        for name, matrix in image.against.items():
            self.against[name] = self.against.get(name, 0) + matrix
        for name, expected in image.judged.items():
            self.judged[name] = self.judged.get(name, 0) + expected
        for pair in image.pairs:
            self._add_pair(image, pair)
        if not image.ratings.annotators:
            return
        nothing = Ratings.none(self.num_classes)
        self.ratings[image.ratings.annotators] = self.ratings.get(image.ratings.annotators, nothing) + image.ratings
        sums = self.groups.setdefault(image.group, Sums.none(self.num_classes))
        sums.coincidences += image.ratings.pairs
        sums.labels += image.ratings.labels

    def _add_pair(self, image: Compared, pair: Pair) -> None:
        row = _row(image, pair)
        self.pairs.append(row)
        first, second = pair.annotators
        names, matrix = ((first, second), pair.confusion) if first <= second else ((second, first), pair.confusion.T)
        self.by_pair[names] = self.by_pair.get(names, 0) + matrix
        if not pair.of_one:
            sums = self.groups.setdefault(image.group, Sums.none(self.num_classes))
            sums.both_px += row.both_px
            sums.either_px += row.either_px
            sums.outlines += row.outlines


def _row(image: Compared, pair: Pair) -> PairRow:
    both = np.diagonal(pair.confusion).copy()
    edges: BoundaryCounts = pair.boundary
    return PairRow(
        image.sha256,
        image.group,
        pair.items,
        pair.annotators,
        pair.of_one,
        both_px=both,
        either_px=pair.confusion.sum(axis=0) + pair.confusion.sum(axis=1) - both,
        outlines=np.stack([edges.matched_predicted, edges.predicted, edges.matched_true, edges.true]),
        void_px=pair.void_px,
        kappa=cohen_kappa(pair.confusion),
        look=pair.look,
    )
