"""Scores of faults in a place of a mask: objects of a wrong class, and regions that a model sees otherwise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.label_qa.judged import Box, Judged, Scores, surprise
from pipeline.label_qa.looks import Look
from pipeline.label_qa.misnamed import unlikeliness

UNLIKELY = 0.5  # log ratio of votes; less is a trifle
UNUSUAL = 0.5  # log weight of a region; less is chance
HEAVIER = 0.2  # standard deviations; less is a trifle
INDIRECT = 0.7  # weight of what a model says: it errs, too
LEAST_WEIGHT = 1e-3  # of a disputed region; smaller ones are all alike


def misnamed(found: Sequence[Look], class_names: Sequence[str]) -> Judged:
    """An object drawn in a wrong class: by what it looks like beside the objects of other groups."""
    order = sorted(range(len(found)), key=lambda place: (found[place].group, found[place].place, found[place].item_id))
    kept = [(place, seen.objects) for place in order if (seen := found[place].seen) is not None]
    scores = np.where([each.seen is None for each in found], np.nan, 0.0)
    if not any(len(objects.labels) for _, objects in kept):
        return Judged(scores, str)
    owner = np.repeat([place for place, _ in kept], [len(objects.labels) for _, objects in kept])
    _, group = np.unique([found[place].group for place in owner], return_inverse=True)
    labels = np.concatenate([objects.labels for _, objects in kept])
    boxes = np.concatenate([objects.boxes for _, objects in kept])
    value, best = unlikeliness(np.concatenate([objects.features for _, objects in kept]), labels, group)
    return _worst_place(
        _Places(owner, labels, best, boxes, np.nan_to_num(value)),
        scores,
        UNLIKELY,
        lambda drawn, better: (
            f"An object drawn as {class_names[drawn]} looks like {class_names[better]} by its colours, shape, place "
            "and surroundings."
        ),
    )


@dataclass(frozen=True)
class _Places:
    """Doubted places of all items: whose, the class drawn, the class that fits better, the box, how strongly."""

    owner: npt.NDArray[np.intp]
    drawn: npt.NDArray[np.uint8]
    better: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.int32]
    value: Scores


def _worst_place(
    places: _Places, scores: Scores, floor: float, say: Callable[[int, int], str], weight: float = 1.0
) -> Judged:
    """Each item's worst place, beside the worst places of the others."""
    worst: dict[int, int] = {}
    for number in np.argsort(places.value, kind="stable"):
        worst[int(places.owner[number])] = int(number)
    for item, number in worst.items():
        scores[item] = places.value[number]
    where: dict[int, tuple[int, Box | None]] = {
        item: (int(places.drawn[number]), (x0, y0, x1, y1))
        for item, number in worst.items()
        for x0, y0, x1, y1 in [map(int, places.boxes[number])]
    }
    return Judged(
        weight * surprise(scores, floor),
        lambda item: say(int(places.drawn[worst[item]]), int(places.better[worst[item]])),
        where,
    )


def disputed(found: Sequence[Look], class_names: Sequence[str]) -> Judged:
    """A region where a model is sure of another class; NaN where no model was asked."""
    kept = [(place, look.seen.regions) for place, look in enumerate(found) if look.seen and look.seen.regions]
    asked = {place for place, _ in kept}
    scores = np.array([0.0 if place in asked else np.nan for place in range(len(found))])
    if not any(len(regions.weights) for _, regions in kept):
        return Judged(scores, str)
    owner = np.repeat([place for place, _ in kept], [len(regions.weights) for _, regions in kept])
    classes = np.concatenate([regions.classes for _, regions in kept])
    weight = np.log(np.concatenate([regions.weights for _, regions in kept]).astype(np.float64) + LEAST_WEIGHT)
    return _worst_place(
        _Places(
            owner,
            classes[:, 0],
            classes[:, 1],
            np.concatenate([regions.boxes for _, regions in kept]),
            _beside_usual(owner, classes, weight, len(kept)),
        ),
        scores,
        HEAVIER,
        lambda drawn, better: f"A model is sure of {class_names[better]} where the mask says {class_names[drawn]}.",
        INDIRECT,
    )


def _beside_usual(owner: npt.NDArray[np.intp], classes: npt.NDArray[np.uint8], weight: Scores, items: int) -> Scores:
    """How much heavier each region is than an item's heaviest region of the same two classes, in standard deviations.

    What the model confuses everywhere is its own fault; what it never does elsewhere is probably the mask's.
    """
    pair = classes[:, 0].astype(np.int64) * 256 + classes[:, 1]
    value = np.empty(len(weight))
    for each in np.unique(pair):
        inside = pair == each
        heaviest = np.full(items, np.log(LEAST_WEIGHT))
        _, item = np.unique(owner[inside], return_inverse=True)
        np.maximum.at(heaviest, item, weight[inside])  # the items without such a region keep the least
        value[inside] = (weight[inside] - heaviest.mean()) / (heaviest.std() + UNUSUAL)
    return value
