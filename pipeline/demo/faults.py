"""Annotators who err: label faults of known kind and place, and hands that are less than steady."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from pipeline.demo.canvas import BACKGROUND, FLOOR
from pipeline.params import Section

JITTER = "jitter"
NEAR_DUPLICATE = "near_duplicate"
FOREGROUND = FLOOR + 1


class FaultRates(Section):
    """Share of the items that get a fault of each kind; an item gets one at most, so they add up to at most 1.

    Attributes:
        shifted: The whole mask is moved.
        swapped: One object carries another class's id.
        missing: One object is labelled as what surrounds it.
        dilated: All objects are drawn too large.
        coarse: All objects are drawn as polygons of few corners.
        empty: Nothing is annotated.
    """

    shifted: float
    swapped: float
    missing: float
    dilated: float
    coarse: float
    empty: float


class FaultSizes(Section):
    """How large a fault is.

    Attributes:
        shift_px: A shifted mask is moved by half of this up to this, in any direction.
        dilate_px: How far dilated objects reach beyond their outline.
        coarse_px: How far a coarse polygon may stray from the outline.
        min_object_px: Smaller objects are neither swapped nor left out.
    """

    shift_px: float
    dilate_px: int
    coarse_px: float
    min_object_px: int


@dataclass(frozen=True)
class Fault:
    """What was done to a mask.

    Attributes:
        kind: A name of `FaultRates`, or `jitter`.
        detail: The particulars, such as the vector of a shift or the class of an object.
        bbox: Where pixels changed: x, y, width, height.
        changed_px: How many did.
    """

    kind: str
    detail: dict[str, Any] = field(default_factory=dict)
    bbox: tuple[int, int, int, int] = (0, 0, 0, 0)
    changed_px: int = 0

    def detail_json(self) -> str:
        """The particulars as JSON."""
        return json.dumps(self.detail, sort_keys=True)


Maker = Callable[[np.ndarray, np.random.Generator, FaultSizes], tuple[np.ndarray, dict[str, Any]]]


def fault_weights(skills: Mapping[str, float]) -> dict[str, float]:
    """How much more than the average an annotator errs: in proportion to what they lack in skill.

    Args:
        skills: Skill by annotator, 0 to 1; with skill 1 nobody errs.

    Returns:
        Factor on the fault rates by annotator; the mean is 1, or all are 0 when nobody lacks skill.
    """
    lack = {name: 1 - skill for name, skill in skills.items()}
    mean = sum(lack.values()) / len(lack)
    return {name: value / mean if mean > 0 else 0.0 for name, value in lack.items()}


def draw_kind(rng: np.random.Generator, rates: FaultRates, weight: float) -> str | None:
    """Which fault an item gets, if any.

    Args:
        rng: Decides.
        rates: The rates by kind.
        weight: The annotator's factor on them.
    """
    position = float(rng.random())
    for kind, rate in rates.model_dump().items():
        position -= rate * weight
        if position < 0:
            return str(kind)
    return None


def inject(mask: np.ndarray, kind: str, sizes: FaultSizes, rng: np.random.Generator) -> tuple[np.ndarray, Fault | None]:
    """Injects one fault.

    Args:
        mask: Shape: (H, W), uint8.
        kind: Its kind.
        sizes: How large it is.
        rng: Decides on the place.

    Returns:
        The faulty mask, and what was done; None when the mask offers no place for this kind and stays as it was.
    """
    faulty, detail = MAKERS[kind](mask, rng, sizes)
    return faulty, _fault(kind, detail, mask, faulty)


def jitter(mask: np.ndarray, amplitude_px: float, rng: np.random.Generator) -> tuple[np.ndarray, Fault | None]:
    """Moves the outlines by a smooth random field, as an unsteady hand does.

    Args:
        mask: Shape: (H, W), uint8.
        amplitude_px: Standard deviation of the displacement.
        rng: Draws the field.

    Returns:
        The mask, and what was done; None when nothing changed.
    """
    if amplitude_px <= 0:
        return mask, None
    height, width = mask.shape
    coarse = rng.standard_normal((height // 12 + 2, width // 12 + 2, 2), dtype=np.float32) * np.float32(amplitude_px)
    moves = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    shaky = cv2.remap(
        mask, columns + moves[:, :, 0], rows + moves[:, :, 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )
    return shaky, _fault(JITTER, {"amplitude_px": amplitude_px}, mask, shaky)


def _fault(kind: str, detail: dict[str, Any], clean: np.ndarray, faulty: np.ndarray) -> Fault | None:
    changed = (clean != faulty).astype(np.uint8)
    count = int(np.count_nonzero(changed))
    x, y, width, height = cv2.boundingRect(changed)
    return Fault(kind, detail, (int(x), int(y), int(width), int(height)), count) if count else None


def _shifted(mask: np.ndarray, rng: np.random.Generator, sizes: FaultSizes) -> tuple[np.ndarray, dict[str, Any]]:
    length, angle = sizes.shift_px * float(rng.uniform(0.5, 1)), float(rng.uniform(0, 2 * np.pi))
    dx, dy = round(length * np.cos(angle)), round(length * np.sin(angle))
    height, width = mask.shape
    rows = np.clip(np.arange(height) - dy, 0, height - 1)
    columns = np.clip(np.arange(width) - dx, 0, width - 1)
    return mask[np.ix_(rows, columns)], {"dx": dx, "dy": dy}


def _swapped(mask: np.ndarray, rng: np.random.Generator, sizes: FaultSizes) -> tuple[np.ndarray, dict[str, Any]]:
    found = _some_object(mask, rng, sizes)
    if found is None:
        return mask, {}
    where, label = found
    others = [other for other in range(FOREGROUND, FOREGROUND + 3) if other != label]
    wrong = int(rng.choice(others))
    return np.where(where, np.uint8(wrong), mask), {"class": label, "labelled": wrong}


def _missing(mask: np.ndarray, rng: np.random.Generator, sizes: FaultSizes) -> tuple[np.ndarray, dict[str, Any]]:
    found = _some_object(mask, rng, sizes)
    if found is None:
        return mask, {}
    where, label = found
    return _filled(mask, where), {"class": label}


def _dilated(mask: np.ndarray, rng: np.random.Generator, sizes: FaultSizes) -> tuple[np.ndarray, dict[str, Any]]:
    del rng
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * sizes.dilate_px + 1,) * 2)
    objects = np.where(mask >= FOREGROUND, mask, 0).astype(np.uint8)
    grown = cv2.dilate(objects, kernel)
    return np.where((mask < FOREGROUND) & (grown > 0), grown, mask), {"dilate_px": sizes.dilate_px}


def _coarse(mask: np.ndarray, rng: np.random.Generator, sizes: FaultSizes) -> tuple[np.ndarray, dict[str, Any]]:
    del rng
    drawn = _filled(mask, mask >= FOREGROUND)
    for label in np.unique(mask[mask >= FOREGROUND]):
        outlines, _ = cv2.findContours((mask == label).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        polygons = [cv2.approxPolyDP(outline, sizes.coarse_px, closed=True) for outline in outlines]
        cv2.fillPoly(drawn, polygons, int(label))
    return drawn, {"coarse_px": sizes.coarse_px}


def _empty(mask: np.ndarray, rng: np.random.Generator, sizes: FaultSizes) -> tuple[np.ndarray, dict[str, Any]]:
    del rng, sizes
    return np.full_like(mask, BACKGROUND), {}


MAKERS: dict[str, Maker] = {
    "shifted": _shifted,
    "swapped": _swapped,
    "missing": _missing,
    "dilated": _dilated,
    "coarse": _coarse,
    "empty": _empty,
}


def _some_object(mask: np.ndarray, rng: np.random.Generator, sizes: FaultSizes) -> tuple[np.ndarray, int] | None:
    """One connected object; the class is drawn first, so that rare classes are hit as often as common ones."""
    by_class: dict[int, list[np.ndarray]] = {}
    for label in (int(each) for each in np.unique(mask) if each >= FOREGROUND):
        count, components, stats, _ = cv2.connectedComponentsWithStats((mask == label).astype(np.uint8))
        large = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= sizes.min_object_px]
        if large:
            by_class[label] = [components == i for i in large]
    if not by_class:
        return None
    label = int(rng.choice(sorted(by_class)))
    return by_class[label][rng.integers(len(by_class[label]))], label


def _filled(mask: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Gives each pixel of the hole the class of the nearest pixel outside it, or background. Shape: (H, W), uint8."""
    from scipy.ndimage import distance_transform_edt

    if hole.all():
        return np.full_like(mask, BACKGROUND)
    nearest = distance_transform_edt(hole, return_distances=False, return_indices=True)
    filled: np.ndarray = mask[tuple(nearest)]
    return filled
