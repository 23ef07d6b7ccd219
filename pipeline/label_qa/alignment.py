"""Whether a mask's outlines lie on the image's edges, and whether they would lie better elsewhere."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.item_facts import mask_edges

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

LONGEST_PX = 640  # larger images are reduced: their outlines are drawn less finely than their pixels
SMOOTHING_PX, LOCAL_PX = 1.0, 12.0
FAINT = 4.0  # gradients of noise, in steps of CIELAB's 8-bit values; keeps flat regions from being stretched
IN_PLACE_PX = 2  # an outline drawn this near to the edge is in place
ELSEWHERE_PX = 6  # places this far away tell what the agreement is by chance
REACH_PX = 40  # how far away a better place is looked for
FEWEST = 20  # outline pixels below which nothing is said


@dataclass(frozen=True)
class Alignment:
    """How a mask's outlines agree with the image's edges.

    Attributes:
        in_place: The agreement where the mask lies, in standard deviations of what it is elsewhere.
        gain: How much better it is at the best place within reach, in the same unit; 0 where it lies best.
        dx: By how many pixels the mask must move to the right to lie there.
        dy: The same, downwards.
    """

    in_place: float
    gain: float
    dx: int
    dy: int


def align(image: Pixels, mask: Pixels, ignore_index: int) -> Alignment | None:
    """Compares a mask's outlines with the image's edges at every place within reach, by their cross-correlation.

    Args:
        image: Shape (H, W, 3), RGB.
        mask: Shape (H, W).
        ignore_index: Void; its borders are no outlines.

    Returns:
        None where the mask has hardly an outline, or the image no edge.
    """
    step = max(max(mask.shape) / LONGEST_PX, 1.0)
    if step > 1:
        size = max(round(mask.shape[1] / step), 1), max(round(mask.shape[0] / step), 1)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8)
    outline = mask_edges(mask, ignore_index)
    if np.count_nonzero(outline) < FEWEST:
        return None
    agreement = _agreement(edge_strength(image), outline)
    rows, columns = np.mgrid[-REACH_PX : REACH_PX + 1, -REACH_PX : REACH_PX + 1]
    away = np.hypot(rows, columns)
    chance = agreement[away > ELSEWHERE_PX]
    if not chance.std() > 0:
        return None
    levels = (agreement - chance.mean()) / chance.std()
    here = float(levels[away <= IN_PLACE_PX].max())
    best = int(np.argmax(np.where(away <= REACH_PX, levels, -np.inf)))
    gain = float(levels.flat[best]) - here
    moved = (columns.flat[best], rows.flat[best]) if gain > 0 else (0, 0)
    return Alignment(here, max(gain, 0.0), *(round(each * step) for each in moved))


def edge_strength(image: Pixels) -> Floats:
    """How strong the edge at a pixel is beside those around it: the largest gradient of the channels of CIELAB.

    Args:
        image: Shape (H, W, 3), RGB.

    Returns:
        Shape (H, W), mean about 0.
    """
    smooth = cv2.GaussianBlur(image, (0, 0), SMOOTHING_PX)
    lab = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB).astype(np.float32)
    gradients = [
        np.hypot(cv2.Sobel(each, cv2.CV_32F, 1, 0), cv2.Sobel(each, cv2.CV_32F, 0, 1)) for each in cv2.split(lab)
    ]
    strongest = np.maximum.reduce(gradients)
    relative = strongest / (cv2.GaussianBlur(strongest, (0, 0), LOCAL_PX) + FAINT)
    return np.asarray(relative - relative.mean(), np.float32)


def _agreement(edges: Floats, outline: npt.NDArray[np.bool_]) -> Floats:
    """Mean strength under the outline when it is moved by each (dy, dx) within reach; (2 * reach + 1,) twice."""
    size = tuple(side + 2 * REACH_PX for side in outline.shape)  # room for moves, so that nothing wraps around
    spectrum = np.fft.rfft2(edges, size) * np.conj(np.fft.rfft2(outline.astype(np.float32), size))
    everywhere = np.roll(np.fft.irfft2(spectrum, size), (REACH_PX, REACH_PX), (0, 1))
    near = everywhere[: 2 * REACH_PX + 1, : 2 * REACH_PX + 1] / np.count_nonzero(outline)
    return np.asarray(near, np.float32)
