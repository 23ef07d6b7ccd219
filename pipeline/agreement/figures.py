"""The headline figures of agreement, each with its interval over the groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.agreement.coefficients import alpha
from pipeline.agreement.totals import Sums
from pipeline.gating.bootstrap import Bootstrap
from pipeline.gating.measures import Measure
from pipeline.gating.units import Resampling
from training.boundary import BoundaryCounts
from training.metrics import ratio

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A figure and the ends of its 95% interval; None where undefined, the interval also with fewer than two groups."""

    value: float | None
    low: float | None
    high: float | None


def figures(groups: Sequence[Sums], replicates: int, seed: int) -> dict[str, list[Figure]]:
    """Computes the figures of all pairs of different annotators together.

    Args:
        groups: At least one; images of a group resemble each other, so groups are what the bootstrap draws.
        replicates: Its draws.
        seed: Of the draws.

    Returns:
        A figure a class as `iou`, `dice` and `boundary_f`; one as `miou` and as `alpha`.
    """
    count = len(groups)
    draws = Bootstrap(Resampling(np.arange(count), count, "groups"), replicates, seed)
    return {name: intervals(draws, measure) for name, measure in _measures(groups).items()}


def intervals(draws: Bootstrap, measure: Measure) -> list[Figure]:
    """A metric's values with their intervals."""
    made = draws.replicate(measure)
    ends = np.column_stack([made.value, *made.interval()])
    return [Figure(*(None if np.isnan(end) else float(end) for end in row)) for row in ends]


def _measures(groups: Sequence[Sums]) -> dict[str, Measure]:
    overlap = _columns([np.concatenate([each.both_px, each.either_px]) for each in groups])
    outlines = _columns([each.outlines.ravel() for each in groups])
    ratings = _columns([np.concatenate([each.coincidences.ravel(), each.labels]) for each in groups])
    return {
        "iou": Measure(overlap, _iou),
        "dice": Measure(overlap, _dice),
        "miou": Measure(overlap, _mean_iou),
        "boundary_f": Measure(outlines, _boundary_f),
        "alpha": Measure(ratings, _alpha),
    }


def _columns(rows: list[npt.NDArray[np.int64]] | list[Scores]) -> Scores:
    return np.stack(rows).astype(np.float64)


def _iou(sums: Scores) -> Scores:
    both, either = np.split(sums, 2, axis=-1)
    return ratio(both, either)


def _dice(sums: Scores) -> Scores:
    both, either = np.split(sums, 2, axis=-1)
    return ratio(2 * both, both + either)


def _mean_iou(sums: Scores) -> Scores:
    scores = _iou(sums)
    defined = ~np.isnan(scores)
    return ratio(np.nan_to_num(scores).sum(axis=-1), defined.sum(axis=-1))[..., np.newaxis]


def _boundary_f(sums: Scores) -> Scores:
    return BoundaryCounts(*np.split(sums.astype(np.int64), 4, axis=-1)).f_score()


def _alpha(sums: Scores) -> Scores:
    """Of C * C coincidences and C labels."""
    classes = int((np.sqrt(1 + 4 * sums.shape[-1]) - 1) / 2)
    pairs = sums[..., :-classes].reshape(*sums.shape[:-1], classes, classes)
    return alpha(pairs, sums[..., -classes:])[..., np.newaxis]
