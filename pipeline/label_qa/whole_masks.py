"""Scores of faults that concern a whole mask: copies, empty, shifted, of another image, exchanged, coarse, specks."""

from collections.abc import Sequence

import numpy as np

from pipeline.label_qa.judged import WORST, Judged, Scores, measured, surprise
from pipeline.label_qa.layout import exchanged
from pipeline.label_qa.looks import Look

FITS = 0.5  # of the usual agreement, from which a moved mask fits
CHANCE = (1.0, 1.3)  # agreement of masks with foreign images: mean and standard deviation, as found on CamVid
ONE_SIGMA = 0.1587  # share of a normal distribution below its mean less one standard deviation
GAIN = 0.15  # standard deviations; sound masks gain nothing
LAYOUT_NATS = 5.0  # log-likelihood ratio of a layout; less is chance
SPECKS_LOG = 0.2
CORNERS = 0.3  # in 100 px of outline
INDIRECT = 0.7  # weight of kinds that are unusual only, without being what the fault itself looks like


def conflicting(found: Sequence[Look]) -> Judged:
    """One image with several masks, none of which is known to be of another annotator."""
    copies: dict[str, list[int]] = {}
    for place, each in enumerate(found):
        copies.setdefault(each.image, []).append(place)
    scores, others = np.zeros(len(found)), {}
    for places in copies.values():
        opinions = {(found[place].annotator, found[place].mask) for place in places}
        named = [annotator for annotator, _ in opinions]
        if len({mask for _, mask in opinions}) > 1 and (None in named or len(set(named)) < len(named)):
            for place in places:
                scores[place] = WORST
                others[place] = ", ".join(found[other].item_id for other in places if other != place)
    return Judged(scores, lambda place: f"The same image, byte for byte, has another mask in {others[place]}.")


def alignments(found: Sequence[Look]) -> tuple[Judged, Judged, Judged]:
    """Masks without an outline, masks that lie better elsewhere, and masks that lie nowhere: by the image's edges."""
    known = measured(found, lambda _: 1.0)
    agreement = measured(found, lambda seen: seen.alignment.in_place if seen.alignment else None)
    gain = measured(found, lambda seen: seen.alignment.gain if seen.alignment else 0.0)
    usual = float(np.nanmedian(agreement)) if (~np.isnan(agreement)).any() else 0.0
    fits = np.isnan(agreement) | (agreement + gain >= FITS * usual)  # a little better somewhere is no place to move to
    without = ~np.isnan(known) & np.isnan(agreement)
    shifted = surprise(gain, GAIN)
    foreign = np.where(fits, _foreign(agreement), np.fmax(_foreign(agreement), shifted))
    return (
        Judged(np.where(without, WORST, 0.0) * known, lambda place: _why_empty(found[place])),
        Judged(np.where(fits, shifted, 0.0), lambda place: _why_shifted(found[place])),
        Judged(np.where(without, 0.0, foreign) * known, lambda place: _why_unrelated(found[place])),
    )


def _foreign(agreement: Scores) -> Scores:
    """The log of how much likelier an agreement is by chance than for a mask of this dataset, at least 0."""
    known = agreement[~np.isnan(agreement)]
    if not known.size:
        return agreement
    middle = float(np.median(known))
    spread = max(middle - float(np.quantile(known, ONE_SIGMA)), 1.0)
    mean, deviation = CHANCE
    by_chance = -(((agreement - mean) / deviation) ** 2) / 2 - np.log(deviation)
    usual = -(((agreement - middle) / spread) ** 2) / 2 - np.log(spread)
    return np.where(agreement > middle, 0.0, np.maximum(by_chance - usual, 0.0))


def _why_empty(look: Look) -> str:
    assert look.seen is not None  # it has a score
    return f"The mask has {look.seen.classes} class and no outline, or the image no edge."


def _why_shifted(look: Look) -> str:
    assert look.seen is not None
    assert look.seen.alignment is not None
    found = look.seen.alignment
    return (
        f"The outlines lie better on the image's edges when the mask is moved by {found.dx:+d} px to the right and "
        f"{found.dy:+d} px down: they agree by {found.in_place:.1f} standard deviations in place, by {found.gain:.1f} "
        "more there."
    )


def _why_unrelated(look: Look) -> str:
    assert look.seen is not None
    assert look.seen.alignment is not None
    return (
        f"The outlines agree with the image's edges by {look.seen.alignment.in_place:.1f} standard deviations only, "
        "far less than others of the dataset: perhaps the mask of another image."
    )


def exchanges(found: Sequence[Look], class_names: Sequence[str]) -> Judged:
    """Two classes in each other's places, as in an inverted mask: by where the classes usually are."""
    places = [place for place, each in enumerate(found) if each.seen is not None]
    scores = np.full(len(found), np.nan)
    layouts = [each.seen.layout for each in found if each.seen is not None]
    if not layouts:
        return Judged(scores, str)
    gain, pairs = exchanged(np.stack(layouts), len(class_names))
    scores[places] = INDIRECT * surprise(gain, LAYOUT_NATS)
    of_place = dict(zip(places, pairs, strict=True))

    def why(place: int) -> str:
        one, other = (class_names[each] for each in of_place[place])
        return f"{one} and {other} lie where the other usually does: perhaps they were exchanged, or the mask inverted."

    return Judged(scores, why)


def coarse(found: Sequence[Look]) -> Judged:
    """Outlines with few corners, and masks that were enlarged."""
    corners = INDIRECT * surprise(-measured(found, lambda seen: seen.drawing.corners), CORNERS)
    blocks = measured(found, lambda seen: float(seen.drawing.block_px))
    usual = float(np.nanmedian(blocks)) if (~np.isnan(blocks)).any() else 1.0
    scores = np.where(blocks > usual, WORST, np.where(np.isnan(blocks), np.nan, np.nan_to_num(corners)))

    def why(place: int) -> str:
        seen = found[place].seen
        assert seen is not None
        if seen.drawing.block_px > usual:
            return (
                f"The mask consists of squares of {seen.drawing.block_px} px: it was drawn or stored at a lower size."
            )
        return f"The outlines have {seen.drawing.corners:.1f} corners in 100 px, far fewer than others: drawn coarsely."

    return Judged(scores, why)


def specks(found: Sequence[Look]) -> Judged:
    """Many tiny components, of classes or of void."""
    specks = measured(found, lambda seen: float(np.log1p(seen.drawing.specks)))
    holes = measured(found, lambda seen: float(np.log1p(seen.drawing.holes)))
    scores = np.fmax(surprise(specks, SPECKS_LOG), surprise(holes, SPECKS_LOG))

    def why(place: int) -> str:
        seen = found[place].seen
        assert seen is not None
        return (
            f"{seen.drawing.specks:.1f} specks and {seen.drawing.holes:.1f} pinholes in 10,000 px, far more than "
            "others: slips of a brush, or a mask that was stored as JPEG."
        )

    return Judged(scores, why)
