"""Scores of candidate and champion beside each other: the mean, each class, each slice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from markupsafe import Markup

from pipeline.dossiers.charts import SHARES, Mark, Threshold, Who, interval_plot, swatch
from pipeline.dossiers.sides import Evidence
from pipeline.dossiers.wording import counted, interval, signed, value
from pipeline.gating.verdict import Decision, Verdict
from pipeline.scores import confusions, number
from training.metrics import iou, mean_iou

TELLING = 0.01  # a change without an interval is worth a colour from here on
MOST_SLICES = 60


Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class ScoreRow:
    """A score of both models.

    Attributes:
        name: Of the class or the slice.
        critical: Of a critical class.
        swatch: The class's colour; empty for others.
        candidate: Its score.
        candidate_interval: Its interval.
        champion: The champion's score; empty without one.
        champion_interval: Its interval.
        change: Candidate minus champion.
        change_interval: Its interval.
        trend: `better`, `worse` or empty.
        plot: Both, drawn.
        support: What they rest on.
    """

    name: str
    critical: bool
    swatch: Markup
    candidate: str
    candidate_interval: str
    champion: str
    champion_interval: str
    change: str
    change_interval: str
    trend: str
    plot: Markup
    support: str


@dataclass(frozen=True)
class _Score:
    """What a row is made of before it is put into words."""

    slo: str
    name: str
    candidate: float | None
    champion: float | None
    support: str
    change_slo: str = ""
    critical: bool = False
    swatch: Markup = field(default_factory=Markup)


def mean_row(verdict: Verdict, candidate: Evidence, champion: Evidence | None) -> ScoreRow:
    """Mean IoU over all images."""
    theirs = number(mean_iou(champion.confusion)) if champion else None
    images = counted(len(candidate.rows), "image")
    score = _Score("miou", "Mean IoU", number(mean_iou(candidate.confusion)), theirs, images)
    return _Rows(verdict, candidate, champion).row(score)


def class_rows(verdict: Verdict, candidate: Evidence, champion: Evidence | None) -> list[ScoreRow]:
    """The IoU of each class, critical ones first."""
    ours, theirs = iou(candidate.confusion), iou(champion.confusion) if champion else None
    holding = (candidate.each.sum(axis=2) > 0).sum(axis=0)
    rows = _Rows(verdict, candidate, champion)
    found = [
        rows.row(
            _Score(
                slo=f"iou/{spec.name}",
                name=spec.name,
                candidate=number(ours[spec.id]),
                champion=None if theirs is None else number(theirs[spec.id]),
                support=counted(int(holding[spec.id]), "image"),
                change_slo=f"non_inferiority/{spec.name}",
                critical=spec.critical,
                swatch=swatch(spec.colour),
            )
        )
        for spec in candidate.taxonomy.classes
    ]
    return sorted(found, key=lambda row: not row.critical)


def slice_rows(
    verdict: Verdict, columns: Sequence[str], candidate: Evidence, champion: Evidence | None
) -> tuple[list[ScoreRow], int]:
    """The mIoU of each slice, most changed for the worse first; without a champion the lowest first.

    Args:
        verdict: For the intervals.
        columns: The slice columns.
        candidate: The version judged.
        champion: The version compared with.

    Returns:
        At most `MOST_SLICES` rows, and how many slices have none.
    """
    classes = candidate.taxonomy.num_classes
    scores = []
    for column in columns:
        theirs = _by_value(champion.rows, column, classes) if champion else {}
        for of, (ours, count) in _by_value(candidate.rows, column, classes).items():
            slo = f"slice/{column}={of}/miou"
            beside = theirs.get(of, (None, 0))[0]
            scores.append(_Score(slo, f"{column}: {of}", ours, beside, counted(count, "image")))
    rows = _Rows(verdict, candidate, champion)
    shown = sorted(scores, key=_urgency)[:MOST_SLICES]
    return [rows.row(each) for each in shown], len(scores) - len(shown)


class _Rows:
    """Puts scores into words, with the intervals of the verdict or those given."""

    def __init__(self, verdict: Verdict, candidate: Evidence, champion: Evidence | None) -> None:
        self._decisions = {each.slo: each for each in verdict.decisions}
        self._candidate: Mapping[str, Bounds] = candidate.side.intervals
        self._champion: Mapping[str, Bounds] = champion.side.intervals if champion else {}
        self._compared = champion is not None

    def row(self, score: _Score) -> ScoreRow:
        decision, change = self._decisions.get(score.slo), self._decisions.get(score.change_slo)
        ours = _bounds(decision, self._candidate.get(score.slo))
        theirs = _bounds(None, self._champion.get(score.slo))
        step = None if score.candidate is None or score.champion is None else score.candidate - score.champion
        limit = Threshold(decision.threshold, decision.direction) if decision else None
        marks = [_marked("candidate", score.candidate, ours), _marked("champion", score.champion, theirs)]
        return ScoreRow(
            name=score.name,
            critical=score.critical,
            swatch=score.swatch,
            candidate=value(score.candidate),
            candidate_interval=interval(*ours),
            champion=value(score.champion) if self._compared else "",
            champion_interval=interval(*theirs),
            change=signed(step),
            change_interval="" if change is None else interval(change.low, change.high, change.slo),
            trend=_trend(step, change),
            plot=interval_plot([mark for mark in marks if mark], SHARES, limit),
            support=score.support,
        )


def _bounds(decision: Decision | None, given: Bounds | None) -> Bounds:
    """An interval: the verdict's, else the given one, else none."""
    if decision is not None and decision.low is not None:
        return decision.low, decision.high
    return given or (None, None)


def _trend(step: float | None, change: Decision | None) -> str:
    """Whether a change is worth a colour: its interval leaves zero out, or, without one, it is large."""
    if step is None:
        return ""
    if change is not None and change.low is not None and change.high is not None:
        return "better" if change.low > 0 else "worse" if change.high < 0 else ""
    return "" if abs(step) < TELLING else ("better" if step > 0 else "worse")


def _marked(who: Who, score: float | None, bounds: Bounds) -> Mark | None:
    return None if score is None else Mark(who, score, *bounds)


def _by_value(rows: pd.DataFrame, column: str, classes: int) -> dict[str, tuple[float | None, int]]:
    """The mIoU and the number of images by the slice column's value."""
    if column not in rows:
        return {}
    return {
        str(of): (number(mean_iou(confusions(some, classes).sum(axis=0))), len(some))
        for of, some in rows.groupby(column, sort=True)
    }


def _urgency(score: _Score) -> tuple[float, float, str]:
    ours = np.inf if score.candidate is None else score.candidate
    change = 0.0 if score.candidate is None or score.champion is None else score.candidate - score.champion
    return change, ours, score.name
