"""A contact sheet of the demo dataset: each picture above its mask, a legend below all."""

import cv2
import numpy as np

from pipeline.demo.canvas import CLASS_NAMES
from pipeline.images import encode_image
from pipeline.parts import Item

COLUMNS = 4
# Only to look at: the colours that count are those of the taxonomy file.
COLOURS = np.array([(91, 103, 112), (183, 165, 122), (224, 138, 30), (215, 38, 61), (63, 136, 197)], np.uint8)

LINE_PX, SWATCH_PX, GAP_PX = 20, 10, 5
FONT = (cv2.FONT_HERSHEY_SIMPLEX, 0.4)  # and its scale


def contact_sheet(items: list[Item]) -> bytes:
    """Lays out items of one size in rows, the mask in colours below each picture.

    Args:
        items: At least one.

    Returns:
        A PNG.
    """
    cells = [_cell(item) for item in items]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % COLUMNS)
    rows = [np.hstack(cells[i : i + COLUMNS]) for i in range(0, len(cells), COLUMNS)]
    return encode_image(np.vstack([*rows, legend(rows[0].shape[1])]))


def legend(width: int) -> np.ndarray:
    """The classes' colours with their names, in as many lines as they need.

    Args:
        width: In px.

    Returns:
        Shape (H, width, 3), uint8 RGB.
    """
    strip = np.full((LINE_PX, width, 3), 255, np.uint8)
    left = GAP_PX
    for name, colour in zip(CLASS_NAMES, COLOURS, strict=True):
        (text_px, _), _ = cv2.getTextSize(name, *FONT, 1)
        if left > GAP_PX and left + SWATCH_PX + text_px + 2 * GAP_PX > width:
            strip = np.vstack([strip, np.full((LINE_PX, width, 3), 255, np.uint8)])
            left = GAP_PX
        bottom = strip.shape[0] - GAP_PX
        strip[bottom - SWATCH_PX : bottom, left : left + SWATCH_PX] = colour
        left += SWATCH_PX + GAP_PX
        cv2.putText(strip, name, (left, bottom - 1), *FONT, (0, 0, 0), 1, cv2.LINE_AA)
        left += text_px + 2 * GAP_PX
    return strip


def _cell(item: Item) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(item.image, np.uint8), cv2.IMREAD_COLOR_RGB)
    mask = cv2.imdecode(np.frombuffer(item.mask, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    assert mask is not None
    return np.vstack([image, cv2.addWeighted(image, 0.35, COLOURS[mask], 0.65, 0)])
