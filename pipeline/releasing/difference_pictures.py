"""Pictures of relabelled items: the image with its old mask, with its new one, and what changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.gallery import file_names
from pipeline.images import ImageError, colour_mask, decode_image, decode_mask, encode_image, overlay
from pipeline.releasing.comparison import same_class
from pipeline.releasing.reader import Release
from pipeline.show import Painting
from pipeline.taxonomy import Taxonomy

Pixels = npt.NDArray[np.uint8]

PANELS = ("image", "before", "after", "changed")
CHANGED = (230, 30, 30)
GAP_PX = 4


@dataclass(frozen=True)
class Picture:
    """One item's panels side by side.

    Attributes:
        item_id: The item.
        file: The picture's name.
        png: The picture.
    """

    item_id: str
    file: str
    png: bytes


@dataclass(frozen=True)
class _Side:
    image: Pixels
    mask: Pixels
    taxonomy: Taxonomy


def pictures(
    old: Release, new: Release, item_ids: Sequence[str], painting: Painting, longest_px: int
) -> Iterator[Picture]:
    """Draws items; those that cannot be decoded are left out.

    Args:
        old: The release before.
        new: The release after.
        item_ids: Items of both.
        painting: Limits and the weight of the overlays; each side is painted in the colours of its own taxonomy.
        longest_px: Longest side of a panel.

    Yields:
        In the order of the items.
    """
    files = file_names(item_ids)
    for item_id in item_ids:
        try:
            before, after = (_side(release, item_id, painting) for release in (old, new))
        except ImageError:
            continue
        panels = [after.image, _overlaid(before, painting), _overlaid(after, painting), _changes(before, after)]
        yield Picture(item_id, files[item_id], _strip(panels, longest_px))


def changes(image: Pixels, changed: npt.NDArray[np.bool_]) -> Pixels:
    """The image in faint grey, changed pixels in red. Shapes: image (H, W, 3), changed (H, W) -> (H, W, 3), uint8."""
    grey = image.mean(axis=2, keepdims=True) * 0.4 + 130
    shown = np.repeat(grey, 3, axis=2).astype(np.uint8)
    shown[changed] = CHANGED
    return shown


def _side(release: Release, item_id: str, painting: Painting) -> _Side:
    _, image, mask = release.item(item_id)
    return _Side(decode_image(image, painting.limits), decode_mask(mask, painting.limits), release.taxonomy)


def _overlaid(side: _Side, painting: Painting) -> Pixels:
    palette = side.taxonomy.palette()
    if side.mask.shape != side.image.shape[:2]:
        return colour_mask(side.mask, palette)
    return overlay(side.image, side.mask, palette, painting.alpha)


def _changes(before: _Side, after: _Side) -> Pixels:
    if before.mask.shape != after.mask.shape or after.mask.shape != after.image.shape[:2]:
        return changes(after.image, np.ones(after.image.shape[:2], dtype=bool))
    same = same_class(before.taxonomy, after.taxonomy)
    rows, columns = np.minimum(before.mask, same.shape[0] - 1), np.minimum(after.mask, same.shape[1] - 1)
    return changes(after.image, ~same[rows, columns])


def _strip(panels: list[Pixels], longest_px: int) -> bytes:
    height, width = panels[0].shape[:2]
    step = max(max(height, width) / longest_px, 1.0)
    size = max(round(width / step), 1), max(round(height / step), 1)
    shown = [np.asarray(Image.fromarray(panel).resize(size, Image.Resampling.BOX)) for panel in panels]
    gap = np.full((size[1], GAP_PX, 3), 255, np.uint8)
    return encode_image(np.hstack([part for panel in shown for part in (panel, gap)][:-1]))
