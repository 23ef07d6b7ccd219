"""Turns what was seen of the masks into a ranked list of those that are probably wrong, with reason and place."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pipeline.label_qa.judged import Box, Judged, Scores
from pipeline.label_qa.looks import Look
from pipeline.label_qa.places import disputed, misnamed
from pipeline.label_qa.whole_masks import alignments, coarse, conflicting, exchanges, specks


class Kind(StrEnum):
    """What a mask is suspected of."""

    CONFLICTING = "conflicting"
    EMPTY = "empty"
    SHIFTED = "shifted"
    UNRELATED = "unrelated"
    EXCHANGED = "exchanged"
    COARSE = "coarse"
    SPECKS = "specks"
    MISNAMED = "misnamed"
    DISPUTED = "disputed"


@dataclass(frozen=True)
class Suspicion:
    """A mask that is probably wrong.

    Attributes:
        item_id: Whose.
        revision: Of the item.
        kind: Of what it is suspected.
        score: How strongly: the log of the odds that something is wrong, beside the dataset; comparable between kinds.
        why: In a sentence.
        class_name: The class that is doubted; None where it is the whole mask.
        box: Where: left, top, right, bottom in pixels, the latter two exclusive; None where it is the whole mask.
    """

    item_id: str
    revision: int
    kind: Kind
    score: float
    why: str
    class_name: str | None = None
    box: Box | None = None


def judge(found: Sequence[Look], class_names: Sequence[str]) -> dict[Kind, Judged]:
    """How suspicious each mask is of each kind of fault, beside the others.

    Args:
        found: As `looks` gives it.
        class_names: By id.
    """
    empty, shifted, unrelated = alignments(found)
    return {
        Kind.CONFLICTING: conflicting(found),
        Kind.EMPTY: empty,
        Kind.SHIFTED: shifted,
        Kind.UNRELATED: unrelated,
        Kind.EXCHANGED: exchanges(found, class_names),
        Kind.COARSE: coarse(found),
        Kind.SPECKS: specks(found),
        Kind.MISNAMED: misnamed(found, class_names),
        Kind.DISPUTED: disputed(found, class_names),
    }


def overall(judged: dict[Kind, Judged]) -> Scores:
    """One score a mask, (N,): that of its worst suspicion; NaN where nothing was measured."""
    worst: Scores = np.fmax.reduce([each.scores for each in judged.values()])
    return worst


def ranked(
    found: Sequence[Look], judged: dict[Kind, Judged], class_names: Sequence[str], least: float
) -> list[Suspicion]:
    """The suspicious masks, worst first; each once, of the kind that explains it best.

    Args:
        found: As `looks` gives it.
        judged: As `judge` gives it.
        class_names: By id.
        least: Score from which a mask is listed.
    """
    worst = overall(judged)
    listed: list[Suspicion] = []
    for place in map(int, np.argsort(-np.nan_to_num(worst, nan=-np.inf), kind="stable")):
        if not worst[place] >= least:
            break
        kind = max(judged, key=lambda kind: float(np.nan_to_num(judged[kind].scores[place])))
        each, look = judged[kind], found[place]
        label, box = each.where.get(place, (None, None))
        name = None if label is None else class_names[label]
        listed.append(Suspicion(look.item_id, look.revision, kind, float(worst[place]), each.why(place), name, box))
    return listed
