"""How good, how fast and in what wrong each annotator is, by the images that others drew too."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.agreement.coefficients import dice
from pipeline.agreement.figures import Figure, intervals
from pipeline.agreement.totals import PairRow, Totals
from pipeline.gating.bootstrap import Bootstrap
from pipeline.gating.measures import Measure
from pipeline.gating.units import Resampling
from pipeline.parts import ANNOTATION_S
from training.metrics import iou, mean_iou, pixel_accuracy, ratio

Counts = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
Names = tuple[str, str]

ENOUGH = 3  # annotators that it takes to tell whose the differences are


@dataclass(frozen=True)
class Mixup:
    """One class drawn where the others have another.

    Attributes:
        others: What most of the others gave.
        drawn: What the annotator gave.
        px: How often.
        share: Of the pixels that the others gave `others`.
    """

    others: int
    drawn: int
    px: int
    share: float


@dataclass(frozen=True)
class Annotator:
    """One annotator.

    Attributes:
        name: Who.
        items: Masks of images that others drew too.
        agreement: Share of the pixels on which the annotator and most of the others agree.
        miou: Against the others.
        iou: Shape (C,): the same by class.
        dice: Shape (C,).
        mixups: The most frequent first.
        own_error: Share of the pixels that the annotator alone gets wrong; None where it cannot be told.
        sensitivity: Shape (C,): share of a class's true pixels that the annotator found, by STAPLE; None without an
            image of three annotators.
        specificity: Shape (C,): share of the other pixels not given the class.
        seconds: Median time for a mask; None where it is not known.
        timed: Masks whose time is known.
    """

    name: str
    items: int
    agreement: float
    miou: float
    iou: Scores
    dice: Scores
    mixups: tuple[Mixup, ...]
    own_error: Figure | None
    sensitivity: Scores | None
    specificity: Scores | None
    seconds: float | None
    timed: int


def annotators(totals: Totals, rows: pd.DataFrame, most_mixups: int, errors: Mapping[str, Figure]) -> list[Annotator]:
    """Describes each annotator, the best first.

    Args:
        totals: Of the images that several drew.
        rows: Rows of the index whose times count, with `annotator` and perhaps `annotation_s`.
        most_mixups: Listed of each.
        errors: As `error_figures` gives them.
    """
    seconds = _seconds(rows)
    items = Counter(_drawn(totals).values())
    found = [
        _annotator(name, totals, errors.get(name), seconds.get(name, np.array([])), items[name], most_mixups)
        for name in sorted(totals.against)
    ]
    return sorted(found, key=lambda each: (*_rank(each, by_error=bool(errors)), each.name))


def own_errors(by_pair: Mapping[Names, Counts]) -> dict[str, float]:
    """Whose the differences are: the share of pixels that each annotator alone gets wrong, by least squares.

    Where errors are rare and independent, two annotators differ on as many pixels as both get wrong together; with
    three or more who were compared with each other that can be solved (the estimators of Grubbs 1948, J. Amer.
    Statist. Assoc. 43, for rates of error). Without that, whoever works beside a bad annotator would look bad too.

    Args:
        by_pair: Confusion by two annotators, shape (C, C) each.

    Returns:
        By annotator; empty where the pairs do not determine it.
    """
    counts = {pair: matrix for pair, matrix in by_pair.items() if matrix.sum() > 0 and pair[0] != pair[1]}
    solve = _solver(list(counts))
    if solve is None:
        return {}
    sums = [[matrix.sum() - np.trace(matrix) for matrix in counts.values()], [m.sum() for m in counts.values()]]
    return dict(zip(_everyone(list(counts)), solve(np.concatenate(sums).astype(np.float64)).tolist(), strict=True))


def error_figures(pairs: Sequence[PairRow], replicates: int, seed: int) -> dict[str, Figure]:
    """`own_errors` with 95% intervals over the groups.

    Args:
        pairs: Every two masks of an image.
        replicates: Draws of the bootstrap.
        seed: Of the draws.
    """
    counted = [row for row in pairs if not row.same_annotator and row.compared_px]
    names = sorted({_ordered(row.annotators) for row in counted})
    solve = _solver(names)
    if solve is None:
        return {}
    groups = {name: place for place, name in enumerate(sorted({row.group for row in counted}))}
    column = {name: place for place, name in enumerate(names)}
    sums = np.zeros((len(groups), 2, len(names)))
    for row in counted:
        sums[groups[row.group], :, column[_ordered(row.annotators)]] += row.disputed_px, row.compared_px
    measure = Measure(sums.reshape(len(groups), -1), solve)
    units = Resampling(np.arange(len(groups)), len(groups), "groups")
    return dict(zip(_everyone(names), intervals(Bootstrap(units, replicates, seed), measure), strict=True))


def unsettled(found: Sequence[Annotator]) -> dict[str, list[str]]:
    """With whom each annotator may change places: where the intervals of both own errors overlap, or one has none.

    Args:
        found: The annotators; one whose own error is not known is not ranked by it, and left out.
    """
    ranked = {each.name: each.own_error for each in found if each.own_error and each.own_error.value is not None}
    return {
        name: others
        for name, own in ranked.items()
        if (others := [each for each, other in ranked.items() if each != name and _overlap(own, other)])
    }


def _overlap(one: Figure, other: Figure) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return True
    return one.low <= other.high and other.low <= one.high


def mixups(against: Counts, most: int) -> tuple[Mixup, ...]:
    """The most frequent confusions of a matrix with the others' classes in rows."""
    wrong = against.copy()
    np.fill_diagonal(wrong, 0)
    share = ratio(wrong, np.broadcast_to(against.sum(axis=1, keepdims=True), wrong.shape))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = [divmod(int(place), wrong.shape[1]) for place in order]
    return tuple(
        Mixup(row, column, int(wrong[row, column]), float(share[row, column]))
        for row, column in places
        if wrong[row, column]
    )


