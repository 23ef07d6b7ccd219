"""Confusion matrices as tables of shares of the true class, with levels of shade for each cell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.dossiers.wording import minus
from training.metrics import ratio

Shares = npt.NDArray[np.float64]

SHADES = 10
MOST_CLASSES = 20
FULL_CHANGE = 0.2  # a change of share by this much has the strongest shade


@dataclass(frozen=True)
class Cell:
    """A cell: its number, and the style class of its shade."""

    text: str
    shade: str


@dataclass(frozen=True)
class Matrix:
    """A matrix, truth in rows.

    Attributes:
        title: What it is of.
        about: What its numbers mean, with what is most telling.
        names: Of rows and columns.
        rows: Its cells.
    """

    title: str
    about: str
    names: list[str]
    rows: list[list[Cell]]


def shares(confusion: npt.NDArray[np.int64]) -> Shares:
    """Each row as shares of its true class; NaN where the holdout lacks the class. Shape: (C, C)."""
    return ratio(confusion, np.broadcast_to(confusion.sum(axis=1, keepdims=True), confusion.shape))


def shown_classes(candidate: Shares, champion: Shares | None, critical: Sequence[int]) -> list[int]:
    """The classes whose rows are worth a page: all, or the critical ones and those that changed or fail most."""
    count = len(candidate)
    if count <= MOST_CLASSES:
        return list(range(count))
    telling = 1 - np.diagonal(candidate) if champion is None else np.abs(candidate - champion).sum(axis=1)
    order = np.argsort(-np.nan_to_num(telling), kind="stable").tolist()
    first = [*critical, *(label for label in order if label not in set(critical))]
    return sorted(first[:MOST_CLASSES])


def confusion_table(title: str, share: Shares, names: Sequence[str], shown: Sequence[int]) -> Matrix:
    """One model's confusion in percent of the true class."""
    wrong = np.where(np.eye(len(share), dtype=bool), np.nan, share)
    about = "Percent of the pixels of the true class (row) that got each label (column)."
    if np.isfinite(wrong).any() and np.nanmax(wrong) > 0:
        row, column = _highest(wrong)
        about += f" Most often mistaken: {names[row]} for {names[column]}, {wrong[row, column]:.1%}."
    rows = [[_share_cell(share[row, column]) for column in shown] for row in shown]
    return Matrix(title, about, [names[label] for label in shown], rows)


def difference_table(candidate: Shares, champion: Shares, names: Sequence[str], shown: Sequence[int]) -> Matrix:
    """Candidate minus champion in percentage points, shaded by whether that is better or worse."""
    change = candidate - champion
    # On the diagonal more is better, beside it less.
    gain = np.where(np.eye(len(change), dtype=bool), change, -change)
    about = "Percentage points, candidate minus champion."
    for words, sign in (("Most for the worse", -1), ("Most for the better", 1)):
        if np.isfinite(gain).any() and np.nanmax(sign * gain) > 0:
            row, column = _highest(sign * gain)
            about += f" {words}: {names[row]} labelled {names[column]}, {minus(f'{100 * change[row, column]:+.1f}')}."
    rows = [[_change_cell(change[row, column], gain[row, column]) for column in shown] for row in shown]
    return Matrix("Difference", about, [names[label] for label in shown], rows)


def _highest(values: Shares) -> tuple[int, int]:
    row, column = np.unravel_index(int(np.nanargmax(values)), values.shape)
    return int(row), int(column)


def _share_cell(share: float) -> Cell:
    if np.isnan(share):
        return Cell("\N{EN DASH}", "")
    return Cell(f"{100 * share:.1f}", f"h{round(share * SHADES)}")


def _change_cell(change: float, gain: float) -> Cell:
    if np.isnan(change):
        return Cell("\N{EN DASH}", "")
    level = min(round(abs(gain) / FULL_CHANGE * SHADES), SHADES)
    return Cell(minus(f"{100 * change:+.1f}"), f"{'up' if gain > 0 else 'dn'}{level}" if level else "")
