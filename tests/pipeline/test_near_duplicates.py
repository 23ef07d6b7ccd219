"""Pairs of images with close hashes."""

import numpy as np
import pytest

from pipeline import near_duplicates
from pipeline.near_duplicates import Kind, Labels, close_pairs, parse_hashes


def any_pair(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Every pair is of kind 0."""
    del second
    return np.zeros_like(first)


def kind_of(labels: Labels) -> Kind:
    """Pairs across sides are of kind 0, those across groups of one side of kind 1."""

    def kind(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        across = labels.side[first] != labels.side[second]
        return np.where(across, 0, np.where(labels.group[first] != labels.group[second], 1, -1))

    return kind


def slow_pairs(hashes: np.ndarray, labels: Labels, most_bits: int, keep: int) -> set[tuple[int, int, int, int]]:
    """Place, partner, kind and bits of the nearest, pair by pair."""
    found, kind = set(), kind_of(labels)
    for i, one in enumerate(hashes):
        for wanted in (0, 1):
            others = [j for j in range(len(hashes)) if kind(np.array([i]), np.array([j]))[0] == wanted]
            near = sorted(((int(one) ^ int(hashes[j])).bit_count(), j) for j in others)
            found |= {(i, j, wanted, bits) for bits, j in near[:keep] if bits <= most_bits}
    return found


@pytest.mark.parametrize("values", [1, 2, 2**5, 2**12])
@pytest.mark.parametrize("pruned_from", [10, 2**20])
@pytest.mark.parametrize("most_bits", [0, 5, 9])
@pytest.mark.parametrize("groups", [2, 9, 90])
def test_pairs_are_those_of_comparing_one_by_one(
    monkeypatch: pytest.MonkeyPatch, most_bits: int, pruned_from: int, values: int, groups: int
) -> None:
    """However many hashes are equal and however the work is cut, the nearest of each image and kind are found."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, values, 90, dtype=np.uint64)
    labels = Labels(rng.choice(3, 90), rng.choice(groups, 90))
    monkeypatch.setattr(near_duplicates, "BLOCK", 11)
    monkeypatch.setattr(near_duplicates, "PRUNED_FROM", pruned_from)
    pairs = close_pairs(hashes, most_bits, kind_of(labels), 3, labels)
    assert {tuple(row) for row in pairs.to_numpy()} == slow_pairs(hashes, labels, most_bits, 3)
    assert not pairs.duplicated().any()


def test_equal_hashes_are_compared_a_few_times_each() -> None:
    """Of 3000 images with one hash, each of its own group, 4.5 million pairs, some thousand are looked at."""
    looked = 0
    labels = Labels(np.arange(3000) % 2, np.arange(3000))

    def kind(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        nonlocal looked
        looked += len(first)
        return kind_of(labels)(first, second)

    close_pairs(np.zeros(3000, np.uint64), 6, kind, 4, labels)
    assert 3000 < looked <= 3000 * 2 * 2 * 4


def test_close_hashes_are_dropped_before_they_are_told_apart() -> None:
    """Of 3000 images whose hashes all differ and are all close, a few of each block come through."""
    looked = 0
    hashes = np.arange(3000, dtype=np.uint64)

    def kind(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        nonlocal looked
        looked += len(first)
        return any_pair(first, second)

    close_pairs(hashes, 12, kind, 2)
    assert looked <= 3000 * 2 * 6


def test_each_kind_keeps_its_own_nearest() -> None:
    """A far twin of one kind is not crowded out by near ones of another."""
    hashes = np.array([0, 0, 0, 0, 0b111], dtype=np.uint64)
    labels = Labels(np.array([0, 0, 0, 0, 1]), np.arange(5))
    pairs = close_pairs(hashes, 6, lambda _, j: np.where(j == 4, 1, 0), 2, labels)
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
