"""Faults of known kind, put into real masks."""

import io
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

Mask = npt.NDArray[np.uint8]
Fault = Callable[[Mask, np.random.Generator], Mask]

VOID = 255
SMALL, LEAST_PX = 0.15, 60  # an object is a component of a class that covers less of the image, and not too little
STEP = 12  # grey levels between neighbouring classes of a mask that is stored as JPEG


def shifted(length: int) -> Fault:
    """The whole mask moved in any direction, its border repeated."""

    def fault(mask: Mask, rng: np.random.Generator) -> Mask:
        angle = rng.uniform(0, 2 * np.pi)
        move = np.array([[1, 0, round(length * np.cos(angle))], [0, 1, round(length * np.sin(angle))]], np.float32)
        size = mask.shape[1], mask.shape[0]
        moved = cv2.warpAffine(mask, move, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, np.uint8)

    return fault


def empty(mask: Mask, rng: np.random.Generator) -> Mask:
    """Nothing annotated: one class everywhere."""
    del rng
    return np.zeros_like(mask)


def exchanged(mask: Mask, rng: np.random.Generator) -> Mask:
    """The two largest classes in each other's place: of two classes, the mask inverted."""
    del rng
    counts = np.bincount(mask[mask != VOID].ravel(), minlength=2)
    one, other = np.argsort(-counts, kind="stable")[:2]
    return np.where(mask == one, other, np.where(mask == other, one, mask)).astype(np.uint8)


def as_jpeg(mask: Mask, rng: np.random.Generator) -> Mask:
    """Stored as JPEG of quality 75 on the way, so that outlines are lined with classes that lie between."""
    del rng
    known = np.unique(mask)
    file = io.BytesIO()
    Image.fromarray((np.searchsorted(known, mask) * STEP).astype(np.uint8)).save(file, "JPEG", quality=75)
    read = np.round(np.asarray(Image.open(file), np.float64) / STEP).astype(int)
    return known[np.clip(read, 0, len(known) - 1)].astype(np.uint8)


def enlarged(mask: Mask, rng: np.random.Generator) -> Mask:
    """Drawn at a quarter of the size, and enlarged."""
    del rng
    size = mask.shape[1], mask.shape[0]
    return np.asarray(cv2.resize(mask[::4, ::4], size, interpolation=cv2.INTER_NEAREST), np.uint8)


def dilated(mask: Mask, rng: np.random.Generator) -> Mask:
    """Every object four pixels too large."""
    del rng
    result, kernel = mask.copy(), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    for where, label in objects(mask):
        result[(cv2.dilate(where.astype(np.uint8), kernel) > 0) & (mask != VOID)] = label
    return result


def coarse(mask: Mask, rng: np.random.Generator) -> Mask:
    """Every object drawn as a polygon that strays up to six pixels."""
    del rng
    result = mask.copy()
    for where, label in objects(mask):
        outlines, _ = cv2.findContours(where.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.fillPoly(result, [cv2.approxPolyDP(outline, 6, closed=True) for outline in outlines], int(label))
    return result


def swapped(mask: Mask, rng: np.random.Generator) -> Mask:
    """One object of another class of the image."""
    found = list(objects(mask))
    if not found:
        return mask
    where, label = found[rng.integers(len(found))]
    others = np.setdiff1d(np.unique(mask), [VOID, label])
    return np.where(where, rng.choice(others), mask).astype(np.uint8) if others.size else mask


def missing(mask: Mask, rng: np.random.Generator) -> Mask:
    """One object drawn as the class that mostly surrounds it."""
    found = list(objects(mask))
    if not found:
        return mask
    where, _ = found[rng.integers(len(found))]
    ring = (cv2.dilate(where.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~where & (mask != VOID)
    return np.where(where, np.bincount(mask[ring]).argmax(), mask).astype(np.uint8) if ring.any() else mask


FAULTS: dict[str, Fault] = {
    **{f"shifted by {length} px": shifted(length) for length in (4, 8, 16, 24)},
    "empty": empty,
    "two classes exchanged": exchanged,
    "stored as JPEG": as_jpeg,
    "enlarged from a quarter": enlarged,
    "coarse, 6 px": coarse,
    "dilated by 4 px": dilated,
    "one object of a wrong class": swapped,
    "one object missing": missing,
}
WRONG = "of another image"


def objects(mask: Mask) -> Iterator[tuple[npt.NDArray[np.bool_], int]]:
    """The components that count as objects, with their class."""
    for label in np.setdiff1d(np.unique(mask), [VOID]):
        of_class = (mask == label).astype(np.uint8)
        if of_class.mean() < SMALL:
            count, components, stats, _ = cv2.connectedComponentsWithStats(of_class)
            large = [number for number in range(1, count) if stats[number, cv2.CC_STAT_AREA] >= LEAST_PX]
            yield from ((components == number, int(label)) for number in large)
