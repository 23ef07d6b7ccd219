"""Trains a network on tiles: sets up Lightning, resumes from the last checkpoint, gives the best weights."""

import importlib
import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from training.augment import Augmentation
from training.callbacks import (
    BEST,
    LAST,
    Epoch,
    EpochRecord,
    ExponentialAverage,
    Listener,
    Patience,
    WholeCheckpoints,
    best_and_last,
)
from training.losses import build_loss
from training.network import build_network, check_tile, statistics_of
from training.sampling import TileFeed
from training.settings import FitSettings, LossSettings, RunSettings
from training.task import Normaliser, SegmentationTask
from training.tiles import TileFolder, channel_statistics, class_weights

METRICS = "metrics.jsonl"
_PREFIX = "network."


class StoppedError(Exception):
    """A signal ended the training, which goes on from its last finished epoch when it is run again.

    Attributes:
        leading: Whether this process is the one that tells.
        epochs: How many are finished.
        signal: What ended it.
    """

    def __init__(self, epochs: int, number: signal.Signals, *, leading: bool) -> None:
        super().__init__(f"stopped after epoch {epochs} by {number.name}")
        self.leading = leading
        self.epochs = epochs
        self.signal = number


@dataclass(frozen=True)
class Fitted:
    """A finished training.

    Attributes:
        leading: Whether this process writes results; with several, one does.
        network: With its best weights, in evaluation mode, on the CPU.
        mean: By channel, in [0, 1].
        std: By channel.
        best_epoch: Counted from 0.
        history: A line per epoch.
        device: What it was trained on.
    """

    leading: bool
    network: nn.Module
    mean: list[float]
    std: list[float]
    best_epoch: int
    history: list[Epoch]
    device: str


def fit(
    folder: TileFolder,
    settings: FitSettings,
    store: Path,
    *,
    listeners: Sequence[Listener] = (),
    progress_bar: bool = False,
) -> Fitted:
    """Train, or resume from the last checkpoint in `store`.

    On a CPU the same inputs and the same number of threads give the same numbers, resumed or not. On a GPU they
    agree up to rounding: some of its kernels add in no fixed order.

    Args:
        folder: The tiles.
        settings: Everything else that counts.
        store: Folder of the checkpoints and of `metrics.jsonl`.
        listeners: Called with each epoch's line.
        progress_bar: Draw one on stderr.

    Raises:
        ValueError: Tiles and settings do not fit together, or the training diverged.
        ConnectionError: Pretrained weights could not be fetched.
        StoppedError: SIGTERM or SIGINT came while it trained.
    """
    pl.seed_everything(settings.seed, verbose=False)
    feed = TileFeed(folder, settings, settings.seed)
    mean, std = _statistics(folder, feed, settings)
    task = build_task(folder, settings, mean, std)
    record = EpochRecord(store / METRICS, listeners)
    last = store / LAST
    with quiet():
        trainer = build_trainer(settings, store, record, progress_bar=progress_bar)
        cpu = trainer.strategy.root_device.type == "cpu"
        with _deterministic(on=cpu), _explained(), _stoppable(trainer, record):
            trainer.fit(task, feed, ckpt_path=last if last.exists() else None, weights_only=True)
    best = torch.load(store / BEST, map_location="cpu", weights_only=True)
    task.network.load_state_dict(_network_weights(best["state_dict"]))
    leave_group()
    return Fitted(
        leading=trainer.is_global_zero,
        network=task.network.cpu().eval(),
        mean=mean,
        std=std,
        best_epoch=int(best["epoch"]),
        history=record.history,
        device=_device_name(trainer),
    )


def build_task(folder: TileFolder, settings: FitSettings, mean: list[float], std: list[float]) -> SegmentationTask:
    """Assemble network, loss, augmentation and optimiser for the classes of the tiles.

    Raises:
        ValueError: Tiles and settings do not fit together.
        ConnectionError: Pretrained weights could not be fetched.
    """
    facts = folder.facts
    network = build_network(settings.network, facts["num_classes"])
    check_tile(network, facts["tile_px"])
    if settings.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if settings.compile:
        network.compile()
    return SegmentationTask(
        network,
        _loss(folder, settings.loss),
        Augmentation(settings.augment, facts["ignore_index"]),
        Normaliser(mean, std, channels_last=settings.channels_last),
        settings.optimiser,
        class_names=folder.class_names,
        ignore_index=facts["ignore_index"],
        seed=settings.seed,
    )


