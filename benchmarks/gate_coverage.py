"""How often intervals of the IoU hold the truth, by method and by how many groups hold the class."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.gate_simulation import BATCH, Evaluation, Floats, Places, Pool, batches, measured, pools
from pipeline.gating.bootstrap import Bootstrap, Correction, Replicates
from pipeline.gating.claims import deciding_level
from pipeline.gating.units import Resampling

Row = dict[str, Any]

REPLICATES, LEVEL, SEED = 2000, 0.95, 20
PREVALENCES = (0.05, 0.2, 1.0)
IOU = 0.6  # of models that are moved to where service levels lie
COVERED = (0.93, 0.97)  # what is called good


class Plain(Replicates):
    """BCa as Efron has it, as if the standard error were known."""

    @cached_property
    def _correction(self) -> Correction:
        usual = super()._correction
        return Correction(usual.bias, usual.acceleration, np.full_like(usual.freedom, np.inf))


class Percentile(Replicates):
    """Plain quantiles of the replicates."""

    @cached_property
    def _correction(self) -> Correction:
        nothing = np.zeros_like(self.value)
        return Correction(nothing, nothing, np.full_like(nothing, np.inf))


METHODS: dict[str, type[Replicates]] = {"percentile": Percentile, "BCa": Plain, "widened": Replicates}
CHOSEN = "widened"


def coverages(evaluations: Sequence[Evaluation], holding: Sequence[int], trials: int) -> Iterator[Row]:
    """Coverage by share of the groups that hold the class, by their number, for models as measured and moved.

    The number is what is expected; a simulated holdout may hold more or fewer.
    """
    rng = np.random.default_rng(SEED)
    for evaluation in evaluations:
        for prevalence in PREVALENCES:
            real = pools(evaluation, prevalence)
            for model, worlds in {
                "as measured": real,
                f"IoU {IOU}": [p.moved(IOU, p.label, rng) for p in real],
            }.items():
                for count in holding:
                    found = [_covered(pool, round(count / prevalence), trials, rng) for pool in worlds]
                    yield {
                        "evaluation": evaluation.name,
                        "model": model,
                        "classes": len(worlds),
                        "in % of groups": round(100 * prevalence),
                        "groups with class": count,
                        **_summary(found),
                    }


def enough_groups(rows: Sequence[Row], trials: int) -> int:
    """The smallest number of groups from which on every row's coverage is good and its lower bound errs rarely enough.

    Both in the mean over the classes, the latter but for chance; 0 where none is.
    """

    def good(row: Row) -> bool:
        rare = row[f"error {CHOSEN}"] <= 1 - LEVEL + _chance(row, trials)
        return bool(rare and COVERED[0] <= row[f"coverage {CHOSEN}"] <= COVERED[1])

    return _least(rows, good)


def interval_groups(rows: Sequence[Row], column: str) -> int:
    """The smallest number of groups from which on every row's coverage is good; 0 where none is."""
    return _least(rows, lambda row: bool(COVERED[0] <= row[column] <= COVERED[1]))


def _least(rows: Sequence[Row], good: Callable[[Row], bool]) -> int:
    bad = {row["groups with class"] for row in rows if not good(row)}
    fit = [count for count in sorted({row["groups with class"] for row in rows}) if count > max(bad, default=0)]
    return fit[0] if fit else 0


def _chance(row: Row, trials: int) -> float:
    return float(2 * np.sqrt(LEVEL * (1 - LEVEL) / (trials * row["classes"])))


def _covered(pool: Pool, groups: int, trials: int, rng: np.random.Generator) -> Floats:
    units = Resampling(np.arange(groups), groups, "groups")
    drawn = pool.draw(groups, trials, rng)
    return _hits(pool.overlaps(), drawn, units, pool.true_iou(), pool.holds[drawn].sum(axis=0))


def levels(holding: Places) -> Any:
    """At which level the gate takes its bounds, by how many groups hold the class, (T,)."""
    return np.array([deciding_level(LEVEL, int(each)) for each in holding])


def _hits(overlaps: Floats, drawn: Places, units: Resampling, truth: float, holding: Places) -> Floats:
    """By method: share of the trials whose interval holds the truth, share whose lower bound exceeds it; (M, 2).

    The bound of the chosen method is the one that the gate decides by.

    A trial without bounds, which the gate calls insufficient evidence, makes no claim and is not counted.
    """
    results = []
    for seed, batch in batches(drawn.shape[1]):
        some = drawn[:, seed * BATCH : seed * BATCH + batch]
        found = Bootstrap(units, REPLICATES, seed).replicate(measured(overlaps, some))
        parts = (found.value, found.samples, found.jackknife)
        strict = {CHOSEN: levels(holding[seed * BATCH : seed * BATCH + batch])}
        results.append([_held(method(*parts), truth, strict.get(name, LEVEL)) for name, method in METHODS.items()])
    shares: Floats = np.nanmean(np.concatenate(results, axis=2), axis=2)
    return shares


def _held(found: Replicates, truth: float, level: Any) -> Floats:
    (low, high), lower = found.interval(LEVEL), found.lower(level)
    return np.where(np.isnan(lower), np.nan, np.stack([(low <= truth) & (truth <= high), lower > truth]))


def _summary(found: list[Floats]) -> Row:
    """Over the classes: the mean by method, and the worst of the chosen one."""
    mean, chosen = np.mean(found, axis=0), np.stack(found)[:, list(METHODS).index(CHOSEN)]
    return {
        **{f"coverage {name}": float(value) for name, value in zip(METHODS, mean[:, 0], strict=True)},
        "coverage worst class": float(chosen[:, 0].min()),
        **{f"error {name}": float(value) for name, value in zip(METHODS, mean[:, 1], strict=True)},
        "error worst class": float(chosen[:, 1].max()),
    }
