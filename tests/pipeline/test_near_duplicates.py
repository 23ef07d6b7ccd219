"""Pairs across splits that look alike."""

import numpy as np
import pytest

from pipeline import near_duplicates
from pipeline.near_duplicates import nearest_across, parse_hashes


def test_the_nearest_of_another_side_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is that of comparing every pair one by one, however the work is cut into chunks."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**20, 50, dtype=np.uint64)
    sides = rng.choice(["train", "val", "test"], 50)
    monkeypatch.setattr(near_duplicates, "CHUNK_PAIRS", 120)
    partner, bits = nearest_across(hashes, sides)
    for i in range(50):
        distances = [((int(hashes[i]) ^ int(hashes[j])).bit_count(), j) for j in range(50) if sides[j] != sides[i]]
        assert (bits[i], partner[i]) == min(distances)


def test_within_one_side_nothing_is_compared() -> None:
    """Equal images of one split are no leak."""
    partner, bits = nearest_across(np.zeros(3, dtype=np.uint64), np.array(["train"] * 3))
    assert partner.tolist() == [-1] * 3
    assert bits.tolist() == [255] * 3


def test_nothing_has_no_neighbour() -> None:
    """An empty dataset gives empty results."""
    partner, bits = nearest_across(parse_hashes([]), np.array([], dtype=str))
    assert (partner.size, bits.size) == (0, 0)


def test_hashes_are_read_as_unsigned() -> None:
    """All 64 bits of the hexadecimal form count."""
    assert parse_hashes(["ffffffffffffffff", "0000000000000001"]).tolist() == [2**64 - 1, 1]
