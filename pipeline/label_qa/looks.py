"""What is measured of each annotated image to judge its mask, in several processes."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.command import progress
from pipeline.images import ImageError, Limits, decode_image, decode_mask
from pipeline.label_qa.alignment import align
from pipeline.parts import read_items


@dataclass(frozen=True)
class Look:
    """What was seen of one item; all but the name is None where its image and mask cannot be compared.

    Attributes:
        item_id: Its name.
        in_place: How far the outlines agree with the image's edges; see `alignment.Alignment`.
        gain: How much better they would elsewhere.
        dx: Where that is, in pixels to the right.
        dy: The same, downwards.
        classes: How many classes the mask holds.
        problem: Why nothing could be measured.
    """

    item_id: str
    in_place: float | None = None
    gain: float | None = None
    dx: int | None = None
    dy: int | None = None
    classes: int | None = None
    problem: str | None = None


def look(item_id: str, image: bytes, mask: bytes, ignore_index: int, limits: Limits) -> Look:
    """Measures one annotated image.

    Args:
        item_id: Its name.
        image: Encoded.
        mask: Encoded.
        ignore_index: Void.
        limits: What is refused before it is decoded.
    """
    try:
        pixels, labels = decode_image(image, limits), decode_mask(mask, limits)
    except ImageError as error:
        return Look(item_id, problem=str(error))
    if pixels.shape[:2] != labels.shape:
        return Look(item_id, problem=f"the image is {pixels.shape[1::-1]}, the mask {labels.shape[::-1]} pixels large")
    classes = len(np.setdiff1d(np.unique(labels), [ignore_index]))
    found = align(pixels, labels, ignore_index)
    return Look(item_id, classes=classes) if found is None else Look(item_id, classes=classes, **asdict(found))


def looks(dataset: Path, index: pd.DataFrame, ignore_index: int, limits: Limits, workers: int) -> pd.DataFrame:
    """Measures the items of an index, a row group at a time.

    Args:
        dataset: The dataset's folder.
        index: Rows of `read_index`.
        ignore_index: Void.
        limits: What is refused before it is decoded.
        workers: Processes; 0 takes every core.

    Returns:
        A row an item, sorted by name, with the attributes of `Look`.
    """
    groups = [rows for _, rows in index.groupby(["part", "row_group"], sort=True)]
    count = len(groups)
    arguments: tuple[list[Any], ...] = ([dataset] * count, groups, [ignore_index] * count, [limits] * count)
    found: list[dict[str, Any]] = []
    with ProcessPoolExecutor(workers or None) as pool:
        for rows in progress(pool.map(_look_at_group, *arguments), total=count, label="masks"):
            found.extend(rows)
    return pd.DataFrame(found, columns=list(Look.__dataclass_fields__)).sort_values("item_id", ignore_index=True)


def _look_at_group(dataset: Path, rows: pd.DataFrame, ignore_index: int, limits: Limits) -> list[dict[str, Any]]:
    import cv2

    cv2.setNumThreads(1)  # the processes share the cores
    return list(_each(dataset, rows, ignore_index, limits))


def _each(dataset: Path, rows: pd.DataFrame, ignore_index: int, limits: Limits) -> Iterator[dict[str, Any]]:
    for row, image, mask in read_items(dataset, rows):
        yield asdict(look(row["item_id"], image, mask, ignore_index, limits))
