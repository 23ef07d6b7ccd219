"""Where a model that is sure of itself contradicts a mask: regions, with the classes that stand against each other."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.inference import Rows, Segmenter

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

LEAST_RATIO = 2.0  # of the probabilities of both classes, from which a pixel is disputed
OUTLINE_PX = 1  # outlines are never drawn to the pixel: regions are made narrower by this on each side
LEAST_PX = 12
MOST = 10  # regions of an image, the weightiest; bounds the memory
CEILING = 0.01  # added to probabilities, so that no pixel weighs more than the log of a hundred


@dataclass(frozen=True)
class Opinion:
    """What a model says of an annotated image.

    Attributes:
        labels: Shape (H, W), uint8: the class it sees.
        confidence: Shape (H, W), float32: the probability of that class.
        given: Shape (H, W), float32: the probability of the class of the mask; 0 in void.
    """

    labels: Pixels
    confidence: Floats
    given: Floats


@dataclass(frozen=True)
class Regions:
    """The disputed regions of one image.

    Attributes:
        classes: Shape (R, 2), uint8: the mask's class, the model's.
        boxes: Shape (R, 4), int32: left, top, right, bottom in pixels, the latter two exclusive.
        weights: Shape (R,), float32: the log ratio of both classes' probabilities, summed over the region, per labelled
            pixel of the image.
        disputed: Shape (C,), float32: of each class's pixels in the mask, the share that is disputed; NaN without any.
    """

    classes: Pixels
    boxes: npt.NDArray[np.int32]
    weights: Floats
    disputed: Floats


def opinion(segmenter: Segmenter, image: Pixels, mask: Pixels) -> Opinion:
    """Asks a model about an annotated image; larger ones by tiles, with only a strip's probabilities in memory.

    Args:
        segmenter: The model.
        image: Shape (H, W, 3), RGB.
        mask: Shape (H, W).
    """
    given = np.zeros(mask.shape, np.float32)

    def visit(rows: Rows) -> None:
        here = slice(rows.y0, rows.y0 + len(rows.labels))
        given[here] = given_probability(rows.probabilities, mask[here])

    seen = segmenter.predict_rows(image, visit)
    return Opinion(seen.labels, seen.confidence, given)


def given_probability(probabilities: Floats, mask: Pixels) -> Floats:
    """The probability of the mask's class at each pixel; 0 where that is no class.

    Args:
        probabilities: Shape (C, H, W).
        mask: Shape (H, W).
    """
    known = mask < len(probabilities)
    wanted = np.where(known, mask, 0)[np.newaxis]
    return np.where(known, np.take_along_axis(probabilities, wanted, axis=0)[0], np.float32(0))


def disputed_regions(mask: Pixels, opinion: Opinion, num_classes: int) -> Regions:
    """The regions where the model sees another class, the weightiest first.

    Args:
        mask: Shape (H, W); values that are no class are void.
        opinion: Of the same shape.
        num_classes: C.
    """
    known = mask < num_classes
    ratio = (opinion.confidence + CEILING) / (opinion.given + CEILING)
    disputed = known & (opinion.labels != mask) & (ratio > LEAST_RATIO)
    weight = np.log(ratio, where=disputed, out=np.zeros_like(ratio))
    found: list[tuple[float, tuple[int, int], list[int]]] = []
    of_class = np.bincount(mask[known], minlength=num_classes)[:num_classes]
    of_class_disputed = np.bincount(mask[disputed], minlength=num_classes)[:num_classes]
    for label in np.flatnonzero(of_class_disputed):
        found += _of_class(int(label), disputed & (mask == label), weight, opinion.labels)
    found.sort(key=lambda each: -each[0])
    found = found[:MOST]
    total = max(int(of_class.sum()), 1)
    share = np.full(num_classes, np.nan, np.float32)
    np.divide(of_class_disputed, of_class, out=share, where=of_class > 0, casting="unsafe")
    return Regions(
        np.array([classes for _, classes, _ in found], np.uint8).reshape(-1, 2),
        np.array([box for _, _, box in found], np.int32).reshape(-1, 4),
        np.array([each / total for each, _, _ in found], np.float32),
        share,
    )


def _of_class(
    label: int, disputed: npt.NDArray[np.bool_], weight: Floats, labels: Pixels
) -> list[tuple[float, tuple[int, int], list[int]]]:
    side = 2 * OUTLINE_PX + 1
    inner = cv2.erode(disputed.astype(np.uint8), np.ones((side, side), np.uint8))
    count, components, stats, _ = cv2.connectedComponentsWithStats(inner)
    if count == 1:
        return []
    weights = np.bincount(components.ravel(), weight.ravel(), count)
    found = []
    for number in range(1, count):
        x, y, wide, tall, area = (int(each) for each in stats[number])
        if area >= LEAST_PX:
            box = np.s_[y : y + tall, x : x + wide]
            seen = int(np.bincount(labels[box][components[box] == number]).argmax())
            height, width = disputed.shape
            whole = [
                max(x - OUTLINE_PX, 0),
                max(y - OUTLINE_PX, 0),
                min(x + wide + OUTLINE_PX, width),
                min(y + tall + OUTLINE_PX, height),
            ]  # as wide as it was before it was made narrower
            found.append((float(weights[number]), (label, seen), whole))
    return found
