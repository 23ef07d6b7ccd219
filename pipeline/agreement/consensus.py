"""One mask out of several: by majority, or by STAPLE, which weighs annotators by how well they agree with the rest.

Void is a label like any other here: what most left void becomes void. Both are computed on the combinations of labels
that occur, and painted where these are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.agreement.joint import Joint, Places

Labels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float64]

# STAPLE depends on shares alone: of larger images it gets as many pixels, in the shares of the whole.
STAPLE_PX = 1 << 16
STAPLE_ROUNDS = 200
FEW = 3  # annotators below which STAPLE has nothing to tell them apart by
TIE = 1e-6  # of a vote, to prefer one annotator


class Method(StrEnum):
    """How a consensus is found."""

    MAJORITY = "majority"
    STAPLE = "staple"


@dataclass(frozen=True)
class Consensus:
    """What each combination of labels stands for.

    Attributes:
        chosen: Shape (P,): the label, C for void.
        confidence: Shape (P,), in [0, 1]: share of the votes, or STAPLE's probability.
    """

    chosen: npt.NDArray[np.int64]
    confidence: Scores

    def paint(self, places: Places, ignore_index: int, void_below: float, num_classes: int) -> tuple[Labels, Labels]:
        """The mask, and the confidence as 0 to 255; (H, W) uint8 each.

        Args:
            places: The combination of each pixel, as `joint.locate` gives it.
            ignore_index: Void.
            void_below: Pixels of less confidence become void; 0 leaves all as they are.
            num_classes: C.
        """
        void = (self.chosen == num_classes) | (self.confidence < void_below)
        labels = np.where(void, ignore_index, self.chosen).astype(np.uint8)
        return labels[places], np.rint(255 * self.confidence).astype(np.uint8)[places]


@dataclass(frozen=True)
class Performance:
    """How STAPLE judges the annotators of an image.

    Attributes:
        confusions: Shape (R, C, C): expected pixels by true class in rows and class drawn, void left out.
        posterior: Shape (P, C + 1): the probability of each label to be the true one, by combination.
    """

    confusions: Scores
    posterior: Scores


def majority(together: Joint, preferred: Sequence[int]) -> Consensus:
    """What most annotators gave.

    Args:
        together: Their labels.
        preferred: The annotators' columns, the best first: of labels with equally many votes, that of the first of
            them counts, and a class before void.
    """
    votes = together.votes.astype(np.float64)
    rank = np.empty(len(preferred))
    rank[list(preferred)] = np.arange(len(preferred))
    edge = TIE * (1 - rank / len(rank))
    swayed = votes.copy()
    rows = np.arange(len(votes))
    for column, weight in enumerate(edge):
        label = together.labels[:, column]
        swayed[rows, label] = np.maximum(swayed[rows, label], votes[rows, label] + weight)
    swayed[:, -1] -= TIE
    chosen = swayed.argmax(axis=1)
    return Consensus(chosen, votes[rows, chosen] / together.labels.shape[1])


def staple(together: Joint) -> Performance:
    """STAPLE (Warfield, Zou and Wells 2004, IEEE Trans. Med. Imaging 23) for several classes, by SimpleITK.

    Void is a class of its own to it. The probabilities follow from the annotators' confusion matrices that it
    estimates and its priors, the shares of the labels given.

    Args:
        together: The labels of at least three annotators.
    """
    import SimpleITK

    itk: Any = SimpleITK  # it has no types

    labels, times = together.labels, _shrunk(together.times)
    used, dense = np.unique(labels, return_inverse=True)  # ITK wants labels without gaps
    dense = dense.reshape(labels.shape)
    experts = [np.repeat(column, times).reshape(1, -1).astype(np.uint8) for column in dense.T]
    prior = np.bincount(dense.ravel(), np.repeat(times, len(dense.T)), minlength=len(used))
    estimate = itk.MultiLabelSTAPLEImageFilter()
    estimate.SetNumberOfThreads(1)  # the processes share the cores
    estimate.SetMaximumNumberOfIterations(STAPLE_ROUNDS)
    estimate.Execute([itk.GetImageFromArray(each) for each in experts])
    weight = np.tile(prior / prior.sum(), (len(labels), 1))
    for expert, column in enumerate(dense.T):
        # Rows are what the annotator gave (and a last one that stays empty), columns the truth.
        given = np.reshape(estimate.GetConfusionMatrix(expert), (len(used) + 1, len(used)))
        weight *= given[column]
    return _performance(together, used, weight)


def by_staple(together: Joint) -> Consensus:
    """The most probable label by STAPLE; where it is at a loss void, with no confidence."""
    posterior = staple(together).posterior
    chosen = posterior.argmax(axis=1)
    confidence = posterior.max(axis=1)
    return Consensus(np.where(confidence > 0, chosen, together.num_classes), confidence)


def decide(together: Joint, preferred: Sequence[int], method: Method) -> Consensus:
    """The consensus by a method; of fewer than three annotators by majority, since STAPLE cannot tell two apart."""
    if method is Method.STAPLE and together.labels.shape[1] >= FEW:
        return by_staple(together)
    return majority(together, preferred)


def _shrunk(times: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The same shares of fewer pixels; what occurs at all still does."""
    total = times.sum()
    return times if total <= STAPLE_PX else np.maximum(np.rint(times * (STAPLE_PX / total)), 1).astype(np.int64)


def _performance(together: Joint, used: npt.NDArray[np.int64], weight: Scores) -> Performance:
    classes = together.num_classes
    total = weight.sum(axis=1, keepdims=True)
    posterior = np.zeros((len(weight), classes + 1))
    posterior[:, used] = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    confusions = np.zeros((together.labels.shape[1], classes + 1, classes + 1))
    for matrix, column in zip(confusions, together.labels.T, strict=True):
        np.add.at(matrix.T, column, posterior * together.times[:, np.newaxis])
    return Performance(confusions[:, :classes, :classes], posterior)
