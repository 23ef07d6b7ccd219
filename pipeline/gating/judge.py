"""Judges a candidate's counts, beside its champion's, against the service levels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.gating import measures
from pipeline.gating.claims import Claim, Claims, Classes, Direction
from pipeline.gating.counts import Counts, paired
from pipeline.gating.slo import GateParams
from pipeline.gating.units import Resampling, resampling
from pipeline.gating.verdict import Decision, Outcome, Resampled, Support

LEAST_SHOWN = 0.0001
FAILED_BELOW = 0.05  # a claim of failure is made at this family-wise error rate


@dataclass(frozen=True)
class Figure:
    """A figure without sampling error that is simply compared: latency, size."""

    slo: str
    about: str
    value: float
    limit: float
    unit: str


@dataclass(frozen=True)
class Judgement:
    """What came out, and what the intervals were made of."""

    decisions: list[Decision]
    resampled: Resampled

    @property
    def passed(self) -> bool:
        """Whether nothing blocks."""
        return not any(each.blocks for each in self.decisions)


def judge(
    candidate: Counts, champion: Counts | None, classes: Classes, params: GateParams, figures: Sequence[Figure] = ()
) -> Judgement:
    """Judges a candidate.

    A service level passes when its one-sided bound keeps the threshold. All that is required must pass, so passing
    needs no correction for many tests (an intersection-union test: Berger 1982, Multiparameter hypothesis testing
    and acceptance sampling); that a level fails is claimed at a family-wise 5% (Holm 1979). What is neither is
    insufficient evidence: it blocks where something must be shown (the mean, a critical class), else it lets pass.

    Args:
        candidate: Its counts, an entry an image.
        champion: The champion's on the same images; None at a first promotion.
        classes: Names, and which are critical.
        params: The service levels.
        figures: Latency and size.

    Raises:
        UserError: Candidate and champion were measured on different images.
    """
    if champion is not None:
        candidate, champion = paired(candidate, champion)
    units = units_of(candidate, classes, params)
    claims = list(Claims(candidate, champion, classes, params, units).all())
    corrected = holm([claim.p for claim in claims])
    decisions = [_decided(claim, p) for claim, p in zip(claims, corrected, strict=True)]
    return Judgement([*decisions, *map(_compared, figures)], _resampled(units, params))


def units_of(counts: Counts, classes: Classes, params: GateParams) -> Resampling:
    """What is drawn: groups, or blocks as long as the mean and the critical classes need."""
    critical = [number for number, name in enumerate(classes.names) if name in classes.critical]
    influence = np.hstack(
        [measures.influence(measures.miou(counts)), measures.influence(measures.iou(counts))[:, critical]]
    )
    return resampling(
        counts.groups,
        counts.sequence,
        min_groups=params.few_groups,
        block_frames=params.block_frames,
        influence=influence,
    )


def holm(values: Sequence[float]) -> list[float]:
    """Adjusts p-values so that any claim below a level is wrong with at most that chance in all (Holm 1979).

    Args:
        values: In [0, 1]; NaN where there is no test, which stays NaN and is not counted.
    """
    p = np.asarray(values, dtype=np.float64)
    adjusted = np.full(len(p), np.nan)
    order = [each for each in np.argsort(p, kind="stable") if not np.isnan(p[each])]
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p[place]))
        adjusted[place] = highest
    return [float(each) for each in adjusted]


def _decided(claim: Claim, p: float) -> Decision:
    outcome = _outcome(claim, p)
    return Decision(
        slo=claim.slo,
        outcome=outcome,
        blocks=outcome is Outcome.FAIL or (outcome is Outcome.INSUFFICIENT and claim.strict),
        critical=claim.critical,
        direction=claim.direction,
        threshold=claim.threshold,
        value=_defined(claim.value),
        low=_defined(claim.low),
        high=_defined(claim.high),
        bound=_defined(claim.bound),
        p_failed=_defined(p),
        support=claim.support,
        why=_why(claim, outcome, p),
    )


def _outcome(claim: Claim, p: float) -> Outcome:
    if not claim.enough or np.isnan(claim.bound):
        return Outcome.INSUFFICIENT
    if _keeps(claim.bound, claim.direction, claim.threshold):
        return Outcome.PASS
    return Outcome.FAIL if p < FAILED_BELOW else Outcome.INSUFFICIENT


def _keeps(value: float, direction: Direction, threshold: float) -> bool:
    return value >= threshold if direction == ">=" else value <= threshold


def _why(claim: Claim, outcome: Outcome, p: float) -> str:
    side, end = ("at least", "lower") if claim.direction == ">=" else ("at most", "upper")
    wanted = f"{side} {claim.threshold:.3f}"
    if np.isnan(claim.value):
        return f"{claim.about} is undefined: no pixel of the holdout speaks of it; wanted {wanted}."
    found = f"{claim.about} is {claim.value:.3f}"
    if np.isnan(claim.bound) or not claim.enough:
        return f"{found} on {claim.support.groups} groups, too few to bound it; wanted {wanted}."
    bound = f"its {end} {claim.level:.0%} bound {claim.bound:.3f}"
    if outcome is Outcome.PASS:
        return f"{found}, {bound}; wanted {wanted}."
    if outcome is Outcome.FAIL:
        return f"{found}, {bound}; wanted {wanted}: it is missed (corrected p {_chance(p)})."
    return f"{found}, {bound}; wanted {wanted}: the data shows neither that it is kept nor that it is missed."


def _chance(p: float) -> str:
    return f"{p:.4f}" if p >= LEAST_SHOWN else f"below {LEAST_SHOWN}"


def _compared(figure: Figure) -> Decision:
    kept = figure.value <= figure.limit
    relation = "within" if kept else "over"
    return Decision(
        slo=figure.slo,
        outcome=Outcome.PASS if kept else Outcome.FAIL,
        blocks=not kept,
        critical=False,
        direction="<=",
        threshold=figure.limit,
        value=figure.value,
        low=None,
        high=None,
        bound=None,
        p_failed=None,
        support=Support(images=0, groups=0, pixels=0),
        why=f"{figure.about} is {figure.value:.1f} {figure.unit}, {relation} the limit of {figure.limit:g}.",
    )


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value


def _resampled(units: Resampling, params: GateParams) -> Resampled:
    if units.kind == "groups":
        holds = f"The intervals hold for scenes like these: {units.count} groups were drawn as wholes."
    else:
        holds = (
            f"The intervals hold for these sequences only: with fewer than {params.few_groups} groups, "
            f"{units.count} blocks of at least {units.block_frames} consecutive frames were drawn."
        )
    return Resampled(
        kind=units.kind, units=units.count, replicates=params.replicates, level=params.level, holds_for=holds
    )
