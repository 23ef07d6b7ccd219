"""How often models of known truth are promoted: by the gate's bounds, and by what peers do."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.gate_coverage import IOU, PREVALENCES, REPLICATES, SEED, levels
from benchmarks.gate_simulation import BATCH, Evaluation, Places, Pool, batches, measured, pools
from pipeline.gating.bootstrap import Bootstrap
from pipeline.gating.measures import Measure, difference
from pipeline.gating.units import Resampling
from training.metrics import ratio

Row = dict[str, Any]
Passed = npt.NDArray[np.bool_]
# Of a simulated holdout's groups and the two models' pools: which rule promotes in which of the trials.
Judge = Callable[[Places, Pool, Pool, int], dict[str, Passed]]

MARGIN, HAIR = 0.02, 0.001
CANDIDATES = 10  # of each class and truth: how a change falls on the groups is random, and decides much
OTHERS_GAIN = 0.01  # of the candidate's other classes, which speaks for it where the mean decides
AGAINST_LIMIT = (-0.10, -0.05, -0.02, -HAIR, 0.0, 0.02, 0.05, 0.10)
AGAINST_CHAMPION = (-0.10, -0.05, -MARGIN - HAIR, 0.0, 0.02, 0.05, 0.10)


def limit_rates(evaluations: Sequence[Evaluation], groups: Sequence[int], enough: int, trials: int) -> Iterator[Row]:
    """Share of the trials in which a critical class keeps its limit, by how far its truth is from it."""
    return _rates(evaluations, groups, trials, AGAINST_LIMIT, partial(_against_limit, enough=enough))


def champion_rates(evaluations: Sequence[Evaluation], groups: Sequence[int], enough: int, trials: int) -> Iterator[Row]:
    """Share of the trials in which a class is found no worse than the champion's, by how its truth differs."""
    return _rates(evaluations, groups, trials, AGAINST_CHAMPION, partial(_against_champion, enough=enough))


def _rates(
    evaluations: Sequence[Evaluation], groups: Sequence[int], trials: int, truths: Sequence[float], judge: Judge
) -> Iterator[Row]:
    rng = np.random.default_rng(SEED)
    for evaluation in evaluations:
        for prevalence in PREVALENCES:
            real = pools(evaluation, prevalence)
            models = [_models(pool, truths, rng) for pool in real for _ in range(CANDIDATES)]
            for count in groups:
                found = [_by_truth(each, count, trials // CANDIDATES, judge, rng) for each in models]
                for rule in found[0]:
                    rates = np.mean([each[rule] for each in found], axis=0)
                    yield {
                        "evaluation": evaluation.name,
                        "in % of groups": round(100 * prevalence),
                        "groups": count,
                        "with class": round(count * prevalence),
                        "rule": rule,
                        **{f"{100 * truth:+.3g}": float(rate) for truth, rate in zip(truths, rates, strict=True)},
                    }


def _models(pool: Pool, truths: Sequence[float], rng: np.random.Generator) -> tuple[Pool, list[Pool]]:
    """A champion, and candidates whose truth differs from it by so much; their other classes gain a little."""
    champion = pool.moved(IOU, pool.label, rng)
    candidate = champion
    for label in range(champion.parts.shape[1]):
        if label != pool.label:
            candidate = candidate.moved(min(candidate.true_iou(label) + OTHERS_GAIN, 0.99), label, rng)
    return champion, [candidate.moved(IOU + truth, pool.label, rng) for truth in truths]


def _by_truth(
    models: tuple[Pool, list[Pool]], groups: int, trials: int, judge: Judge, rng: np.random.Generator
) -> dict[str, list[float]]:
    """By rule: the rate of promotion for every truth."""
    champion, candidates = models
    drawn = champion.draw(groups, trials, rng)
    rates: dict[str, list[float]] = {}
    for candidate in candidates:
        passed: dict[str, list[Passed]] = {}
        for seed, batch in batches(trials):
            some = drawn[:, seed * BATCH : seed * BATCH + batch]
            for rule, values in judge(some, candidate, champion, seed).items():
                passed.setdefault(rule, []).append(values)
        for rule, parts in passed.items():
            rates.setdefault(rule, []).append(float(np.concatenate(parts).mean()))
    return rates


def _against_limit(drawn: Places, candidate: Pool, _: Pool, seed: int, enough: int) -> dict[str, Passed]:
    measure = measured(candidate.overlaps(), drawn)
    holding = _holding(candidate, drawn)
    value, lower = _bounded(measure, holding, len(drawn), seed)
    return {"gate": (holding >= enough) & (lower >= IOU), "point estimate": value >= IOU}


def _against_champion(drawn: Places, candidate: Pool, champion: Pool, seed: int, enough: int) -> dict[str, Passed]:
    change = difference(measured(candidate.overlaps(), drawn), measured(champion.overlaps(), drawn))
    holding = _holding(candidate, drawn)
    value, lower = _bounded(change, holding, len(drawn), seed)
    return {
        "gate": (holding >= enough) & (lower >= -MARGIN),
        "point estimate": value >= -MARGIN,
        "mean IoU": _mean_iou(candidate, drawn) >= _mean_iou(champion, drawn),
    }


def _bounded(measure: Measure, holding: Places, groups: int, seed: int) -> tuple[Any, Any]:
    found = Bootstrap(Resampling(np.arange(groups), groups, "groups"), REPLICATES, seed).replicate(measure)
    return found.value, found.lower(levels(holding))


def _holding(pool: Pool, drawn: Places) -> npt.NDArray[np.intp]:
    """How many groups of each trial hold the class, (T,)."""
    count: npt.NDArray[np.intp] = pool.holds[drawn].sum(axis=0, dtype=np.intp)
    return count


def _mean_iou(pool: Pool, drawn: Places) -> npt.NDArray[np.float64]:
    """The mean over the classes of every trial, (T,)."""
    times = np.stack([np.bincount(each, minlength=len(pool.parts)) for each in drawn.T])
    sums = np.einsum("tg,gck->tck", times, pool.parts, optimize=True)
    scores = ratio(sums[..., 0], sums.sum(axis=-1))
    means: npt.NDArray[np.float64] = np.nanmean(scores, axis=-1)
    return means
