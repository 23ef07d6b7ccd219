"""What goes on beside the steps of a training: averaged weights, checkpoints, early stopping, the record of epochs."""

import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import psutil
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.energy import POWERCAP, EnergyMeter, cuda_uuids, gpu_counters, package_counters
from training.task import SegmentationTask

Epoch = dict[str, float | None]
Listener = Callable[[Epoch], None]
_Tensors = tuple[Tensor, ...] | list[Tensor]

MONITOR = "val_miou"
LAST, BEST = "last.ckpt", "best.ckpt"
MIB = 1 << 20


class PairedAverage(AveragedModel):
    """Averages as its parent does, on the device of the model.

    It pairs the tensors once: finding them anew at every step costs ten times the arithmetic.
    """

    _pairs: list[tuple[list[Tensor], list[Tensor]]] | None = None

    def update_parameters(self, model: nn.Module) -> None:
        """Average in what `model` holds now; the first update copies it."""
        if self.n_averaged == 0 or self.multi_avg_fn is None:
            super().update_parameters(model)
            return
        if self._pairs is None:
            self.module.to(next(model.parameters()).device)
            tensors = zip(_tensors(self.module), _tensors(model), strict=True)
            by_type = groupby(sorted(tensors, key=_type), key=_type)
            self._pairs = [_unzip(pairs) for _, pairs in by_type]
        for averaged, current in self._pairs:
            self.multi_avg_fn(averaged, current, self.n_averaged)
        self.n_averaged += 1


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return (each.detach() for each in chain(module.parameters(), module.buffers()))


def _unzip(pairs: Iterable[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    averaged, current = zip(*pairs, strict=True)
    return list(averaged), list(current)


def _type(pair: tuple[Tensor, Tensor]) -> str:
    return str(pair[0].dtype)


class ExponentialAverage(WeightAveraging):
    """Averages the weights exponentially; validation and the best checkpoint use the average.

    The decay of update n is min(decay, (1 + n) / (10 + n)), so that a short training does not carry its random start
    along (the schedule of TensorFlow's ExponentialMovingAverage).

    Args:
        decay: Largest decay, in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=self._average)
        self._decay = decay
        self._update = 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Hold the average where a fit begins."""
        del trainer
        if stage == "fit":
            self._average_model = PairedAverage(pl_module, multi_avg_fn=self._average, use_buffers=True)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Update after every step."""
        if step_idx is not None:
            self._update = step_idx
        return bool(super().should_update(step_idx, epoch_idx))

    @torch.no_grad()
    def _average(self, averaged: _Tensors, current: _Tensors, _: Tensor | int) -> None:
        decay = min(self._decay, (1 + self._update) / (10 + self._update))
        get_ema_multi_avg_fn(decay)(averaged, current, _)  # type: ignore[no-untyped-call]


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name beside its own and renames it: a kill leaves the one before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write, flush to the disk, rename."""
        assert storage_options is None
        whole = io.BytesIO()
        torch.save(checkpoint, whole)
        temporary = Path(path).with_suffix(".part")
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(whole.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


class Patience(EarlyStopping):
    """Stops when validation mIoU has not risen for a while; remembers that it did when a training is resumed."""

    def __init__(self, epochs: int) -> None:
        super().__init__(monitor=MONITOR, mode="max", patience=epochs, check_on_train_epoch_end=True)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once a training that had stopped when it was killed."""
        del pl_module
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class EpochRecord(Callback):
    """Writes a line per epoch to a file, and tells listeners.

    The lines are part of every checkpoint: after a resumption the file holds the epochs up to the checkpoint, whatever
    was written when the training was killed.

    Args:
        file: Where the lines go, as JSON.
        listeners: Called with each line, in the leading process only.
        powercap: Where Linux tells the energy of processors.

    Attributes:
        history: The lines so far.
    """

    def __init__(self, file: Path, listeners: Sequence[Listener], powercap: Path = POWERCAP) -> None:
        self.history: list[Epoch] = []
        self._file = file
        self._listeners = listeners
        self._process = psutil.Process()
        self._powercap = powercap
        self._energy = EnergyMeter()
        self._started = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The lines so far."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the lines of a checkpoint."""
        self.history = list(state_dict["history"])

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Bring the file in line with the checkpoint."""
        del pl_module
        if trainer.is_global_zero:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text("".join(map(_line, self.history)), encoding="utf-8")
        gpus = trainer.device_ids if trainer.strategy.root_device.type == "cuda" else []
        self._energy = EnergyMeter(package_counters(self._powercap), gpu_counters(cuda_uuids(gpus)))
        self._process.cpu_percent()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the clock at the epoch's first batch (a resumed training starts its first epoch without a word)."""
        del trainer, pl_module, batch
        if batch_idx == 0:
            self._started = time.monotonic()
        self._energy.keep_up()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Append the epoch's line.

        Raises:
            ValueError: The training loss is not finite: the training has diverged.
        """
        epoch: Epoch = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "time": time.time(),
            **{name: _finite(value) for name, value in _metrics(pl_module).items()},
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": time.monotonic() - self._started,
            **self._system(),
        }
        if epoch["train_loss"] is None:
            raise ValueError(
                f"The training loss is not finite in epoch {trainer.current_epoch}: the training has diverged. "
                "Lower the learning rate, set gradient_clip, or train with precision 32."
            )
        self.history.append(epoch)
        if trainer.is_global_zero:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(_line(epoch))
            for listener in self._listeners:
                listener(epoch)

    def _system(self) -> dict[str, float]:
        figures = {
            "system/cpu_percent": self._process.cpu_percent(),
            "system/rss_mib": self._process.memory_info().rss / MIB,
        }
        if torch.cuda.is_available():
            figures["system/gpu_peak_mib"] = torch.cuda.max_memory_allocated() / MIB
        energy = self._energy.take()
        joules = {"system/energy_j": energy.known_j, "system/gpu_energy_j": energy.gpus_j}
        return figures | {name: value for name, value in joules.items() if value is not None}


def best_and_last(store: Path) -> list[ModelCheckpoint]:
    """Keep `best.ckpt` (highest validation mIoU) and `last.ckpt` (every epoch) in a folder.

    Two callbacks: `save_last` of the first would write only in epochs that are better than all before.
    """
    folder: dict[str, Any] = {"dirpath": store, "save_on_train_epoch_end": True, "enable_version_counter": False}
    best = ModelCheckpoint(filename=Path(BEST).stem, monitor=MONITOR, mode="max", **folder)
    return [best, ModelCheckpoint(filename=Path(LAST).stem, **folder)]  # the last holds the state of the best


def drop_damaged(store: Path) -> list[Path]:
    """Removes both checkpoints of a folder when a resumption would fail on either, so that training starts anew.

    Returns:
        The damaged ones; none when there is nothing to resume, or nothing wrong.
    """
    last, best = store / LAST, store / BEST
    damaged = [file for file in (last, best) if last.exists() and not _is_whole(file)]
    if damaged:
        last.unlink(missing_ok=True)
        best.unlink(missing_ok=True)
    return damaged


def _is_whole(checkpoint: Path) -> bool:
    """Whether the archive that torch writes is there to its end, with every checksum right."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, FileNotFoundError):
        return False


def _metrics(task: pl.LightningModule) -> dict[str, float]:
    assert isinstance(task, SegmentationTask)
    return task.epoch_metrics


def _finite(value: float) -> float | None:
    return value if torch.isfinite(torch.tensor(value)) else None


def _line(epoch: Epoch) -> str:
    return json.dumps(epoch, allow_nan=False) + "\n"
