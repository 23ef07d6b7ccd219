"""The scores of one kind of fault over all masks, brought to one scale: the log of the odds that something is wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.label_qa.looks import Look, Seen

Scores = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]

WORST = 30.0  # log odds, as what needs no comparison counts
TAIL = (0.6, 0.85)  # quantiles that the tail's slope is taken from


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


def surprise(values: Scores, floor: float) -> Scores:
    """How much evidence of a fault an unusually large value is, beside the others.

    The upper tail is taken for exponential, with the slope between two quantiles that a few faults do not move; the
    chance p of a value so large is at most as good as odds of 1 to -e p ln p (Sellke, Bayarri, Berger 2001,
    Calibration of p values for testing precise null hypotheses).

    Args:
        values: Shape (N,); NaN stays.
        floor: Least scale of the tail, in the values' unit: differences below it are trifles.

    Returns:
        The log of those odds, 0 to `WORST`; shape (N,).
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return values
    low, high = np.quantile(known, TAIL)
    scale = max(float(high - low) / float(np.log((1 - TAIL[0]) / (1 - TAIL[1]))), floor)
    nats = np.where(values > low, (values - low) / scale - np.log(1 - TAIL[0]), 1.0)
    nats = np.where(np.isnan(values), np.nan, np.maximum(nats, 1.0))
    return np.asarray(np.minimum(nats - 1 - np.log(nats), WORST), np.float64)


def measured(found: Sequence[Look], value: Callable[[Seen], float | None]) -> Scores:
    """A value of each item, (N,); NaN where there is none.

    Args:
        found: The items.
        value: Takes it from what was seen.
    """
    values = [None if each.seen is None else value(each.seen) for each in found]
    return np.array([np.nan if each is None else each for each in values], np.float64)
