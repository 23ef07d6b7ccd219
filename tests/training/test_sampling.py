"""Tests of the draws: rare classes come up, epochs repeat, processes share."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tile_folder import write_tiles

from training.sampling import EpochSampler, FeedSettings, ShareSampler, TileFeed, repeat_factors
from training.tiles import TileFolder

CLASS_PX = np.array([[100, 0]] * 96 + [[60, 40]] * 4)


def test_repeat_factors_are_those_of_the_paper() -> None:
    """A class in a share f of the tiles gives sqrt(t / f), and never less than 1."""
    factors = repeat_factors(CLASS_PX, rare_share=0.64)
    assert factors[:96] == pytest.approx(1)
    assert factors[96:] == pytest.approx(4)  # sqrt(0.64 / 0.04)
    assert repeat_factors(CLASS_PX, rare_share=0.0) == pytest.approx(1)


def test_tiles_with_a_rare_class_are_drawn_more_often() -> None:
    """Over many epochs the share of draws follows the factors."""
    sampler = EpochSampler(repeat_factors(CLASS_PX, 0.64), seed=0)
    drawn = []
    for epoch in range(100):
        sampler.set_epoch(epoch)
        drawn += list(sampler)
    assert np.mean(np.array(drawn) >= 96) == pytest.approx(16 / 112, abs=0.01)


def test_an_epoch_is_a_function_of_seed_and_epoch() -> None:
    """The same epoch gives the same draws whatever came before, another epoch other ones."""
    first, second = (EpochSampler(np.arange(1, 51), seed=3) for _ in range(2))
    list(first)
    first.set_epoch(5)
    second.set_epoch(5)
    assert list(first) == list(second)
    second.set_epoch(6)
    assert list(first) != list(second)


def test_alike_tiles_are_each_seen_once() -> None:
    """Without rare classes an epoch is a shuffle."""
    drawn = list(EpochSampler(np.ones(17), seed=0))
    assert sorted(drawn) == list(range(17))
    assert drawn != list(range(17))


@given(length=st.integers(1, 50), world=st.integers(1, 7))
def test_processes_share_validation_tiles_without_loss(length: int, world: int) -> None:
    """All processes take as many steps, and together see every tile exactly once."""
    shares = [list(ShareSampler(length, rank, world)) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    assert sorted(tile for share in shares for tile in share if tile >= 0) == list(range(length))


@given(length=st.integers(1, 50), world=st.integers(1, 7))
def test_processes_take_equally_many_training_tiles(length: int, world: int) -> None:
    """No process waits for another at the end of an epoch."""
    samplers = [EpochSampler(np.ones(length), 0, rank, world) for rank in range(world)]
    assert {len(list(sampler)) for sampler in samplers} == {len(samplers[0])}


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_whole_blocks(tmp_path: Path, workers: int) -> None:
    """A batch is one uint8 block; training leaves the incomplete one out, validation does not."""
    folder = TileFolder.read(write_tiles(tmp_path / "tiles", train=10, val=5))
    feed = TileFeed(folder, FeedSettings(batch_size=4, workers=workers, rare_share=0.0), seed=0)
    assert [(batch.shape, batch.dtype) for batch in feed.train_dataloader()] == [((4, 32, 32, 4), torch.uint8)] * 2
    assert [len(batch) for batch in feed.val_dataloader()] == [4, 1]


def test_fewer_tiles_than_a_batch_still_train(tmp_path: Path) -> None:
    """A tiny dataset gives one incomplete batch rather than none."""
    folder = TileFolder.read(write_tiles(tmp_path / "tiles", train=3, val=1))
    feed = TileFeed(folder, FeedSettings(batch_size=8, workers=0, rare_share=0.0), seed=0)
    assert [len(batch) for batch in feed.train_dataloader()] == [3]
