"""Pairs of images with close hashes."""

import numpy as np
import pytest

from pipeline import near_duplicates
from pipeline.near_duplicates import close_pairs, parse_hashes


def any_pair(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Every pair is of kind 0."""
    del second
    return np.zeros_like(first)


def slow_pairs(hashes: np.ndarray, sides: np.ndarray, most_bits: int, keep: int) -> set[tuple[int, int, int]]:
    """Place, partner and bits of the nearest of other sides, pair by pair."""
    found = set()
    for i, one in enumerate(hashes):
        near = [((int(one) ^ int(other)).bit_count(), j) for j, other in enumerate(hashes) if sides[i] != sides[j]]
        found |= {(i, j, bits) for bits, j in sorted(near)[:keep] if bits <= most_bits}
    return found


@pytest.mark.parametrize("pruned_from", [10, 2**20])
@pytest.mark.parametrize("most_bits", [0, 5, 9])
def test_pairs_are_those_of_comparing_one_by_one(
    monkeypatch: pytest.MonkeyPatch, most_bits: int, pruned_from: int
) -> None:
    """However the work is cut into blocks and pruned, the nearest of each image are found, in both directions."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**12, 90, dtype=np.uint64)
    sides = rng.choice(3, 90)
    monkeypatch.setattr(near_duplicates, "BLOCK_ROWS", 7)
    monkeypatch.setattr(near_duplicates, "BLOCK_COLUMNS", 11)
    monkeypatch.setattr(near_duplicates, "PRUNED_FROM", pruned_from)
    pairs = close_pairs(hashes, most_bits, lambda i, j: np.where(sides[i] != sides[j], 0, -1), keep=3)
    assert {tuple(row) for row in pairs[["place", "partner", "bits"]].to_numpy()} == slow_pairs(
        hashes, sides, most_bits, 3
    )


def test_each_kind_keeps_its_own_nearest() -> None:
    """A far twin of one kind is not crowded out by near ones of another."""
    hashes = np.array([0, 0, 0, 0, 0b111], dtype=np.uint64)
    pairs = close_pairs(hashes, 6, lambda _, j: np.where(j == 4, 1, 0), keep=2)
    of_first = pairs[pairs["place"] == 0]
    assert list(zip(of_first["partner"], of_first["kind"], of_first["bits"], strict=True)) == [
        (1, 0, 0),
        (2, 0, 0),
        (4, 1, 3),
    ]


def test_memory_does_not_grow_with_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of thousand equal images, half a million pairs, only what is kept of each comes back."""
    monkeypatch.setattr(near_duplicates, "PRUNED_FROM", 5000)
    pairs = close_pairs(np.zeros(1000, dtype=np.uint64), 6, any_pair, keep=2)
    assert pairs.groupby("place").size().eq(2).all()
    assert pairs[pairs["place"] == 999]["partner"].tolist() == [0, 1]


def test_nothing_has_no_neighbour() -> None:
    """An empty dataset gives no pair."""
    assert close_pairs(parse_hashes([]), 6, any_pair, keep=2).empty


def test_hashes_are_read_as_unsigned() -> None:
    """All 64 bits of the hexadecimal form count."""
    assert parse_hashes(["ffffffffffffffff", "0000000000000001"]).tolist() == [2**64 - 1, 1]
