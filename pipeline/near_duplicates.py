"""Pairs of images that look alike by the Hamming distance of their hashes; thumbnails then tell whether they do."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.command import progress

Places = npt.NDArray[np.int64]
# A pair's kind, by the places of its images; negative where the pair is of no interest.
Kind = Callable[[Places, Places], Places]
Pairs = tuple[Places, Places, Places]

# A block's distances fit into a core's cache, which is several times as fast as where they do not.
BLOCK = 512
FEW = 2  # close pairs an image of a block, up to which they are listed before any is dropped
PRUNED_FROM = 2**20
COLUMNS = ["place", "partner", "kind", "bits"]
NO_KEY = np.iinfo(np.int32).max


def parse_hashes(hashes: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Hashes of 16 hexadecimal digits as numbers. Shape: (N,), uint64."""
    return np.array([int(each, 16) for each in hashes], dtype=np.uint64)


@dataclass(frozen=True)
class Labels:
    """What tells the kinds of pairs: of images with equal labels, each is as good a partner as the other.

    Attributes:
        side: Shape (N,), int64, from 0 on. A pair's kind depends on the sides of both, and on whether their groups are
            equal.
        group: Shape (N,), int64. Two images of one side and group are no pair.
    """

    side: Places
    group: Places

    @classmethod
    def none(cls, count: int) -> "Labels":
        """Images of one side, of which any two are a pair."""
        return cls(np.zeros(count, np.int64), np.arange(count))


def close_pairs(
    hashes: npt.NDArray[np.uint64], most_bits: int, kind: Kind, keep: int, labels: Labels | None = None
) -> pd.DataFrame:
    """Finds, for each image and kind of pair, the images whose hashes are nearest.

    None that is nearest is missed: of images with the same hash and labels one is looked at for all, and as partners
    only as many as can be kept. Memory grows with N and `keep`, however many pairs are close.

    Args:
        hashes: Shape (N,), uint64.
        most_bits: Hashes that differ in more of their 64 bits are not close.
        kind: Tells the kind of pairs from the places of both images, each of shape (P,); the first is the smaller.
        keep: Pairs kept of an image and kind; of equally near ones those with the first partners.
        labels: Of the images; without, any two may be a pair.

    Returns:
        A row per pair and direction, sorted: place, partner, kind, bits, all int64.
    """
    search = _Search(hashes, most_bits, keep, labels or Labels.none(len(hashes)))
    cell, asking, partner = search.chosen()
    kept, found, waiting = _table([], [], [], []), [], 0
    for place, other, bits in search.hits(asking, partner):
        kinds = kind(np.minimum(place, other), np.maximum(place, other))
        some = kinds >= 0
        found.append(_table(place[some], other[some], kinds[some], bits[some]))
        waiting += int(some.sum())
        if waiting > PRUNED_FROM:
            kept, found, waiting = _nearest([kept, *found], keep), [], 0
    nearest = _nearest([kept, *found], keep)
    # What holds for the one that was looked at holds for all of its cell.
    everyone = pd.DataFrame({"asked": np.flatnonzero(asking)[cell], "everyone": np.arange(len(hashes))})
    spread = nearest.merge(everyone, left_on="place", right_on="asked").assign(place=lambda each: each["everyone"])
    return spread[COLUMNS].sort_values(["place", "kind", "bits", "partner"], ignore_index=True)


@dataclass(frozen=True)
class _Search:
    hashes: npt.NDArray[np.uint64]
    most_bits: int
    keep: int
    labels: Labels

    def chosen(self) -> tuple[Places, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """The cell (hash, side, group) of each image, who is looked at for its cell, and who may be a partner.

        Of a cell no more than `keep` can be partners of an image, and of a hash and side no more than twice as many:
        the first `keep` that are of other groups are among them, whatever the image's own group.
        """
        rows = pd.DataFrame({"hash": self.hashes, "side": self.labels.side, "group": self.labels.group})
        cells = rows.groupby(["hash", "side", "group"], sort=False)
        rank = cells.cumcount().to_numpy()
        some = rows[rank < self.keep]
        partner = np.zeros(len(rows), bool)
        partner[some.index[some.groupby(["hash", "side"]).cumcount() < 2 * self.keep]] = True
        return np.asarray(cells.ngroup(), np.int64), np.asarray(rank == 0, np.bool_), np.asarray(partner, np.bool_)

    def hits(self, asking: npt.NDArray[np.bool_], partner: npt.NDArray[np.bool_]) -> Iterator[Pairs]:
        """Places, partners and bits that differ of close pairs, block by block: at least the nearest of each."""
        # By sides, so that a block has partners of one or two.
        order = np.flatnonzero(asking | partner)
        order = order[np.argsort(self.labels.side[order], kind="stable")]
        hashes = self.hashes[order]
        for start in progress(range(0, len(order), BLOCK), label="near-duplicates"):
            rows = order[start : start + BLOCK]
            for left in range(start, len(order), BLOCK):
                distance = np.bitwise_count(hashes[start : start + BLOCK, None] ^ hashes[left : left + BLOCK])
                if distance.min() > self.most_bits:
                    continue
                columns = order[left : left + BLOCK]
                turns = [(distance, rows, columns), (distance.T, columns, rows)]
                for block, places, partners in turns[: 1 if left == start else 2]:
                    some = np.ix_(asking[places], partner[partners])
                    yield from self._of_block(block[some], places[asking[places]], partners[partner[partners]])

    def _of_block(self, distance: npt.NDArray[np.uint8], places: Places, partners: Places) -> Iterator[Pairs]:
        close = distance <= self.most_bits
        close &= self._cell(places)[:, None] != self._cell(partners)
        if np.count_nonzero(close) <= FEW * len(places):
            first, second = np.nonzero(close)
            yield places[first], partners[second], distance[first, second].astype(np.int64)
            return
        # The nearest first, then the first: one number for both.
        keys = np.where(close, distance.astype(np.int32) * len(partners) + np.arange(len(partners)), NO_KEY)
        for side in np.unique(self.labels.side[partners]):
            of_side = keys[:, self.labels.side[partners] == side]
            if of_side.shape[1] > self.keep:
                of_side = np.partition(of_side, self.keep - 1, axis=1)[:, : self.keep]
            first, second = np.nonzero(of_side != NO_KEY)
            bits, found = np.divmod(of_side[first, second].astype(np.int64), len(partners))
            yield places[first], partners[found], bits

    def _cell(self, places: Places) -> Places:
        """A number for side and group."""
        sides = int(self.labels.side.max(initial=0)) + 1
        return np.asarray(self.labels.group[places] * sides + self.labels.side[places], np.int64)


def _table(*columns: npt.ArrayLike) -> pd.DataFrame:
    return pd.DataFrame({name: np.asarray(values, np.int64) for name, values in zip(COLUMNS, columns, strict=True)})


def _nearest(tables: list[pd.DataFrame], keep: int) -> pd.DataFrame:
    """The nearest of each place and kind."""
    ordered = pd.concat(tables, ignore_index=True).sort_values(["place", "kind", "bits", "partner"], ignore_index=True)
    return ordered[ordered.groupby(["place", "kind"]).cumcount() < keep]
