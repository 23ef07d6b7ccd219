"""A training step through our task and loader against a bare PyTorch loop. Run with python -m."""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from benchmarks.comparison import report
from training.callbacks import EpochRecord
from training.fit import build_task, build_trainer, quiet
from training.sampling import TileFeed
from training.settings import FitSettings
from training.task import SegmentationTask, parameter_groups
from training.tiles import TileDataset, TileFolder

TARGET = 1.05
CLASSES = 5
WARM_UP = 5


class Interleaved(Callback):
    """Times each of the trainer's steps, and after it one of the bare loop.

    A step of the trainer is all that happens between two calls: gathering, augmentation, network, loss, optimiser,
    schedule, clipping, averaged weights, bookkeeping. Put last among the callbacks.
    """

    def __init__(self, bare: Callable[[], None]) -> None:
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self._bare = bare
        self._mark: float | None = None

    def on_train_batch_end(self, *_: Any) -> None:
        """A step of ours ends; take one of theirs."""
        end = time.perf_counter()
        if self._mark is not None:
            self.ours.append(end - self._mark)
        start = time.perf_counter()
        self._bare()
        self._mark = time.perf_counter()
        self.theirs.append(self._mark - start)


def bare_step(task: SegmentationTask, batches: list[Tensor], settings: FitSettings) -> Callable[[], None]:
    """A plain loop's step over batches already in memory, with a copy of the same parts."""
    own = copy.deepcopy(task).train()
    network, loss, augmentation, normaliser = own.network, own.loss, own.augmentation, own.normaliser
    groups = parameter_groups(network, settings.optimiser.weight_decay)
    optimiser = torch.optim.AdamW(groups, lr=settings.optimiser.learning_rate, fused=True)
    turn = 0

    def step() -> None:
        nonlocal turn
        images, masks = augmentation(batches[turn % len(batches)])
        value = loss(network(normaliser(images)), masks.long())
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        turn += 1

    return step


def write_tiles(root: Path, count: int, side: int) -> TileFolder:
    """Random tiles on disk, as the stage that prepares tiles writes them."""
    rng = np.random.default_rng(0)
    for split, tiles in (("train", count), ("val", 1)):
        (root / split).mkdir(parents=True)
        block = rng.integers(0, 256, (tiles, side, side, 4), dtype=np.uint8)
        block[..., 3] %= CLASSES
        np.save(root / split / "shard-00000.npy", block)
        class_px = [np.bincount(tile[..., 3].ravel(), minlength=CLASSES).tolist() for tile in block]
        columns = {"shard": 0, "offset": np.arange(tiles), "class_px": class_px}
        pd.DataFrame(columns).to_parquet(root / split / "index.parquet")
    classes = [{"id": number, "name": str(number)} for number in range(CLASSES)]
    facts = {
        "tile_px": side,
        "num_classes": CLASSES,
        "ignore_index": 255,
        "classes": classes,
        "class_px": [1] * CLASSES,
    }
    return TileFolder(root, facts)


def in_memory(tiles: TileDataset, batch_size: int) -> list[Tensor]:
    """All batches of the tiles as tensors."""
    whole = torch.from_numpy(tiles.__getitems__(range(len(tiles))))
    return list(whole[: len(tiles) // batch_size * batch_size].split(batch_size))


def measure(folder: TileFolder, settings: FitSettings, store: Path) -> Interleaved:
    """Train one epoch, interleaved."""
    task = build_task(folder, settings, [0.5] * 3, [0.25] * 3)
    feed = TileFeed(folder, settings, settings.seed)
    timer = Interleaved(bare_step(task, in_memory(feed.train, settings.batch_size), settings))
    with quiet():
        trainer = build_trainer(settings, store, EpochRecord(store / "metrics.jsonl", ()), progress_bar=False)
        trainer.callbacks.append(timer)
        trainer.fit(task, feed)
    return timer


def main() -> None:
    """Measure with the project's own section `train`, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--tile-px", type=int, default=160)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    options = parser.parse_args()
    section = yaml.safe_load(options.params.read_text(encoding="utf-8"))["train"]
    del section["pictures"]
    settings = FitSettings.model_validate(section | {"max_epochs": 1})
    pl.seed_everything(settings.seed, verbose=False)
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_tiles(Path(temporary) / "tiles", settings.batch_size * options.steps, options.tile_px)
        timer = measure(folder, settings, Path(temporary) / "store")
    report_times(timer, settings, options.tile_px)


def report_times(timer: Interleaved, settings: FitSettings, tile_px: int) -> None:
    """Medians, and the median of the ratios of neighbouring steps."""
    pairs = list(zip(timer.ours, timer.theirs[1:], strict=False))[WARM_UP:]
    ours, theirs = (statistics.median(each) * 1000 for each in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    rows = [
        {"case": "bare loop", "median ms": theirs, "times bare": 1.0, "at most": ""},
        {"case": "task and loader", "median ms": ours, "times bare": ratio, "at most": TARGET},
    ]
    network = f"{settings.network.architecture} {settings.network.encoder}"
    title = f"Training step, {network}, {settings.batch_size} tiles of {tile_px} px, {torch.get_num_threads()} threads"
    report("training_step", title, rows, ["torch", "lightning", "segmentation-models-pytorch"])


if __name__ == "__main__":
    main()
