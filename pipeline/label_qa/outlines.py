"""How a mask was drawn: specks and holes, as damage and slips leave them, and outlines with few corners."""

from dataclasses import dataclass

import cc3d
import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

SPECK_PX = 12  # a component with fewer pixels is no object that somebody drew
FEWEST_LINES = 8  # rows, and columns, with changes of class: fewer say nothing of a grid
FEWEST_PX = 100  # outline pixels below which corners are not counted
STRAY_PX = 1.0  # an outline's polygon may stray so far
BLOCKS = (8, 6, 5, 4, 3, 2)
ON_GRID = 0.97  # of the changes of class, as many as this lie on the grid of a mask that was enlarged


@dataclass(frozen=True)
class Drawing:
    """How a mask was drawn.

    Attributes:
        specks: Tiny components of classes, per 10,000 pixels.
        holes: Tiny components of void, per 10,000 pixels.
        corners: Of the polygons that follow the outlines, per 100 pixels of outline; None with hardly an outline.
        block_px: Side of the squares that the mask consists of; 1 where it was drawn at its size.
    """

    specks: float
    holes: float
    corners: float | None
    block_px: int


def drawing(mask: Pixels, ignore_index: int) -> Drawing:
    """Measures how a mask was drawn.

    Args:
        mask: Shape (H, W).
        ignore_index: Void.
    """
    components = cc3d.connected_components(mask.astype(np.uint16) + 1, connectivity=8)
    sizes = np.bincount(components.ravel())
    tiny = (sizes > 0) & (sizes < SPECK_PX)
    void = np.zeros(len(sizes), bool)
    void[components.ravel()] = mask.ravel() == ignore_index
    per_10k = 10_000 / mask.size
    return Drawing(
        float((tiny & ~void).sum() * per_10k),
        float((tiny & void).sum() * per_10k),
        _corners(mask, ignore_index),
        _block_px(mask),
    )


def _corners(mask: Pixels, ignore_index: int) -> float | None:
    length = corners = 0.0
    for label in np.setdiff1d(np.unique(mask), [ignore_index]):
        outlines, _ = cv2.findContours((mask == label).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        for outline in outlines:
            if len(outline) >= SPECK_PX:
                length += len(outline)
                corners += len(cv2.approxPolyDP(outline, STRAY_PX, closed=True))
    return 100 * corners / length if length >= FEWEST_PX else None


def _block_px(mask: Pixels) -> int:
    """The largest grid that nearly all changes of class lie on, in both directions."""
    across = np.bincount(np.nonzero(mask[:, 1:] != mask[:, :-1])[1] + 1, minlength=mask.shape[1])
    down = np.bincount(np.nonzero(mask[1:] != mask[:-1])[0] + 1, minlength=mask.shape[0])
    lines = min(np.count_nonzero(across), np.count_nonzero(down))
    if min(across.sum(), down.sum()) < FEWEST_PX or lines < FEWEST_LINES:
        return 1
    return next((block for block in BLOCKS if min(_on_grid(across, block), _on_grid(down, block)) >= ON_GRID), 1)


def _on_grid(changes: npt.NDArray[np.int64], block: int) -> float:
    by_offset = np.bincount(np.arange(len(changes)) % block, changes, block)
    return float(by_offset.max() / changes.sum())
