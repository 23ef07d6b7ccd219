"""Seeded scenes with masks drawn soundly or wrong on purpose, and what the label check measures of them."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from pipeline.files import sha256_bytes
from pipeline.images import Limits
from pipeline.label_qa.disagreement import Opinion, disputed_regions
from pipeline.label_qa.looks import Look, Looking, see

NAMES = ["background", "floor", "pallet", "human", "obstacle"]
VOID = 255
HEIGHT, WIDTH = 120, 160
COLOURS = np.array([[70, 80, 90], [185, 175, 150], [225, 140, 30], [200, 30, 50], [40, 90, 200]])
LOOKING = Looking(Path(), len(NAMES), VOID, Limits(max_bytes=2**24, max_pixels=2**22))
LEAST = 2.5


@cache
def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image with a horizon and an ellipse or two of each class of object, and the mask that fits it.

    Returns:
        Shapes (H, W, 3) and (H, W), uint8; do not change them.
    """
    rng = np.random.default_rng(number)
    real, mask = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    across = np.arange(WIDTH)
    horizon = 50 + rng.uniform(-5, 5) + 4 * np.sin(across / rng.uniform(9, 14) + rng.uniform(0, 6))
    real[np.arange(HEIGHT)[:, None] > horizon] = mask[np.arange(HEIGHT)[:, None] > horizon] = 1
    for place, label in enumerate((2, 3, 4, 2, 3, 4)):
        middle = np.array([rng.integers(16, 36) + 52 * (place % 3), rng.integers(66, 74) + 32 * (place // 3)])
        axes, angle = rng.integers(8, 15, 2).tolist(), float(rng.uniform(0, 180))
        hand = rng.integers(-(number % 4), number % 4 + 1, 2)  # some draw less carefully than others
        cv2.ellipse(real, middle.tolist(), axes, angle, 0, 360, label, -1)
        cv2.ellipse(mask, (middle + hand).tolist(), axes, angle, 0, 360, label, -1)
    return (COLOURS[real] + rng.normal(0, 9, (*real.shape, 3))).clip(0, 255).astype(np.uint8), mask


def opinion_of(truth: np.ndarray, mask: np.ndarray) -> Opinion:
    """What a model says that is nearly sure of the true mask."""
    given = np.where(mask == VOID, 0, np.where(truth == mask, 0.95, 0.02))
    return Opinion(truth, np.full(truth.shape, 0.95, np.float32), given.astype(np.float32))


def look(name: str, image: np.ndarray, mask: np.ndarray, truth: np.ndarray | None = None, **facts: object) -> Look:
    """One item as the check sees it; with the true mask a model has judged it."""
    seen = see(image, mask, LOOKING, [])
    if truth is not None:
        seen = replace(seen, regions=disputed_regions(mask, opinion_of(truth, mask), len(NAMES)))
    made = Look(name, 1, name, -1, sha256_bytes(image.tobytes()), sha256_bytes(mask.tobytes()), None, seen)
    return replace(made, **facts)  # type: ignore[arg-type] # the fields of a look


@cache
def sound(count: int) -> tuple[Look, ...]:
    """Sound masks, each of a group of its own."""
    return tuple(look(f"sound-{number:02}", *scene(number), scene(number)[1]) for number in range(count))


def as_jpeg_leaves_it(mask: np.ndarray) -> np.ndarray:
    """A mask after it was stored as JPEG in grey levels."""
    _, stored = cv2.imencode(".jpg", mask * 50, [cv2.IMWRITE_JPEG_QUALITY, 40])
    return (cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE).astype(float) / 50).round().clip(0, 4).astype(np.uint8)


def enlarged(mask: np.ndarray, factor: int) -> np.ndarray:
    """A mask as one that was drawn at a lower size."""
    return np.kron(mask[::factor, ::factor], np.ones((factor, factor), np.uint8))


def of_few_corners(mask: np.ndarray) -> np.ndarray:
    """Objects as rough polygons, and a straight horizon."""
    drawn = np.zeros_like(mask)
    for label in range(1, len(NAMES)):
        outlines, _ = cv2.findContours((mask == label).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for outline in outlines:
            cv2.fillPoly(drawn, [cv2.approxPolyDP(outline, 4.0, closed=True)], label)
    return drawn


def exchanged(mask: np.ndarray, one: int, other: int) -> np.ndarray:
    """A mask in which two classes changed places."""
    return np.where(mask == one, other, np.where(mask == other, one, mask)).astype(np.uint8)


def misnamed(mask: np.ndarray, drawn: int, wrong: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """A mask whose largest object of a class has another class, and the object's box."""
    _, components, stats, _ = cv2.connectedComponentsWithStats((mask == drawn).astype(np.uint8))
    number = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    x, y, wide, tall = (int(each) for each in stats[number, :4])
    return np.where(components == number, np.uint8(wrong), mask), (x, y, x + wide, y + tall)
