"""Chooses the images that a reviewer should see."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.dossiers.sides import Evidence
from pipeline.dossiers.wording import minus
from pipeline.gating.verdict import Doubt
from training.metrics import iou, mean_iou

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """An image, and why it is shown."""

    item_id: str
    reason: str


@dataclass(frozen=True)
class Chosen:
    """Images under one heading.

    Attributes:
        key: Its anchor in the page.
        heading: Its heading.
        note: How they were chosen.
        choices: Most telling first.
    """

    key: str
    heading: str
    note: str
    choices: list[Choice]


@dataclass(frozen=True)
class Paired:
    """Both models' scores on the images that both have.

    Attributes:
        item_ids: Shape (N,).
        groups: Shape (N,).
        before: IoU of the champion by class, shape (N, C).
        after: The same of the candidate.
        before_px: Pixels that the champion gave each class, shape (N, C).
        after_px: The same of the candidate.
        mean_before: mIoU of the champion, shape (N,).
        mean_after: mIoU of the candidate, shape (N,).
    """

    item_ids: npt.NDArray[np.object_]
    groups: npt.NDArray[np.object_]
    before: Floats
    after: Floats
    before_px: npt.NDArray[np.int64]
    after_px: npt.NDArray[np.int64]
    mean_before: Floats
    mean_after: Floats

    @property
    def change(self) -> Floats:
        """The candidate's mIoU minus the champion's, NaN where one is undefined."""
        change: Floats = self.mean_after - self.mean_before
        return change


def choose(
    candidate: Evidence, champion: Evidence | None, doubts: Sequence[Doubt], changed: int, worst: int
) -> list[Chosen]:
    """Every image to be shown, under its headings; headings without an image are left out.

    Args:
        candidate: The version judged.
        champion: The version compared with; without one the worst images take the place of the changed ones.
        doubts: Masks that both contradict.
        changed: How many that changed for the worse, and for the better.
        worst: How many of each critical class, and of the doubts.
    """
    first = lowest_images(candidate, changed) if champion is None else changed_images(candidate, champion, changed)
    taxonomy = candidate.taxonomy
    critical = [worst_images(candidate, label, worst) for label in taxonomy.critical_ids]
    listed = [Choice(each.item_id, f"{each.share:.1%} of its labelled pixels are in doubt") for each in doubts[:worst]]
    note = "Both models agree with each other here, confidently, and not with the mask: look whether the mask is right."
    doubted = Chosen("doubted", "Masks in doubt", note, listed)
    return [each for each in (*first, *critical, doubted) if each.choices]


def changed_images(candidate: Evidence, champion: Evidence, count: int) -> list[Chosen]:
    """The images that changed most, those for the worse first."""
    pair = paired(candidate, champion)
    names = candidate.taxonomy.names
    note = "By the mIoU of the single image, candidate minus champion; scenes (groups) take turns."
    found = []
    for key, heading, sign in (
        ("worse", "Changed most for the worse", 1),
        ("better", "Changed most for the better", -1),
    ):
        key_of = sign * pair.change
        order = [int(place) for place in np.argsort(key_of, kind="stable") if key_of[place] < 0]
        picked = in_turn(order, pair.groups, count)
        found.append(Chosen(key, heading, note, [_changed(pair, place, names) for place in picked]))
    return found


def lowest_images(candidate: Evidence, count: int) -> list[Chosen]:
    """The images with the lowest mIoU: all that can be shown without a champion."""
    means = mean_iou(candidate.each)
    order = [int(place) for place in np.argsort(means, kind="stable") if not np.isnan(means[place])]
    groups, items = candidate.rows["group"].to_numpy(), candidate.rows["item_id"].to_numpy()
    choices = [Choice(str(items[place]), f"mIoU {means[place]:.3f}") for place in in_turn(order, groups, count)]
    note = "By the mIoU of the single image; scenes (groups) take turns. There is no champion to compare with."
    return [Chosen("worst", "Worst images", note, choices)]


def worst_images(candidate: Evidence, label: int, count: int) -> Chosen:
    """The images where the candidate finds a class worst; among equals the one with more wrong pixels first."""
    name = candidate.taxonomy.names[label]
    scores, each = iou(candidate.each)[:, label], candidate.each
    true = each[:, label, :].sum(axis=1)
    missed = true - each[:, label, label]
    invented = each[:, :, label].sum(axis=1) - each[:, label, label]
    order = [int(place) for place in np.lexsort((-(missed + invented), scores)) if not np.isnan(scores[place])]
    groups, items = candidate.rows["group"].to_numpy(), candidate.rows["item_id"].to_numpy()
    choices = [
        Choice(
            str(items[place]),
            f"IoU of {name} {scores[place]:.3f}: "
            + (f"{missed[place]:,} of {true[place]:,} px missed" if true[place] else "none is there")
            + f", {invented[place]:,} px seen where there is none",
        )
        for place in in_turn(order, groups, count)
    ]
    note = f"By the candidate's IoU of {name} in the single image; scenes (groups) take turns."
    return Chosen(f"critical-{label}", f"Worst images of {name} (critical)", note, choices)


def paired(candidate: Evidence, champion: Evidence) -> Paired:
    """Scores on the images that both were measured on, by item."""
    wanted = set(candidate.rows["item_id"]) & set(champion.rows["item_id"])
    ours, theirs = (side.rows["item_id"].isin(wanted).to_numpy(dtype=bool) for side in (candidate, champion))
    after, before = candidate.each[ours], champion.each[theirs]
    rows = candidate.rows[ours]
    return Paired(
        item_ids=rows["item_id"].to_numpy(dtype=object),
        groups=rows["group"].to_numpy(dtype=object),
        before=iou(before),
        after=iou(after),
        before_px=before.sum(axis=1),
        after_px=after.sum(axis=1),
        mean_before=mean_iou(before),
        mean_after=mean_iou(after),
    )


def in_turn(order: Sequence[int], groups: npt.NDArray[np.object_], count: int) -> list[int]:
    """The first places of an order, one of each group before a second of any: frames of a scene look alike."""
    taken: dict[object, int] = {}
    rounds: list[tuple[int, int, int]] = []
    for rank, place in enumerate(order):
        turn = taken.get(groups[place], 0)
        taken[groups[place]] = turn + 1
        rounds.append((turn, rank, place))
    first = sorted(rounds)[:count]
    return [place for _, _, place in sorted(first, key=lambda each: each[1])]


def _changed(pair: Paired, place: int, names: Sequence[str]) -> Choice:
    before, after, change = pair.mean_before[place], pair.mean_after[place], pair.change[place]
    reason = f"mIoU {before:.3f} to {after:.3f} ({minus(f'{change:+.3f}')})"
    was, now = pair.before[place], pair.after[place]
    # A class that is not there counts as found when it is not invented: then its IoU is undefined.
    steps = (np.where(np.isnan(now), 1.0, now) - np.where(np.isnan(was), 1.0, was)) * np.sign(change)
    most = int(steps.argmax())
    if steps[most] > 0:
        reason += f"; mostly {_step(pair, place, most, names[most])}"
    return Choice(str(pair.item_ids[place]), reason)


def _step(pair: Paired, place: int, label: int, name: str) -> str:
    was, now = pair.before[place, label], pair.after[place, label]
    if np.isnan(was):
        return f"{name} seen where there is none ({pair.after_px[place, label]:,} px)"
    if np.isnan(now):
        return f"{name} no longer seen where there is none ({pair.before_px[place, label]:,} px)"
    return f"{name}, {was:.3f} to {now:.3f}"
