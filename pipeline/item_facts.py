"""The facts of one annotated image: what a catalogue row says about its bytes and pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cc3d
import cv2
import imagehash
import numpy as np
from PIL import Image

from pipeline.custom_checks import CustomCheck
from pipeline.files import sha256_bytes
from pipeline.images import ImageError, Limits, decode_image, decode_mask, image_facts

MASK_VALUES = 256
SATURATION_STEP = 2
EDGE_STEP = 2


@dataclass(frozen=True)
class FactSettings:
    """What the facts depend on besides the bytes.

    Attributes:
        num_classes: Classes have the ids 0 to num_classes - 1.
        ignore_index: The mask value of void.
        island_px: A connected component with fewer pixels is an island.
        edge_low: Lower threshold of the image's edges (Canny).
        edge_high: Upper threshold of the image's edges (Canny).
        limits: What is refused before it is decoded.
        custom: The user's own check.
    """

    num_classes: int
    ignore_index: int
    island_px: int
    edge_low: int
    edge_high: int
    limits: Limits
    custom: CustomCheck | None = None


def item_facts(
    image: bytes, mask: bytes, settings: FactSettings, row: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Measures one annotated image.

    Args:
        image: The encoded image.
        mask: The encoded mask.
        settings: What the facts depend on besides the bytes.
        row: What else the dataset says of the item, for the user's own check.

    Returns:
        Facts by column. Of a side that cannot be read, and of the distance between both, the columns are missing;
        `error` then says why. `custom` is what the user's own check has against an item that can be read.
    """
    facts: dict[str, Any] = {
        "image_sha256": sha256_bytes(image),
        "mask_sha256": sha256_bytes(mask),
        "bytes": len(image),
        "edge_distance_px": float("nan"),
    }
    errors: list[str] = []
    rgb = grey = labels = None
    try:
        facts["mode"] = image_facts(image, settings.limits).mode
        rgb = decode_image(image, settings.limits)
        grey = Image.fromarray(rgb).convert("L")
        facts |= pixel_facts(rgb, grey)
    except ImageError as error:
        errors.append(f"image: {error}")
    try:
        labels = decode_mask(mask, settings.limits)
        facts |= mask_facts(labels, settings)
    except ImageError as error:
        errors.append(f"mask: {error}")
    if grey is not None and labels is not None and grey.size == labels.shape[::-1]:
        facts["edge_distance_px"] = edge_distance(np.asarray(grey), labels, settings)
    if (
        settings.custom and rgb is not None and labels is not None
    ):  # last, since it may do with the pixels what it likes
        facts["custom"] = settings.custom.reason(facts | dict(row or {}), rgb, labels)
    return facts | {"error": "; ".join(errors) or None}


def pixel_facts(rgb: np.ndarray, grey: Image.Image) -> dict[str, Any]:
    """Measures an image's pixels.

    Args:
        rgb: Shape (H, W, 3), uint8.
        grey: Its luma (ITU-R 601-2), mode L.

    Returns:
        width, height; `phash`, 64 bits in hexadecimal (the DCT hash of imagehash); brightness and contrast (mean and
        standard deviation of luma, 0 to 255); saturation (mean of HSV saturation, 0 to 1); blur (variance of the
        Laplacian, after Pech-Pacheco et al. 2000: the lower, the more blurred).
    """
    luma = np.asarray(grey)
    mean, deviation = cv2.meanStdDev(luma)
    _, sharpness = cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))
    # The mean over every second row and column differs by less than any use of it, at a quarter of the time.
    thinned = np.ascontiguousarray(rgb[::SATURATION_STEP, ::SATURATION_STEP])
    saturation = cv2.mean(cv2.cvtColor(thinned, cv2.COLOR_RGB2HSV))[1]
    return {
        "width": luma.shape[1],
        "height": luma.shape[0],
        "phash": str(imagehash.phash(grey)),
        "brightness": float(mean[0, 0]),
        "contrast": float(deviation[0, 0]),
        "saturation": saturation / np.iinfo(np.uint8).max,
        "blur": float(sharpness[0, 0] ** 2),
    }


