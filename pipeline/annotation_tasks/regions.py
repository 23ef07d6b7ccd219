"""A mask as regions, one of each class, and regions painted over each other as a mask."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from pipeline.files import sha256_bytes
from pipeline.taxonomy import Taxonomy

Mask = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.bool_]


class AnswerError(ValueError):
    """What an annotation tool holds of one item cannot be used; the message is the reason."""


@dataclass(frozen=True)
class Answer:
    """What an annotation tool holds of one item.

    Attributes:
        mask: What is drawn. Shape: (H, W), taxonomy ids.
        seen: Whether the file shows that somebody has looked at the image.
        at: When it was answered, as far as the file tells.
    """

    mask: Mask
    seen: bool
    at: datetime | None


def moment(text: object) -> datetime | None:
    """A moment with its zone, as tools write it; None for whatever is none, since no order can be told by it."""
    try:
        found = datetime.fromisoformat(text.strip()) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None


@dataclass(frozen=True)
class Region:
    """Some pixels of an image that are of one class.

    Attributes:
        label: The class's name.
        left: Column of the image where `pixels` begin.
        top: Row of the image where they begin.
        pixels: Which are of the class. Shape: (h, w).
    """

    label: str
    left: int
    top: int
    pixels: Pixels


def regions(mask: Mask, classes: Taxonomy) -> Iterator[Region]:
    """The regions of a mask by class, each cut to the box around it; void has none.

    Args:
        mask: Shape (H, W), taxonomy ids.
        classes: The classes.
    """
    for each in classes.classes:
        drawn = mask == each.id
        rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
        if rows.size:
            box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            yield Region(each.name, int(columns[0]), int(rows[0]), drawn[box])


def paint(found: Iterable[Region], height: int, width: int, classes: Taxonomy) -> Mask:
    """Paints regions over each other in their order; what none covers is void. Shape: (H, W).

    Args:
        found: The regions; a later one covers an earlier.
        height: Of the image, in pixels.
        width: The same.
        classes: The classes.

    Raises:
        AnswerError: A region is of no class of the taxonomy, or lies outside the image.
    """
    mask = np.full((height, width), classes.ignore_index, np.uint8)
    for region in found:
        if region.label not in classes.names:
            raise AnswerError(f"{region.label!r} is no class of the taxonomy: {', '.join(classes.names)}")
        check_place(region.left, region.top, region.pixels.shape, (height, width))
        place = np.s_[region.top :, region.left :]
        rows, columns = region.pixels.shape
        mask[place][:rows, :columns][region.pixels] = classes.id_of(region.label)
    return mask


def check_place(left: int, top: int, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    """Refuses a region that is not wholly inside the image.

    Args:
        left: Its first column.
        top: Its first row.
        shape: Its height and width.
        size: Those of the image.

    Raises:
        AnswerError: It is empty or reaches outside.
    """
    rows, columns = shape
    inside = left >= 0 and top >= 0 and top + rows <= size[0] and left + columns <= size[1]
    if not inside or rows < 1 or columns < 1:
        raise AnswerError(f"a region of {columns}x{rows} px at ({left}, {top}) is not inside {size[1]}x{size[0]} px")


def mask_digest(mask: Mask) -> str:
    """The digest of a mask's size and pixels, whatever its encoding."""
    height, width = mask.shape
    return sha256_bytes(f"{height}x{width}:".encode() + np.ascontiguousarray(mask).tobytes())
