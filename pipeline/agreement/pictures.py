"""Pictures of pairs that need a third look: the image, each mask over it, and what is in dispute."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from pipeline.agreement.totals import PairRow
from pipeline.images import ImageError, decode_image, decode_mask, encode_image, overlay
from pipeline.parts import read_items
from pipeline.releasing.difference_pictures import changes
from pipeline.show import Painting

Pixels = npt.NDArray[np.uint8]

BOX = (20, 20, 20)
GAP_PX = 3  # between the box and what it holds


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: What it shows.
        file: Its name beside the page.
        png: The picture.
    """

    title: str
    file: str
    png: bytes


def panels(
    dataset: Path, index: pd.DataFrame, looks: Sequence[PairRow], painting: Painting, ignore_index: int, longest_px: int
) -> Iterator[tuple[int, list[Panel]]]:
    """Draws pairs, one at a time.

    Args:
        dataset: The dataset's folder.
        index: Rows of `read_index`.
        looks: What to draw.
        painting: Limits, colours, and the weight of the overlays.
        ignore_index: Void.
        longest_px: Longest side of a picture.

    Yields:
        The place among `looks` and its pictures; none where the image cannot be decoded or has another size.
    """
    rows = index.set_index("item_id", drop=False)
    for place, look in enumerate(looks):
        read = {row["item_id"]: (image, mask) for row, image, mask in read_items(dataset, rows.loc[list(look.items)])}
        yield place, _panels(place, look, read, painting, ignore_index, longest_px)


def _panels(
    place: int,
    look: PairRow,
    read: Mapping[str, tuple[bytes, bytes]],
    painting: Painting,
    ignore_index: int,
    longest_px: int,
) -> list[Panel]:
    try:
        image = decode_image(read[look.items[0]][0], painting.limits)
    except ImageError:
        return []
    one, other = (decode_mask(read[item][1], painting.limits) for item in look.items)
    if image.shape[:2] != one.shape:
        return []
    disputed = (one != other) & (one != ignore_index) & (other != ignore_index)
    drawn = [
        ("image", image),
        (look.annotators[0], overlay(image, one, painting.palette, painting.alpha)),
        (look.annotators[1], overlay(image, other, painting.palette, painting.alpha)),
        ("in dispute", changes(image, disputed)),
    ]
    return [
        Panel(title, f"{place:03}-{number}.png", encode_image(_boxed(picture, look, longest_px)))
        for number, (title, picture) in enumerate(drawn)
    ]


def _boxed(picture: Pixels, look: PairRow, longest_px: int) -> Pixels:
    """The picture at its final size, with the box around what is in dispute."""
    import cv2

    assert look.look is not None
    height, width = picture.shape[:2]
    scale = min(longest_px / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    shown = np.array(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    x, y, wide, high = look.look.box
    left, top, right, bottom = (round(scale * each) for each in (x, y, x + wide, y + high))
    for colour, thickness in (((255, 255, 255), 3), (BOX, 1)):
        cv2.rectangle(shown, (left - GAP_PX, top - GAP_PX), (right + GAP_PX, bottom + GAP_PX), colour, thickness)
    return shown
