"""The scores of one kind of fault over all masks, brought to one scale: standard deviations of what is usual."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.label_qa.looks import Look, Seen

Scores = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]

WORST = 30.0  # standard deviations, as what needs no comparison counts
ONE_SIGMA = 0.8413  # share of a normal distribution below its mean and one standard deviation


@dataclass(frozen=True)
class Judged:
    """The scores of one kind, and what stands behind them.

    Attributes:
        scores: Shape (N,): larger is worse, NaN where nothing was measured.
        why: Says it of the item at a place.
        where: The class and the box of the item at a place; empty for those that concern the whole mask.
    """

    scores: Scores
    why: Callable[[int], str]
    where: dict[int, tuple[int, Box | None]] = field(default_factory=dict)


def standardised(values: Scores, floor: float) -> Scores:
    """In standard deviations above the median, by the upper half alone: faults lie there, but are few.

    Args:
        values: Shape (N,); NaN stays.
        floor: Least standard deviation, in the values' unit.
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return values
    middle = float(np.median(known))
    return (values - middle) / max(float(np.quantile(known, ONE_SIGMA)) - middle, floor)


def measured(found: Sequence[Look], value: Callable[[Seen], float | None]) -> Scores:
    """A value of each item, (N,); NaN where there is none.

    Args:
        found: The items.
        value: Takes it from what was seen.
    """
    values = [None if each.seen is None else value(each.seen) for each in found]
    return np.array([np.nan if each is None else each for each in values], np.float64)
