"""Your own check of each annotated image: what it says against one puts that one into quarantine, with the reason.

`segloop catalog` calls `check` on every item whose image and mask can be read, in its worker processes, and asks
again whenever this file changes. An exception counts as a reason; the other items go on. `catalog.custom` of
params.yaml names this file; null runs no check.

Example: people on the site wear a vest, so a mask with a human but not one orange pixel in the image is odd:

    def check(item, image, mask):
        human = mask == 3
        orange = (image[..., 0] > 200) & (image[..., 1] > 80) & (image[..., 2] < 90)
        if human.sum() > 500 and not orange[human].any():
            return f"a human of {human.sum()} px without a vest, camera {item['camera']}"
        return None
"""

from typing import Any

import numpy as np


def check(item: dict[str, Any], image: np.ndarray, mask: np.ndarray) -> str | None:
    """Judges one item.

    Args:
        item: The columns of the dataset (item_id, group, annotator, captured_at, source, your slices, ...) and of the
            catalogue (width, brightness, blur, class_px, ...).
        image: Shape (H, W, 3), uint8 RGB.
        mask: Shape (H, W), uint8: class ids of the taxonomy, 255 is void.

    Returns:
        Why the item is to be left out; None when nothing is wrong with it.
    """
    del item, image, mask
    return None
