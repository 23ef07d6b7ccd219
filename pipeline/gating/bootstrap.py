"""Sampling error of metrics: what they would be on other holdouts of the same kind, by drawing units with replacement.

Intervals are bias-corrected and accelerated (BCa: Efron 1987, Better bootstrap confidence intervals) and widened for
few units (after Hesterberg 2015, What teachers should know about the bootstrap). `benchmarks/gate_error_rates.py`
measures their coverage beside that of percentiles and of BCa alone, which fall short of it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.gating.measures import Measure
from pipeline.gating.units import Resampling

Floats = npt.NDArray[np.float64]

MAX_UNDEFINED = 0.01  # share of undefined replicates above which nothing is said
FAR = 30.0  # normal deviates beyond which a chance is nil in any case
CHUNK = 1 << 24  # draws that are turned into floating point at once, 128 MiB


@dataclass(frozen=True)
class Correction:
    """How far the quantiles of the replicates are from those of the truth's confidence distribution.

    Attributes:
        bias: Shape (S,), z0: of the replicates' median against the value, in normal deviates.
        acceleration: Shape (S,), a: how the standard error changes with the truth, a sixth of the influences' skewness.
        freedom: Shape (S,): degrees of freedom of the estimated standard error; 2U / (kurtosis of the influences - 1),
            which is U for normal ones (the variance of a sample variance; Satterthwaite 1946). It is small where few
            units decide, because the class is rare or one scene holds most of its pixels.
    """

    bias: Floats
    acceleration: Floats
    freedom: Floats

    def quantile(self, level: float) -> Floats:
        """The level among the replicates, (S,), that answers to a level of the truth."""
        from scipy.special import ndtr, stdtrit

        deviate = self.bias + stdtrit(self.freedom, level) * self._widening
        scale = 1 - self.acceleration * deviate
        shifted = np.divide(deviate, scale, out=np.sign(deviate) * FAR, where=scale > 0)
        levels: Floats = ndtr(self.bias + shifted)
        return levels

    def level(self, deviate: Floats) -> Floats:
        """The inverse: the level of the truth that answers to a normal deviate among the replicates, (S,) each."""
        from scipy.special import stdtr

        shifted = deviate - self.bias
        scale = 1 + self.acceleration * shifted
        unshifted = np.divide(shifted, scale, out=np.sign(shifted) * FAR, where=scale > 0) - self.bias
        levels: Floats = stdtr(self.freedom, unshifted / self._widening)
        return levels

    @property
    def _widening(self) -> Floats:
        """What makes up for a sample's spread being less than its population's."""
        widening: Floats = np.sqrt(1 + 1 / self.freedom)
        return widening


@dataclass(frozen=True)
class Replicates:
    """A metric of S values and how it varies.

    Bounds are NaN where the metric is undefined, where it is so in more than 1% of the replicates or without any one
    unit (then it rests on a single one), and where there are fewer than two units.

    Attributes:
        value: Shape (S,): of all images.
        samples: Shape (R, S): of each replicate; NaN where undefined, which bounds leave out.
        jackknife: Shape (U, S): of all units but one.
    """

    value: Floats
    samples: Floats
    jackknife: Floats

    def interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """The two-sided interval: its low and its high end, (S,) each."""
        return self.lower((1 + level) / 2), self.upper((1 + level) / 2)

    def lower(self, level: float = 0.95) -> Floats:
        """The one-sided lower bound, (S,): the truth lies below it with a chance of about 1 - `level`."""
        return self._bound(1 - level)

    def upper(self, level: float = 0.95) -> Floats:
        """The one-sided upper bound, (S,): the truth lies above it with a chance of about 1 - `level`."""
        return self._bound(level)

    def share_below(self, threshold: npt.ArrayLike) -> Floats:
        """The share of the truth's confidence distribution below a threshold: small where it is surely kept.

        It is what `lower` inverts: at most 1 - `level` where `lower(level)` is at or above the threshold, up to the
        interpolation between two replicates. Beyond all replicates their normal tail goes on.

        Args:
            threshold: Shape (S,).

        Returns:
            (S,) in [0, 1]; NaN where there are no bounds.
        """
        from scipy.special import ndtri

        limit = np.asarray(threshold, np.float64)
        share = (self.samples < limit).sum(axis=0) / np.maximum(self._defined, 1)
        outermost = np.abs(ndtri(0.5 / len(self.samples)))
        tail = np.clip(np.abs(self._deviations(limit)), outermost, FAR)
        deviate = np.where(share == 0, -tail, np.where(share == 1, tail, ndtri(share)))
        return np.where(self._bounded, self._correction.level(deviate), np.nan)

    def _bound(self, level: float) -> Floats:
        """The replicate at a level of the truth, (S,), interpolated between its two neighbours."""
        if not self._bounded.any():
            return np.full(len(self.value), np.nan)
        places = np.where(self._bounded, self._correction.quantile(level), 0) * np.maximum(self._defined - 1, 0)
        below = np.floor(places).astype(np.intp)
        above = np.minimum(below + 1, np.maximum(self._defined - 1, 0))
        columns = np.arange(len(self.value))
        low, high = self._sorted[below, columns], self._sorted[above, columns]
        return np.where(self._bounded, low + (places - below) * (high - low), np.nan)

    def _deviations(self, limit: Floats) -> Floats:
        """How many standard deviations of the replicates a limit is away from their mean, (S,)."""
        known, count = ~np.isnan(self.samples), np.maximum(self._defined, 1)
        middle = np.where(known, self.samples, 0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, self.samples - middle, 0) ** 2).sum(axis=0) / count)
        deviations: Floats = np.divide(limit - middle, spread, out=np.full(limit.shape, FAR), where=spread > 0)
        return deviations

    @cached_property
    def _sorted(self) -> Floats:
        ordered: Floats = np.sort(self.samples, axis=0)  # the undefined ones come last
        return ordered

    @cached_property
    def _defined(self) -> npt.NDArray[np.intp]:
        count: npt.NDArray[np.intp] = (~np.isnan(self.samples)).sum(axis=0, dtype=np.intp)
        return count

    @cached_property
    def _bounded(self) -> npt.NDArray[np.bool_]:
        usual = self._defined >= (1 - MAX_UNDEFINED) * len(self.samples)
        steady = ~np.isnan(self.jackknife).any(axis=0)
        return usual & steady & ~np.isnan(self.value) & (len(self.jackknife) > 1)

    @cached_property
    def _correction(self) -> Correction:
        from scipy.special import ndtri

        units, draws = len(self.jackknife), len(self.samples)
        below = (self.samples < self.value).sum(axis=0) + (self.samples == self.value).sum(axis=0) / 2
        share = np.clip(below / np.maximum(self._defined, 1), 0.5 / draws, 1 - 0.5 / draws)
        left_out = np.where(self._bounded, self.jackknife, 0)
        influence = left_out.mean(axis=0) - left_out
        square, cube, fourth = ((influence**power).sum(axis=0) for power in (2, 3, 4))
        varies = square > 0
        skew = np.divide(cube, square**1.5, out=np.zeros_like(square), where=varies)
        kurtosis = units * np.divide(fourth, square**2, out=np.full_like(square, 3 / units), where=varies)
        freedom = 2 * units / np.maximum(kurtosis - 1, 1e-9)  # two units, or halves that mirror each other, give 1
        return Correction(ndtri(share), skew / 6, np.clip(freedom, 1, max(units - 1, 1)))


class Bootstrap:
    """Units drawn with replacement, once: all that is asked is computed on the same draws, so differences are paired.

    Args:
        resampling: The units.
        replicates: How often as many units as there are get drawn, R.
        seed: Of the draws; the same seed and units give the same bounds.
    """

    def __init__(self, resampling: Resampling, replicates: int, seed: int) -> None:
        self._units = resampling
        units = resampling.count
        rng = np.random.default_rng(seed)
        # How often each unit was drawn, (R, U); a byte is enough: 255 of a unit's draws never come together.
        self._drawn = np.empty((replicates, units), np.uint8)
        for row in self._drawn:
            row[:] = np.bincount(rng.integers(0, units, units), minlength=units)

    def replicate(self, measure: Measure) -> Replicates:
        """Computes a metric of all images, of every replicate, and of all units but one.

        Sums of whole numbers are exact, whatever the order of images.
        """
        of_unit = np.zeros((self._units.count, measure.per_image.shape[1]))
        np.add.at(of_unit, self._units.unit_of, measure.per_image)
        rows = max(1, CHUNK // self._units.count)
        parts = [self._drawn[start : start + rows] @ of_unit for start in range(0, len(self._drawn), rows)]
        return Replicates(
            value=measure.statistic(measure.per_image.sum(axis=0)),
            samples=measure.statistic(np.concatenate(parts)),
            jackknife=measure.statistic(of_unit.sum(axis=0) - of_unit),
        )
