"""Which tiles an epoch sees: draws in which rare classes come up more often, shared out over processes."""

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.utils.data import DataLoader, Sampler, WeightedRandomSampler

from training.tiles import TileDataset, TileFolder

VOID_TILE = -1


class FeedSettings(BaseModel):
    """How tiles reach the network.

    Attributes:
        batch_size: Tiles in a batch of one process.
        workers: Processes that gather batches; 0 gathers in the training process, a fraction of a millisecond each.
        rare_share: Classes that fewer than this share of the tiles show are drawn more often; 0 draws all alike.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(ge=1)
    workers: int = Field(ge=0)
    rare_share: float = Field(ge=0, le=1)


class TileFeed(pl.LightningDataModule):
    """Gives the trainer its batches, each (B, T, T, 4) uint8.

    Args:
        folder: The tiles.
        settings: Batch size, workers, sampling.
        seed: Seed of the draws.

    Raises:
        ValueError: A split has no tiles.
    """

    def __init__(self, folder: TileFolder, settings: FeedSettings, seed: int) -> None:
        super().__init__()
        self.train, self.val = folder.split("train"), folder.split("val")
        self._settings, self._seed = settings, seed

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of an epoch."""
        repeats = repeat_factors(self.train.class_px, self._settings.rare_share)
        return self._loader(self.train, EpochSampler(repeats, self._seed, *self._place()), whole=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Batches of all validation tiles."""
        return self._loader(self.val, ShareSampler(len(self.val), *self._place()), whole=False)

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, tiles: TileDataset, sampler: "EpochSampler | ShareSampler", *, whole: bool) -> DataLoader[Any]:
        """Batches in the sampler's order; `whole` leaves out a last one of fewer tiles, unless it is the only one.

        (Batch normalisation cannot train on a single tile.)
        """
        batch_size, workers = self._settings.batch_size, self._settings.workers
        return DataLoader(
            tiles,
            batch_size=batch_size,
            sampler=sampler,
            collate_fn=torch.from_numpy,
            drop_last=whole and len(sampler) >= batch_size,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


class EpochSampler(Sampler[int]):
    """Draws an epoch's tiles as a function of seed and epoch alone, so that a resumed training draws the same.

    Args:
        repeats: How often each tile is wanted, relative to the others, shape (tiles,).
        seed: Seed of all draws.
        rank: Which process this is.
        world: How many processes share the draws; each takes every `world`-th.
    """

    def __init__(self, repeats: np.ndarray, seed: int, rank: int = 0, world: int = 1) -> None:
        self._repeats = torch.as_tensor(repeats, dtype=torch.float64)
        self._seed, self._rank, self._world = seed, rank, world
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose draws the next iteration gives."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Draws of this process: the same number in every process."""
        return max(len(self._repeats) // self._world, 1)

    def __iter__(self) -> Iterator[int]:
        """Draw: with replacement by weight, or a plain shuffle when all tiles are wanted alike."""
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        total = len(self) * self._world
        if bool((self._repeats == self._repeats[0]).all()):
            drawn = torch.randperm(len(self._repeats), generator=generator).repeat(2)[:total].tolist()
        else:
            weights = self._repeats.tolist()
            drawn = list(WeightedRandomSampler(weights, total, replacement=True, generator=generator))
        return iter(drawn[self._rank :: self._world])


class ShareSampler(Sampler[int]):
    """Every tile once over all processes, in order; padded with void tiles so that all take as many steps.

    Args:
        length: Number of tiles.
        rank: Which process this is.
        world: How many processes share the tiles.
    """

    def __init__(self, length: int, rank: int = 0, world: int = 1) -> None:
        self._share = list(range(rank, length, world))
        self._share += [VOID_TILE] * (-(-length // world) - len(self._share))

    def __len__(self) -> int:
        """Tiles of this process, the padding counted."""
        return len(self._share)

    def __iter__(self) -> Iterator[int]:
        """Tile numbers; -1 for a void tile."""
        return iter(self._share)


def repeat_factors(class_px: np.ndarray, rare_share: float) -> np.ndarray:
    """How often each tile should be seen: more when it shows a class that few tiles show.

    A class seen in a share f of the tiles gets max(1, sqrt(rare_share / f)), a tile the largest of its classes
    (repeat factor sampling, Gupta et al., LVIS, CVPR 2019).

    Args:
        class_px: Pixels by class, shape (tiles, classes).
        rare_share: Classes in fewer than this share of the tiles are drawn more often; 0 draws all alike.

    Returns:
        Shape (tiles,), float64, at least 1.
    """
    present = class_px > 0
    share = present.mean(axis=0)
    factors = np.maximum(1.0, np.sqrt(rare_share / np.where(share > 0, share, np.inf)))
    repeats: np.ndarray = np.where(present, factors, 1.0).max(axis=1)
    return repeats
