"""Images that resemble each other are drawn together: as groups, or as runs of frames where groups are few."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.gating.units import Resampling, memory_frames, resampling


def units(groups: list[str], sequence: list[int], *, min_groups: int = 3, block_frames: int = 4) -> Resampling:
    """The units of images given as lists."""
    return resampling(np.array(groups), np.array(sequence, np.int64), min_groups=min_groups, block_frames=block_frames)


def test_enough_groups_are_the_units() -> None:
    """Images of a group share a unit, whatever their order and place."""
    found = units(["b", "a", "c", "a", "b"], [-1, 7, 3, 1, 2])
    assert (found.unit_of.tolist(), found.count, found.kind) == ([1, 0, 2, 0, 1], 3, "groups")


def test_few_groups_are_cut_into_blocks_of_consecutive_frames() -> None:
    """Frames go by their place in the sequence, and a block never spans two groups."""
    found = units(["a"] * 8 + ["b"] * 3, [7, 6, 5, 4, 3, 2, 1, 0, 0, 1, 2])
    assert (found.unit_of.tolist(), found.count, found.kind) == ([1, 1, 1, 1, 0, 0, 0, 0, 2, 2, 2], 3, "blocks")


def test_frames_without_a_place_stay_in_their_order() -> None:
    """Unknown places are all alike, so the images' order is taken."""
    assert units(["a"] * 8, [-1] * 8).unit_of.tolist() == [0] * 4 + [1] * 4


def test_a_remainder_is_spread_over_the_blocks() -> None:
    """Eleven frames in blocks of at least four are two blocks of five and six, not three with a short one."""
    assert np.bincount(units(["a"] * 11, list(range(11))).unit_of).tolist() == [6, 5]


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    min_groups=st.integers(1, 6),
    block_frames=st.integers(1, 12),
)
def test_every_image_has_one_unit_of_its_own_group(sizes: list[int], min_groups: int, block_frames: int) -> None:
    """Units are numbered without a gap, lie within a group, are long enough, and equal up to one frame."""
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    found = units(groups, list(range(len(groups))), min_groups=min_groups, block_frames=block_frames)
    assert sorted(set(found.unit_of.tolist())) == list(range(found.count))
    members: dict[str, list[int]] = {}
    for unit in range(found.count):
        inside = np.flatnonzero(found.unit_of == unit)
        assert len({groups[place] for place in inside}) == 1
        members.setdefault(groups[inside[0]], []).append(len(inside))
    if found.kind == "blocks":
        for group, lengths in members.items():
            assert max(lengths) - min(lengths) <= 1
            assert min(lengths) >= min(block_frames, groups.count(group))


def test_senseless_sizes_are_refused() -> None:
    """A block of no frame is a mistake of the caller."""
    with pytest.raises(ValueError, match="block_frames 0"):
        units(["a"], [0], block_frames=0)


def walk(memory: float, frames: int, rng: np.random.Generator) -> np.ndarray:
    """An autoregression whose resemblance falls to 1/e after `memory` frames."""
    keep, values = np.exp(-1 / memory), [rng.normal()]
    for _ in range(frames - 1):
        values.append(keep * values[-1] + np.sqrt(1 - keep**2) * rng.normal())
    return np.array(values)


@pytest.mark.parametrize("memory", [2, 5, 10])
def test_the_memory_of_a_series_is_found(memory: int) -> None:
    """The integrated time of an autoregression with coefficient c is (1 + c) / (1 - c)."""
    rng, keep = np.random.default_rng(0), np.exp(-1 / memory)
    found = np.mean([memory_frames([walk(memory, 1000, rng), walk(memory, 1000, rng)]) for _ in range(20)])
    assert found == pytest.approx((1 + keep) / (1 - keep), rel=0.15)


def test_what_tells_sequences_apart_is_no_memory() -> None:
    """A constant that differs between two sequences leaves no resemblance of neighbours."""
    noise = np.random.default_rng(1).normal(size=(2, 500))
    assert memory_frames([noise[0] + 10, noise[1] - 10]) < 2
    assert memory_frames([np.ones(5), np.zeros(5)]) == 1
    assert memory_frames([np.empty(0), np.ones(1)]) == 1


def test_blocks_grow_with_the_memory_of_the_frames() -> None:
    """Frames that resemble each other for long are drawn in longer blocks than wanted, fresh ones are not."""
    rng = np.random.default_rng(2)
    names, order = np.array(["a"] * 600), np.arange(600)
    slow, fresh = walk(10, 600, rng), rng.normal(size=600)

    def frames(*columns: np.ndarray) -> int:
        influence = np.stack(columns, axis=1)
        return resampling(names, order, min_groups=2, block_frames=15, influence=influence).block_frames

    assert frames(fresh) == 15
    assert frames(fresh, slow) > 40
