"""Small drawings as inline SVG; colours come from the page's style sheet, so that they follow its theme."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from markupsafe import Markup

WIDTH, ROW, PAD = 200, 14, 8
DIAL, MARGIN = 300, 44
MIN_GAP_SHARE = 1e-9

Who = Literal["candidate", "champion"]


@dataclass(frozen=True)
class Scale:
    """From values to horizontal pixels."""

    low: float
    high: float

    def x(self, value: float) -> float:
        """Place of a value, kept inside the drawing."""
        share = (value - self.low) / max(self.high - self.low, MIN_GAP_SHARE)
        return round(PAD + min(max(share, 0.0), 1.0) * (WIDTH - 2 * PAD), 1)


@dataclass(frozen=True)
class Mark:
    """An estimate with its interval, if it has one."""

    who: Who
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Threshold:
    """A limit, and on which side of it values shall lie."""

    value: float
    direction: Literal[">=", "<="]


SHARES = Scale(0.0, 1.0)


def spanning(values: Iterable[float | None]) -> Scale:
    """A scale that holds all values and zero, with some air."""
    known = [0.0, *(value for value in values if value is not None)]
    low, high = min(known), max(known)
    air = 0.15 * (high - low or 1.0)
    return Scale(low - air if low < 0 else 0.0, high + air if high > 0 else air)


def interval_plot(marks: Sequence[Mark], scale: Scale, threshold: Threshold | None = None) -> Markup:
    """Estimates with their intervals above one another, a tick at the threshold, the good side of it shaded.

    It is decoration for the screen reader: the numbers stand beside it.
    """
    height = ROW * len(marks) + 8
    parts = [_axis(scale, height)]
    if threshold is not None:
        parts.append(_limit(threshold, scale, height))
    parts += [_mark(mark, scale, 4 + ROW * (row + 0.5)) for row, mark in enumerate(marks)]
    return Markup('<svg class="plot" viewBox="0 0 {} {}" width="{}" height="{}" aria-hidden="true">{}</svg>').format(
        WIDTH, height, WIDTH, height, Markup("").join(parts)
    )


def swatch(colour: str) -> Markup:
    """A class's colour."""
    return Markup(
        '<svg class="swatch" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">'
        '<rect width="12" height="12" rx="2" fill="{}"/></svg>'
    ).format(colour)


def legend_mark(who: Who) -> Markup:
    """The symbol that stands for a model in the plots."""
    return Markup('<svg class="key" viewBox="0 0 28 14" width="28" height="14" aria-hidden="true">{}{}</svg>').format(
        Markup('<line class="{}" x1="2" x2="26" y1="7" y2="7"/>').format(who), _symbol(who, 14.0, 7.0)
    )


def reliability_plot(tables: Sequence[tuple[Who, pd.DataFrame]], label: str) -> Markup:
    """The reliability diagram of one or two models: accuracy by confidence, with the ideal as a diagonal.

    Args:
        tables: For each model its reliability table: px, confidence, accuracy by bin.
        label: What a screen reader says instead.
    """
    side = DIAL + MARGIN + 10
    parts = [*_grid(), Markup('<line class="ideal" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(*_at(0, 0), *_at(1, 1))]
    for who, table in tables:
        filled = table[table["px"] > 0]
        points = [_at(*pair) for pair in zip(filled["confidence"], filled["accuracy"], strict=True)]
        line = " ".join(f"{x},{y}" for x, y in points)
        parts.append(Markup('<polyline class="{}" points="{}"/>').format(who, line))
        parts += [_symbol(who, x, y) for x, y in points]
    return Markup(
        '<svg class="dial" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}</svg>'
    ).format(side, side, side, side, label, Markup("").join(parts))


def _axis(scale: Scale, height: float) -> Markup:
    rail = Markup('<line class="rail" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
        PAD, WIDTH - PAD, height / 2, height / 2
    )
    if scale.low < 0 < scale.high:
        zero = scale.x(0)
        return rail + Markup('<line class="zero" x1="{}" x2="{}" y1="0" y2="{}"/>').format(zero, zero, height)
    return rail


def _limit(threshold: Threshold, scale: Scale, height: float) -> Markup:
    x = scale.x(threshold.value)
    start, end = (x, WIDTH - PAD) if threshold.direction == ">=" else (PAD, x)
    return Markup(
        '<rect class="good" x="{}" y="0" width="{}" height="{}"/><line class="limit" x1="{}" x2="{}" y1="0" y2="{}"/>'
    ).format(start, round(max(end - start, 0.0), 1), height, x, x, height)


def _mark(mark: Mark, scale: Scale, y: float) -> Markup:
    symbol = _symbol(mark.who, scale.x(mark.value), y)
    if mark.low is None or mark.high is None:
        return symbol
    low, high = scale.x(mark.low), scale.x(mark.high)
    ends = [
        Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(mark.who, x, x, y - 3, y + 3)
        for x in (low, high)
    ]
    line = Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(mark.who, low, high, y, y)
    return line + Markup("").join(ends) + symbol


def _symbol(who: Who, x: float, y: float) -> Markup:
    """A disc for the candidate, an open diamond for the champion: told apart without colour."""
    if who == "candidate":
        return Markup('<circle class="candidate" cx="{}" cy="{}" r="4"/>').format(x, y)
    points = f"{x},{y - 5} {x + 5},{y} {x},{y + 5} {x - 5},{y}"
    return Markup('<polygon class="champion" points="{}"/>').format(points)


def _grid() -> list[Markup]:
    parts = []
    for tick in np.linspace(0, 1, 6):
        (x, _), (_, y) = _at(float(tick), 0), _at(0, float(tick))
        parts.append(Markup('<line class="rail" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x, x, 5, DIAL + 5))
        parts.append(Markup('<line class="rail" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(MARGIN, MARGIN + DIAL, y, y))
        parts.append(Markup('<text x="{}" y="{}" text-anchor="middle">{:.1f}</text>').format(x, DIAL + 20, tick))
        parts.append(Markup('<text x="{}" y="{}" text-anchor="end">{:.1f}</text>').format(MARGIN - 6, y + 4, tick))
    middle = DIAL / 2
    parts.append(
        Markup('<text x="{}" y="{}" text-anchor="middle">confidence</text>').format(MARGIN + middle, DIAL + 38)
    )
    parts.append(
        Markup('<text x="12" y="{}" text-anchor="middle" transform="rotate(-90 12 {})">accuracy</text>').format(
            middle, middle
        )
    )
    return parts


def _at(confidence: float, accuracy: float) -> tuple[float, float]:
    return round(MARGIN + confidence * DIAL, 1), round(5 + (1 - accuracy) * DIAL, 1)
