"""Counts the values of masks in the dataset, row group by row group, without their images."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from pipeline.command import progress
from pipeline.images import ImageError, decode_mask
from pipeline.item_facts import MASK_VALUES, FactSettings
from pipeline.read_facts import RowGroup, map_row_groups

Counts = npt.NDArray[np.int64]


def count_values(
    dataset: Path, row_groups: Mapping[str, list[int]], settings: FactSettings, workers: int
) -> dict[tuple[str, int], Counts]:
    """Counts the pixels of each mask by value.

    Args:
        dataset: The dataset's folder.
        row_groups: Numbers of the row groups to read, by part.
        settings: What is refused before it is decoded.
        workers: Processes; 0 takes every core.

    Returns:
        By part and row group: shape (rows, 256), int64; a mask that cannot be read has no pixels.
    """
    keys = [(part, number) for part, numbers in row_groups.items() for number in numbers]
    jobs = [RowGroup(dataset / part, number) for part, number in keys]
    counted = progress(map_row_groups(_count, jobs, settings, workers), total=len(jobs), label="masks")
    return dict(zip(keys, counted, strict=True))


def _count(row_group: RowGroup, settings: FactSettings) -> Counts:
    with pq.ParquetFile(row_group.part) as file:
        masks = file.read_row_group(row_group.number, columns=["mask.bytes"], use_threads=False)["mask"]
    counts = np.zeros((len(masks), MASK_VALUES), np.int64)
    for place, mask in enumerate(masks):
        try:
            values = decode_mask(mask["bytes"].as_py() or b"", settings.limits)
        except ImageError:
            continue
        counts[place] = np.bincount(values.ravel(), minlength=MASK_VALUES)
    return counts
