"""Turns what was seen of the masks into a ranked list of those that are probably wrong, with the reason."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Scores = npt.NDArray[np.float64]

WORST = 30.0  # standard deviations, as a mask without any outline counts
MAD = 1.4826  # of a normal distribution, the standard deviation by the median of the absolute deviations


class Kind(StrEnum):
    """What a mask is suspected of."""

    EMPTY = "empty"
    SHIFTED = "shifted"
    UNRELATED = "unrelated"


@dataclass(frozen=True)
class Suspicion:
    """A mask that is probably wrong.

    Attributes:
        item_id: Whose.
        kind: Of what it is suspected.
        score: How strongly, in standard deviations; comparable between kinds.
        why: In a sentence.
    """

    item_id: str
    kind: Kind
    score: float
    why: str


def scores(seen: pd.DataFrame) -> dict[Kind, Scores]:
    """How suspicious each mask is of each kind of fault, (N,) each; larger is worse, NaN where nothing was measured.

    Args:
        seen: As `looks` gives it.
    """
    measured = seen["classes"].notna().to_numpy()
    without = measured & seen["in_place"].isna().to_numpy()
    agreement = seen["in_place"].to_numpy(np.float64, na_value=np.nan)
    usual = agreement[~np.isnan(agreement)]
    middle = float(np.median(usual)) if usual.size else 0.0
    spread = max(MAD * float(np.median(np.abs(usual - middle))), 1.0) if usual.size else 1.0
    empty = np.where(without, WORST, 0.0)
    unrelated = np.where(without, 0.0, (middle - agreement) / spread)
    gain = np.where(without, 0.0, seen["gain"].to_numpy(np.float64, na_value=np.nan))
    return {
        Kind.EMPTY: np.where(measured, empty, np.nan),
        Kind.SHIFTED: np.where(measured, gain, np.nan),
        Kind.UNRELATED: np.where(measured, unrelated, np.nan),
    }


def overall(found: dict[Kind, Scores]) -> Scores:
    """One score a mask, (N,): that of its worst suspicion."""
    worst: Scores = np.fmax.reduce([found[kind] for kind in Kind])
    return worst


def ranked(seen: pd.DataFrame, least: float) -> list[Suspicion]:
    """The suspicious masks, worst first; each once, of the kind that explains it best.

    A mask that lies better elsewhere is shifted, whatever its agreement in place.

    Args:
        seen: As `looks` gives it.
        least: Score from which a mask is listed.
    """
    found = scores(seen)
    worst = overall(found)
    listed: list[Suspicion] = []
    for place in np.argsort(-np.nan_to_num(worst, nan=-np.inf), kind="stable"):
        if not worst[place] >= least:
            break
        kind = next(each for each in Kind if found[each][place] >= least)
        row = seen.iloc[place]
        listed.append(Suspicion(str(row["item_id"]), kind, float(worst[place]), _why(kind, row)))
    return listed


def _why(kind: Kind, row: "pd.Series[Any]") -> str:
    if kind is Kind.EMPTY:
        return f"The mask has {row['classes']} class and no outline, or the image no edge."
    if kind is Kind.SHIFTED:
        return (
            f"The outlines lie better on the image's edges when the mask is moved by {row['dx']:+.0f} px to the right "
            f"and {row['dy']:+.0f} px down: they agree by {row['in_place']:.1f} standard deviations in place, by "
            f"{row['gain']:.1f} more there."
        )
    return (
        f"The outlines agree with the image's edges by {row['in_place']:.1f} standard deviations only, far less than "
        "others of the dataset: perhaps the mask of another image."
    )
