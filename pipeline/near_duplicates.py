"""Pairs of images that look alike by the Hamming distance of their hashes; thumbnails then tell whether they do."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.command import progress

Places = npt.NDArray[np.int64]
# A pair's kind, by the places of its images; negative where the pair is of no interest.
Kind = Callable[[Places, Places], Places]

# A block's distances fit into a core's cache, which is several times as fast as where they do not.
BLOCK_ROWS, BLOCK_COLUMNS = 64, 4096
PRUNED_FROM = 2**20
COLUMNS = ["place", "partner", "kind", "bits"]


def parse_hashes(hashes: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Hashes of 16 hexadecimal digits as numbers. Shape: (N,), uint64."""
    return np.array([int(each, 16) for each in hashes], dtype=np.uint64)


def close_pairs(hashes: npt.NDArray[np.uint64], most_bits: int, kind: Kind, keep: int) -> pd.DataFrame:
    """Finds, for each image and kind of pair, the images whose hashes are nearest.

    Every pair is compared, so none is missed: some 4 s for 100,000 images. Memory grows with N and `keep`, however many
    pairs are close.

    Args:
        hashes: Shape (N,), uint64.
        most_bits: Hashes that differ in more of their 64 bits are not close.
        kind: Tells the kind of pairs from the places of both images, each of shape (P,); the first is the smaller.
        keep: Pairs kept of an image and kind; of equally near ones those with the first partners.

    Returns:
        A row per pair and direction, sorted: place, partner, kind, bits, all int64.
    """
    kept, found, waiting = _table([], [], [], []), [], 0
    for first, second, bits in _hits(hashes, most_bits):
        kinds = kind(first, second)
        some = kinds >= 0
        found += [_table(*columns) for columns in _turns(first[some], second[some], kinds[some], bits[some])]
        waiting += int(some.sum())
        if waiting > PRUNED_FROM:
            kept, found, waiting = _nearest([kept, *found], keep), [], 0
    return _nearest([kept, *found], keep).sort_values(COLUMNS[:3], ignore_index=True)


def _hits(hashes: npt.NDArray[np.uint64], most_bits: int) -> Iterator[tuple[Places, Places, Places]]:
    """Places of both images, the smaller first, and the bits that differ, of close pairs, block by block."""
    for start in progress(range(0, len(hashes), BLOCK_ROWS), label="near-duplicates"):
        rows = hashes[start : start + BLOCK_ROWS, None]
        for left in range(start, len(hashes), BLOCK_COLUMNS):
            distance = np.bitwise_count(rows ^ hashes[left : left + BLOCK_COLUMNS])
            if distance.min() > most_bits:
                continue
            first, second = np.nonzero(distance <= most_bits)
            above = first + start < second + left
            first, second = first[above], second[above]
            if first.size:
                yield first + start, second + left, distance[first, second].astype(np.int64)


def _turns(first: Places, second: Places, kinds: Places, bits: Places) -> list[tuple[Places, ...]]:
    return [(first, second, kinds, bits), (second, first, kinds, bits)]


def _table(*columns: npt.ArrayLike) -> pd.DataFrame:
    return pd.DataFrame({name: np.asarray(values, np.int64) for name, values in zip(COLUMNS, columns, strict=True)})


def _nearest(tables: list[pd.DataFrame], keep: int) -> pd.DataFrame:
    """The nearest of each place and kind."""
    ordered = pd.concat(tables, ignore_index=True).sort_values(["place", "kind", "bits", "partner"], ignore_index=True)
    return ordered[ordered.groupby(["place", "kind"]).cumcount() < keep]