def _everyone(pairs: Sequence[Names]) -> list[str]:
    return sorted({name for pair in pairs for name in pair})


def _ordered(names: Names) -> Names:
    return (names[0], names[1]) if names[0] <= names[1] else (names[1], names[0])


def _solver(pairs: Sequence[Names]) -> Callable[[Scores], Scores] | None:
    """What turns (..., 2P) pixels that differ and pixels compared of P pairs into (..., A) errors of their annotators.

    An error is NaN where the pairs that have pixels do not determine it. None where all pairs together do not.
    """
    from scipy.optimize import nnls

    names = _everyone(pairs)
    seen: dict[bytes, npt.NDArray[np.bool_]] = {}
    design = np.array([[name in pair for name in names] for pair in pairs], np.float64)
    if len(names) < ENOUGH or np.linalg.matrix_rank(design) < len(names):
        return None

    def solve(sums: Scores) -> Scores:
        differ, compared = np.split(sums.reshape(-1, 2 * len(pairs)), 2, axis=1)
        found = np.full((len(differ), len(names)), np.nan)
        for place, (wrong, all_) in enumerate(zip(differ, compared, strict=True)):
            there = all_ > 0
            weight, rows = np.sqrt(all_[there]), design[there]
            key = there.tobytes()
            known = seen[key] if key in seen else seen.setdefault(key, _determined(rows))
            if known.any():
                solved = nnls(rows * weight[:, np.newaxis], wrong[there] / weight)[0]
                found[place, known] = solved[known]
        return found.reshape(*sums.shape[:-1], len(names))

    return solve


def _determined(design: Scores) -> npt.NDArray[np.bool_]:
    """Which unknowns (N,) the equations (M, N) determine: those whose unit vector is a sum of rows."""
    return np.isclose(np.diagonal(np.linalg.pinv(design) @ design), 1.0)


def _rank(annotator: Annotator, *, by_error: bool) -> tuple[float, float]:
    error = annotator.own_error.value if annotator.own_error else None
    return (math.inf if error is None else error) if by_error else 0.0, -float(np.nan_to_num(annotator.miou))


def _annotator(
    name: str, totals: Totals, error: Figure | None, seconds: npt.NDArray[np.float64], items: int, most_mixups: int
) -> Annotator:
    against, judged = totals.against[name], totals.judged.get(name)
    sensitivity = specificity = None
    if judged is not None:
        found = np.diagonal(judged)
        sensitivity = ratio(found, judged.sum(axis=1))
        others = judged.sum() - judged.sum(axis=1)
        specificity = ratio(others - (judged.sum(axis=0) - found), others)
    return Annotator(
        name=name,
        items=items,
        agreement=float(pixel_accuracy(against)),
        miou=float(mean_iou(against)),
        iou=iou(against),
        dice=dice(against),
        mixups=mixups(against, most_mixups),
        own_error=error,
        sensitivity=sensitivity,
        specificity=specificity,
        seconds=float(np.median(seconds)) if seconds.size else None,
        timed=len(seconds),
    )


def _drawn(totals: Totals) -> dict[str, str]:
    """Who drew each mask that was compared."""
    return {item: name for row in totals.pairs for item, name in zip(row.items, row.annotators, strict=True)}


def _seconds(rows: pd.DataFrame) -> dict[str, npt.NDArray[np.float64]]:
    """The known times of each annotator; what is no positive number is none."""
    if ANNOTATION_S not in rows:
        return {}
    times = pd.to_numeric(rows[ANNOTATION_S], errors="coerce")
    known = rows.assign(**{ANNOTATION_S: times})[np.isfinite(times.to_numpy(np.float64, na_value=np.nan)) & (times > 0)]
    return {str(name): each.to_numpy(np.float64) for name, each in known.groupby("annotator")[ANNOTATION_S]}
