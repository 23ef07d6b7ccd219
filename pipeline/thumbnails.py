"""Thumbnails of images, which tell whether two pictures with close hashes show the same."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from pipeline.command import progress
from pipeline.images import ImageError, Limits, decode_image

Thumbnails = npt.NDArray[np.uint8]
# Thumbnails of rows of the catalogue, shape (N, SIDE * SIDE); a function, since few rows are ever asked for.
Reader = Callable[[pd.DataFrame], Thumbnails]

SIDE = 16
# A smaller deviation (of 255) is one colour, and what is left is noise.
FLAT = 1.0


@dataclass(frozen=True)
class DatasetReader:
    """Reads thumbnails from the dataset's images.

    Attributes:
        dataset: The dataset's folder.
        limits: What is refused before it is decoded.
    """

    dataset: Path
    limits: Limits

    def __call__(self, rows: pd.DataFrame) -> Thumbnails:
        """Thumbnails of rows that have part, row_group and row; an image that cannot be read is black.

        Returns:
            Shape (N, SIDE * SIDE), uint8 luma, in the order of the rows.
        """
        result = np.zeros((len(rows), SIDE * SIDE), np.uint8)
        numbers = rows["row"].to_numpy(np.int64)
        by_group: dict[tuple[str, int], list[int]] = {}
        for place, key in enumerate(zip(rows["part"], rows["row_group"].astype(int), strict=True)):
            by_group.setdefault(key, []).append(place)
        with ThreadPoolExecutor() as pool:
            jobs = [
                (wanted, pool.submit(self._row_group, part, number, numbers[wanted]))
                for (part, number), wanted in by_group.items()
            ]
            for wanted, job in progress(jobs, label="thumbnails"):
                result[wanted] = job.result()
        return result

    def pictures(self, rows: pd.DataFrame) -> list[npt.NDArray[np.uint8] | None]:
        """The images of a few rows, RGB; None for one that cannot be read."""
        found: list[npt.NDArray[np.uint8] | None] = []
        for part, number, row in zip(rows["part"], rows["row_group"], rows["row"], strict=True):
            with pq.ParquetFile(self.dataset / str(part)) as file:
                data = file.read_row_group(int(number), columns=["image.bytes"])["image"][int(row)]["bytes"].as_py()
            try:
                found.append(decode_image(data or b"", self.limits))
            except ImageError:
                found.append(None)
        return found

    def _row_group(self, part: str, number: int, rows: npt.NDArray[np.int64]) -> Thumbnails:
        with pq.ParquetFile(self.dataset / part) as file:
            images = file.read_row_group(number, columns=["image.bytes"], use_threads=False)["image"]
        return np.stack([self._thumbnail(images[int(row)]["bytes"].as_py() or b"") for row in rows])

    def _thumbnail(self, data: bytes) -> Thumbnails:
        try:
            return thumbnail(decode_image(data, self.limits))
        except ImageError:
            return np.zeros(SIDE * SIDE, np.uint8)


def thumbnail(rgb: npt.NDArray[np.uint8]) -> Thumbnails:
    """The luma of an image at 16x16 pixels, whatever its shape: finer ones tell apart what a slight crop has moved.

    Args:
        rgb: Shape (H, W, 3), uint8.

    Returns:
        Shape (SIDE * SIDE,), uint8.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8).reshape(-1)


def correlation(first: Thumbnails, second: Thumbnails) -> npt.NDArray[np.float64]:
    """Pearson's correlation of thumbnails, row by row: other light (gain and offset) changes nothing.

    Args:
        first: Shape (N, SIDE * SIDE), uint8.
        second: The same.

    Returns:
        Shape (N,), -1 to 1. Of two pictures of one colour each 1, of one such and another 0.
    """
    left, right = _centred(first), _centred(second)
    norms = np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1)
    flat = norms[0] < FLAT * SIDE, norms[1] < FLAT * SIDE
    found = np.einsum("ij,ij->i", left, right) / np.maximum(norms[0] * norms[1], 1)
    return np.where(flat[0] & flat[1], 1.0, np.where(flat[0] | flat[1], 0.0, found))


def _centred(thumbnails: Thumbnails) -> npt.NDArray[np.float32]:
    values = thumbnails.astype(np.float32)
    return np.asarray(values - values.mean(axis=1, keepdims=True), np.float32)
