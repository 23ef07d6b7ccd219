"""Predict an image of any size in overlapping tiles, blended smoothly, in memory bounded by one row of tiles."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]
Predict = Callable[[Image], Probabilities]

# Finished rows leave in thin strips: small enough to stay in the cache of whoever reads them next.
_STRIP_ROWS = 64
_RGB_DIMENSIONS = 3


@dataclass(frozen=True)
class Strip:
    """Finished rows of a blended prediction; the arrays are the receiver's own.

    Attributes:
        y0: Row of the image at which the strip begins.
        probabilities: (C, h, W) float32, over the full width of the image.
    """

    y0: int
    probabilities: Probabilities

    def top(self) -> tuple[npt.NDArray[np.uint8], Probabilities]:
        """Return the most probable class and its probability, (h, W) uint8 and (h, W) float32.

        The lowest class wins a tie. Several times as fast as numpy's argmax over the first axis.
        """
        confidence = self.probabilities[0].copy()
        labels = np.zeros(confidence.shape, np.uint8)
        for label, values in enumerate(self.probabilities[1:], start=1):
            # Labels ascend, so a maximum overwrites: free of branches, unlike a masked assignment.
            np.maximum(labels, (values > confidence) * np.uint8(label), out=labels)
            np.maximum(confidence, values, out=confidence)
        return labels, confidence


@dataclass(frozen=True)
class TileGrid:
    """Where the tiles of one image lie and how much each pixel of each tile counts.

    Tiles come row by row, each row from left to right: in the order of `origins`, of `shares` and of the images
    that `predict_strips` hands to `predict`.

    Attributes:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        tile_px: Side of a tile; in a dimension where the image is smaller, tiles have the size of the image.
        overlap_px: Least overlap of neighbouring tiles, less than `tile_px`.
    """

    height: int
    width: int
    tile_px: int
    overlap_px: int

    @property
    def rows(self) -> list[int]:
        """Top edges of the rows of tiles."""
        return tile_origins(self.height, self.tile_px, self.overlap_px)

    @property
    def columns(self) -> list[int]:
        """Left edges of the columns of tiles."""
        return tile_origins(self.width, self.tile_px, self.overlap_px)

    def origins(self) -> list[tuple[int, int]]:
        """Top left corners (y, x) of all tiles."""
        return [(y, x) for y in self.rows for x in self.columns]

    def row_windows(self) -> Probabilities:
        """Weights of the lines of each row of tiles, (rows, tile height)."""
        return _windows(self.height, self.tile_px, self.overlap_px)

    def column_windows(self) -> Probabilities:
        """Weights of the pixel columns of each column of tiles, (columns, tile width)."""
        return _windows(self.width, self.tile_px, self.overlap_px)

    def shares(self) -> npt.NDArray[np.float64]:
        """Share of the image that each tile speaks for: (tiles,), summing to 1.

        Weighted by these, values per tile average to a value of the image in which no overlap counts twice.
        """
        rows = self.row_windows().sum(axis=1, dtype=np.float64) / self.height
        columns = self.column_windows().sum(axis=1, dtype=np.float64) / self.width
        return np.outer(rows, columns).ravel()


def tile_origins(length: int, tile_px: int, overlap_px: int) -> list[int]:
    """Place tiles along one dimension; the last is moved back so as to end at the border.

    Args:
        length: Size of the image in pixels, at least 1.
        tile_px: Size of a tile in pixels.
        overlap_px: Least overlap of neighbours in pixels, from 0 to less than `tile_px`.

    Returns:
        Ascending first pixels, [0] for an image no larger than a tile.

    Raises:
        ValueError: If a size is out of its range.
    """
    if length < 1 or not 0 <= overlap_px < tile_px:
        raise ValueError(
            f"cannot tile {length} px with tile_px {tile_px} and overlap_px {overlap_px}; the image needs a pixel "
            "and the overlap must be at least 0 and less than the tile.",
        )
    last = max(length - tile_px, 0)
    return [*range(0, last, tile_px - overlap_px), last]


def predict_strips(
    image: Image,
    predict: Predict,
    *,
    tile_px: int,
    overlap_px: int,
    num_classes: int,
    batch_size: int,
) -> Iterator[Strip]:
    """Predict an image tile by tile and yield finished rows from top to bottom.

    Where tiles overlap, their probabilities are averaged with weights that fall off as a raised cosine towards
    the edge of a tile and sum to 1 at every pixel. Rows are yielded as soon as no later tile touches them. Memory:
    one row of tiles in float32, besides what `predict` needs.

    What else a model says about a tile (an embedding, expected counts) is for `predict` to keep: it sees the tiles
    in the order of `TileGrid`, whose `shares` say how much of the image each one speaks for:

        embeddings = []

        def predict(tiles):
            probabilities, embedding = session.run(["probabilities", "embedding"], {"image": tiles})
            embeddings.append(embedding)
            return probabilities

        for strip in predict_strips(image, predict, tile_px=512, overlap_px=64, num_classes=5, batch_size=1): ...
        grid = TileGrid(*image.shape[:2], 512, 64)
        image_embedding = grid.shares() @ np.concatenate(embeddings)

    Args:
        image: (H, W, 3) uint8.
        predict: Turns tiles (N, h, w, 3) uint8, C-contiguous, into probabilities (N, C, h, w) float32; h and w are
            `tile_px`, or the size of the image where it is smaller, and N is at most `batch_size`.
        tile_px: Side of a tile.
        overlap_px: Least overlap of neighbouring tiles.
        num_classes: Number of classes C.
        batch_size: Most tiles in one call, all of one row of tiles.

    Yields:
        Strips that cover every row of the image once, in order.

    Raises:
        ValueError: If the image, a size or what `predict` returns is not as stated.
    """
    _check_image(image, batch_size)
    grid = TileGrid(image.shape[0], image.shape[1], tile_px, overlap_px)
    canvas = _Canvas(num_classes, grid)
    ends = [*grid.rows[1:], grid.height]
    for top, lines, end in zip(grid.rows, grid.row_windows(), ends, strict=True):
        for first in range(0, len(grid.columns), batch_size):
            lefts = grid.columns[first : first + batch_size]
            tiles = np.stack([image[top : top + tile_px, left : left + tile_px] for left in lefts])
            canvas.add(lefts, lines, _checked(predict(tiles), tiles, num_classes))
        yield from canvas.finish(top, end - top)


class _Canvas:
    """Weighted sums of probabilities for the rows that the current row of tiles covers."""

    def __init__(self, num_classes: int, grid: TileGrid) -> None:
        self._columns = dict(zip(grid.columns, grid.column_windows(), strict=True))
        lines = min(grid.tile_px, grid.height)
        self._sums = np.zeros((num_classes, lines, grid.width), np.float32)
        self._product = np.empty((lines, min(grid.tile_px, grid.width)), np.float32)

    def add(self, lefts: list[int], lines: Probabilities, tiles: Probabilities) -> None:
        """Blend in tiles (N, C, h, w) at columns `lefts`, the lines weighted by `lines` (h,)."""
        for left, tile in zip(lefts, tiles, strict=True):
            window = np.outer(lines, self._columns[left])
            # One class at a time, so that the product stays in the cache.
            for sums, probabilities in zip(self._sums, tile, strict=True):
                np.multiply(probabilities, window, out=self._product)
                sums[:, left : left + window.shape[1]] += self._product

    def finish(self, top: int, done: int) -> Iterator[Strip]:
        """Yield the first `done` rows, which start at row `top` of the image; move the rest up."""
        for begin in range(0, done, _STRIP_ROWS):
            yield Strip(top + begin, self._sums[:, begin : min(begin + _STRIP_ROWS, done)].copy())
        for sums in self._sums:  # one class at a time: numpy copies what overlaps
            sums[:-done] = sums[done:]
            sums[-done:] = 0


def _windows(length: int, tile_px: int, overlap_px: int) -> Probabilities:
    """Weights of the tiles along one dimension, (tiles, tile size); at every pixel they sum to 1."""
    size = min(length, tile_px)
    origins = tile_origins(length, tile_px, overlap_px)
    from_edge = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5
    raised_cosine = np.sin(np.pi / 2 * np.minimum(from_edge / max(overlap_px, 0.5), 1)) ** 2
    total = np.zeros(length)
    for origin in origins:
        total[origin : origin + size] += raised_cosine
    return np.stack([raised_cosine / total[origin : origin + size] for origin in origins]).astype(np.float32)


def _checked(probabilities: Probabilities, tiles: Image, num_classes: int) -> Probabilities:
    """Refuse a prediction that does not belong to the tiles."""
    expected = (len(tiles), num_classes, *tiles.shape[1:3])
    if probabilities.shape != expected:
        raise ValueError(
            f"predict returned shape {probabilities.shape} for tiles of shape {tiles.shape}; expected {expected}.",
        )
    return probabilities


def _check_image(image: Image, batch_size: int) -> None:
    """Refuse what the tiles could not be cut from."""
    if image.ndim != _RGB_DIMENSIONS or image.shape[2] != _RGB_DIMENSIONS or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype} of shape {image.shape}; expected uint8 of shape (H, W, 3).")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1.")
