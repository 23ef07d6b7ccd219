"""What a mask's objects look like, so that one drawn in a wrong class stands out among those of its class.

An object is a connected component of a class that covers little of the image. It is described by what a class is known
by: where it stands, its size and shape, its colours beside those around it, and the classes that surround it, in its
own mask and at the same place in the frames before and after.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

LEAST_PX = 60  # smaller components say too little
LARGEST_SHARE = 0.15  # of the image; larger ones are no objects but the scene
MOST = 32  # objects of an image, the largest; bounds the memory
RING_PX = 3  # an object's surroundings are this wide
SPACE_PX = 4


@dataclass(frozen=True)
class Objects:
    """The objects of one image.

    Attributes:
        labels: Shape (K,), uint8: the class that each was drawn in.
        boxes: Shape (K, 4), int32: left, top, right, bottom in pixels, the latter two exclusive.
        features: Shape (K, 19 + 2 (C + 1)), float16: those of all items are held at once.
    """

    labels: Pixels
    boxes: npt.NDArray[np.int32]
    features: npt.NDArray[np.float16]


def objects_of(image: Pixels, mask: Pixels, num_classes: int, neighbours: Sequence[Pixels] = ()) -> Objects:
    """Finds and describes the objects of an annotated image.

    Args:
        image: Shape (H, W, 3), RGB.
        mask: Shape (H, W).
        num_classes: C; larger values are void.
        neighbours: Masks of the frames before and after, of the same shape; others are left out.
    """
    components = cc3d.connected_components(mask.astype(np.uint16) + 1, connectivity=8)
    facts = cc3d.statistics(components)
    sizes = np.asarray(facts["voxel_counts"], np.int64)
    first = np.array([box[0].start if box else 0 for box in facts["bounding_boxes"]])
    described = _Scene(image, mask, num_classes, neighbours)
    fit = np.flatnonzero((sizes >= LEAST_PX) & (sizes <= LARGEST_SHARE * mask.size) & (first >= 0))
    kept = fit[np.argsort(-sizes[fit], kind="stable")]
    labels, boxes, features = [], [], []
    for number in kept:
        rows, columns = facts["bounding_boxes"][number][:2]
        inside = components[rows, columns] == number
        label = int(mask[rows, columns][inside][0])
        if label >= num_classes or number == 0:
            continue
        labels.append(label)
        boxes.append([columns.start, rows.start, columns.stop, rows.stop])
        features.append(described.features(inside, rows, columns))
        if len(labels) == MOST:
            break
    width = described.width
    return Objects(
        np.array(labels, np.uint8),
        np.array(boxes, np.int32).reshape(-1, 4),
        np.array(features, np.float16).reshape(-1, width),
    )


class _Scene:
    """One image and its mask, as the descriptions of its objects need them."""

    def __init__(self, image: Pixels, mask: Pixels, num_classes: int, neighbours: Sequence[Pixels]) -> None:
        self.count = num_classes + 1
        self.width = 19 + 2 * self.count
        self.lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
        light = self.lab[..., 0]
        self.gradient = np.hypot(cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1))
        self.classes = np.minimum(mask, num_classes)
        self.neighbours = [np.minimum(each, num_classes) for each in neighbours if each.shape == mask.shape]

    def features(self, inside: npt.NDArray[np.bool_], rows: slice, columns: slice) -> list[float]:
        """Of one object, given by its pixels in its box."""
        height, width = self.classes.shape
        space = np.s_[
            max(rows.start - SPACE_PX, 0) : min(rows.stop + SPACE_PX, height),
            max(columns.start - SPACE_PX, 0) : min(columns.stop + SPACE_PX, width),
        ]
        own = np.zeros(self.classes[space].shape, np.uint8)
        y, x = rows.start - space[0].start, columns.start - space[1].start
        own[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        kernel = np.ones((2 * RING_PX + 1, 2 * RING_PX + 1), np.uint8)
        around = (cv2.dilate(own, kernel) > 0) & (own == 0)
        mine = own > 0
        colours = self.lab[space]
        mean, spread = colours[mine].mean(axis=0), colours[mine].std(axis=0)
        beside = colours[around].mean(axis=0) if around.any() else mean
        return [
            *_shape(inside, rows, columns, height, width),
            *mean,
            *spread,
            *(mean - beside),
            float(self.gradient[space][mine].mean()),
            float(bool(self.neighbours)),
            *_shares(self.classes[space][around], self.count),
            *_shares(
                np.concatenate([np.zeros(0, np.uint8), *(each[space].ravel() for each in self.neighbours)]), self.count
            ),
        ]


def _shape(inside: npt.NDArray[np.bool_], rows: slice, columns: slice, height: int, width: int) -> list[float]:
    area = int(inside.sum())
    tall, wide = inside.shape
    return [
        float(np.log(area / (height * width))),
        (columns.start + columns.stop) / 2 / width,
        (rows.start + rows.stop) / 2 / height,
        wide / width,
        tall / height,
        float(np.log(wide / tall)),
        area / (wide * tall),
        rows.stop / height,
    ]


def _shares(values: npt.NDArray[np.generic], count: int) -> Floats:
    counts = np.bincount(values.astype(np.intp), minlength=count)
    shares: Floats = (counts / max(counts.sum(), 1)).astype(np.float32)
    return shares