def leave_group() -> None:
    """Leave the group of processes that a distributed training joined, once all have read what one then removes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _loss(folder: TileFolder, settings: LossSettings) -> nn.Module:
    facts = folder.facts
    weights = class_weights(np.asarray(facts["class_px"]), settings.class_weight_power)
    return build_loss(
        settings.terms,
        facts["num_classes"],
        facts["ignore_index"],
        class_weights=None if weights is None else torch.tensor(weights, dtype=torch.float32),
        boundary_px=settings.boundary_px,
        focal_gamma=settings.focal_gamma,
    )


def _statistics(folder: TileFolder, feed: TileFeed, settings: FitSettings) -> tuple[list[float], list[float]]:
    """Channel statistics: those of the pretrained weights, or else of the training tiles."""
    known = statistics_of(settings.network)
    return known or channel_statistics(feed.train, settings.statistics_tiles, folder.facts["ignore_index"])


def build_trainer(run: RunSettings, store: Path, record: EpochRecord, *, progress_bar: bool) -> pl.Trainer:
    """Set Lightning up: what goes on beside the steps, and where it runs.

    Raises:
        ValueError: This machine has not what the settings ask for.
    """
    callbacks: list[Callback] = [record, Patience(run.patience), *best_and_last(store)]
    if run.ema_decay:
        callbacks.append(ExponentialAverage(run.ema_decay))
    if progress_bar:
        callbacks.append(RichProgressBar(leave=False, console_kwargs={"stderr": True}))
    try:
        return pl.Trainer(
            accelerator=run.accelerator,
            devices=run.devices,
            strategy=run.strategy,
            precision=run.precision,
            max_epochs=run.max_epochs,
            gradient_clip_val=run.gradient_clip or None,
            callbacks=callbacks,
            plugins=[WholeCheckpoints()],
            default_root_dir=store,
            logger=False,
            enable_progress_bar=progress_bar,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError) as error:
        raise ValueError(
            f"train.accelerator {run.accelerator!r} (devices {run.devices!r}, strategy {run.strategy!r}, precision "
            f"{run.precision!r}) cannot be used on this machine: {error}"
        ) from None


def _network_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}


def _device_name(trainer: pl.Trainer) -> str:
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{trainer.world_size} x {name}" if trainer.world_size > 1 else str(name)


@contextmanager
def _deterministic(*, on: bool) -> Iterator[None]:
    """Forbid operations that add in no fixed order, where all that is needed has a fixed one: on a CPU."""
    memory: Any = importlib.import_module("torch.utils.deterministic")  # a module of properties, unknown to mypy
    before = (torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory)
    torch.use_deterministic_algorithms(on or before[0])
    memory.fill_uninitialized_memory = False  # costs a pass over memory, and nothing reads it
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        memory.fill_uninitialized_memory = before[1]


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what a user's settings bring about into errors that name them."""
    try:
        yield
    except RuntimeError as error:
        if "parameters that were not used" not in str(error):
            raise
        raise ValueError(
            "A part of this network takes no part in its output, which strategy 'ddp' does not allow: set "
            "train.strategy to 'ddp_find_unused_parameters_true'."
        ) from error


@contextmanager
def _stoppable(trainer: pl.Trainer, record: EpochRecord) -> Iterator[None]:
    """Tell a signal from an end: Lightning leaves by exit code 0 after SIGTERM and by 1 after SIGINT, with no word."""
    try:
        yield
    except SystemExit as end:
        by_hand = isinstance(end.__context__, KeyboardInterrupt)
        if not by_hand and not isinstance(end, SIGTERMException):
            raise
        number = signal.SIGINT if by_hand else signal.SIGTERM
        raise StoppedError(len(record.history), number, leading=trainer.is_global_zero) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's hints off the terminal: each names a choice that was made on purpose."""
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
            # Lightning asks torch in a way that newer versions of torch deprecate.
            warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
            yield
    finally:
        logger.setLevel(before)
