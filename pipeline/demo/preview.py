"""A contact sheet of the demo dataset: each picture above its mask."""

import cv2
import numpy as np

from pipeline.images import encode_image
from pipeline.parts import Item

COLUMNS = 4
# Only to look at: the colours that count are those of the taxonomy file.
COLOURS = np.array([(91, 103, 112), (183, 165, 122), (224, 138, 30), (215, 38, 61), (63, 136, 197)], np.uint8)


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
    return encode_image(np.vstack(rows))


def _cell(item: Item) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(item.image, np.uint8), cv2.IMREAD_COLOR_RGB)
    mask = cv2.imdecode(np.frombuffer(item.mask, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    assert mask is not None
    return np.vstack([image, cv2.addWeighted(image, 0.35, COLOURS[mask], 0.65, 0)])