def mask_facts(mask: np.ndarray, settings: FactSettings) -> dict[str, Any]:
    """Counts a mask's pixels and connected components by class.

    All classes are labelled in one pass (8-connected), and everything is counted over runs of equal labels, of which
    there are hundreds of times fewer than pixels.

    Args:
        mask: Shape (H, W), uint8; values that are neither a class nor void are listed in `unknown_values`.
        settings: Classes, void and the size of an island.

    Returns:
        mask_width, mask_height, `class_px` (C,), void_px, unknown_values ("7 12"; "" when there are none),
        `components` (C,) and `islands` (C,).
    """
    components, count = _components(mask, settings.ignore_index)
    flat = components.ravel()
    starts = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    lengths = np.diff(starts, append=flat.size)
    values, labels = mask.ravel()[starts], flat[starts]
    px = np.bincount(values, weights=lengths, minlength=MASK_VALUES).astype(np.int64)
    component_px = np.bincount(labels, weights=lengths, minlength=count + 1)[1:]
    component_class = np.zeros(count + 1, dtype=np.uint8)
    component_class[labels] = values
    islands = component_class[1:][component_px < settings.island_px]
    classes = settings.num_classes
    unknown = [v for v in np.flatnonzero(px).tolist() if v >= classes and v != settings.ignore_index]
    return {
        "mask_width": mask.shape[1],
        "mask_height": mask.shape[0],
        "class_px": px[:classes],
        "void_px": int(px[settings.ignore_index]),
        "unknown_values": " ".join(map(str, unknown)),
        "components": np.bincount(component_class[1:], minlength=classes)[:classes],
        "islands": np.bincount(islands, minlength=classes)[:classes],
    }


def edge_distance(grey: np.ndarray, mask: np.ndarray, settings: FactSettings) -> float:
    """Mean distance of the mask's edges to the nearest edge of the image: large where a mask is shifted.

    Args:
        grey: Shape (H, W), uint8 luma.
        mask: Shape (H, W), uint8; borders of void are no edges.
        settings: Void and the thresholds of the image's edges.

    Returns:
        Pixels; NaN when the mask or the image has no edge.
    """
    # Half the size is a quarter of the time, and averages the noise that would pass for edges.
    half = cv2.resize(grey, None, fx=1 / EDGE_STEP, fy=1 / EDGE_STEP, interpolation=cv2.INTER_AREA)
    seen = cv2.Canny(half, settings.edge_low, settings.edge_high)
    rows, columns = np.divmod(np.flatnonzero(mask_edges(mask, settings.ignore_index)), mask.shape[1])
    if rows.size == 0 or not seen.any():
        return float("nan")
    distance = cv2.distanceTransform(cv2.bitwise_not(seen), cv2.DIST_L2, cv2.DIST_MASK_3)
    bottom, right = half.shape[0] - 1, half.shape[1] - 1
    nearest = distance[np.minimum(rows // EDGE_STEP, bottom), np.minimum(columns // EDGE_STEP, right)]
    return float(nearest.mean()) * EDGE_STEP


def mask_edges(mask: np.ndarray, ignore_index: int) -> np.ndarray:
    """Pixels whose right or lower neighbour is of another class. Shape: (H, W), bool; void borders do not count."""
    labelled = mask != ignore_index
    edges = np.zeros(mask.shape, dtype=bool)
    edges[:, :-1] = (mask[:, :-1] != mask[:, 1:]) & labelled[:, :-1] & labelled[:, 1:]
    edges[:-1] |= (mask[:-1] != mask[1:]) & labelled[:-1] & labelled[1:]
    return edges


def _components(mask: np.ndarray, ignore_index: int) -> tuple[np.ndarray, int]:
    """Numbers the 8-connected components of equal value from 1; void is 0. Shape: (H, W)."""
    # The library takes 0 for background: shifting by one modulo 256 moves void there and keeps the rest apart.
    shifted = mask - np.uint8(ignore_index)
    components, count = cc3d.connected_components(shifted, connectivity=8, return_N=True)
    return components, count
