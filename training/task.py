"""The training task: what a step computes, what a validation measures, which optimiser follows."""

import math
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from training.augment import Augmentation, image_and_mask
from training.meter import Meter


class OptimiserSettings(BaseModel):
    """AdamW with a linear warm-up and a cosine decay.

    Attributes:
        learning_rate: The peak.
        weight_decay: Decoupled decay of weights; biases and normalisation have none.
        warmup_share: Share of all steps that the learning rate rises from near 0 to its peak.
        final_share: Learning rate at the end, as a share of the peak.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_share: float = Field(ge=0, lt=1)
    final_share: float = Field(ge=0, le=1)


class Normaliser(nn.Module):
    """Turns uint8 RGB into what the network was made for.

    Args:
        mean: By channel, in [0, 1].
        std: By channel.
        channels_last: Give tensors in that memory order.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: list[float], std: list[float], *, channels_last: bool) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)
        self._format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, images: Tensor) -> Tensor:
        """Normalise (B, 3, H, W) uint8 to float32."""
        floats = images.to(torch.float32, memory_format=self._format)
        normal: Tensor = floats.sub_(self.mean).div_(self.std)
        return normal


class SegmentationTask(pl.LightningModule):
    """One network, trained on tiles.

    Args:
        network: (B, 3, T, T) float to logits (B, C, T, T).
        loss: Logits and target (B, T, T) int64 to a scalar.
        augmentation: Tiles (B, T, T, 4) uint8 to images and masks.
        normaliser: Images uint8 to the network's input.
        settings: Optimiser and schedule.
        class_names: Names by class id, for the names of the metrics.
        ignore_index: The void label.
        seed: Seed of augmentation and dropout; each epoch draws from its own stream, so that a resumed training
            draws what an uninterrupted one does.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        augmentation: Augmentation,
        normaliser: Normaliser,
        settings: OptimiserSettings,
        *,
        class_names: list[str],
        ignore_index: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.network, self.loss = network, loss
        self.augmentation, self.normaliser = augmentation, normaliser
        self._settings, self._seed = settings, seed
        self._meter = Meter(class_names, ignore_index)
        self.epoch_metrics: dict[str, float] = {}

    def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> None:
        """Start the epoch's own random stream at its first batch.

        (What a loader draws before that differs between a start and a resumption.)
        """
        del batch
        if batch_idx == 0:
            torch.manual_seed((self._seed * 1_000_003 + self.current_epoch) * 1009 + self.global_rank)
            self._meter.reset(self.device)

    def training_step(self, batch: Tensor, _: int) -> Tensor:
        """Loss of a batch of tiles (B, T, T, 4) uint8."""
        images, masks = self.augmentation(batch)
        loss: Tensor = self.loss(self.network(self.normaliser(images)), masks.long())
        self._meter.train_loss += loss.detach()
        self._meter.train_steps += 1
        return loss

    def validation_step(self, batch: Tensor, _: int) -> None:
        """Count a batch of tiles (B, T, T, 4) uint8 into the confusion matrix."""
        images, masks = image_and_mask(batch)
        logits = self.network(self.normaliser(images))
        self._meter.count(logits, masks.long(), self.loss)

    def on_validation_epoch_end(self) -> None:
        """Turn what was counted, over all processes, into the epoch's metrics."""
        self.epoch_metrics = self._meter.metrics(self._reduced)
        self.log("val_miou", self.epoch_metrics["val_miou"], sync_dist=True, batch_size=1)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW over two groups, and a schedule by step."""
        settings = self._settings
        optimiser = torch.optim.AdamW(
            parameter_groups(self.network, settings.weight_decay),
            lr=settings.learning_rate,
            # With mixed precision Lightning clips no gradients of a fused optimiser, which may unscale by itself.
            fused="mixed" not in str(self.trainer.precision),
        )
        total = int(self.trainer.estimated_stepping_batches)
        warmup = round(settings.warmup_share * total)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: warmup_cosine(step, warmup, total, settings.final_share)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _reduced(self, total: Tensor) -> Tensor:
        reduced: Tensor = self.trainer.strategy.reduce(total, reduce_op="sum")
        return reduced


def warmup_cosine(step: int, warmup: int, total: int, final_share: float) -> float:
    """Learning rate of a step as a share of the peak: linear warm-up, then half a cosine.

    The decay is that of Loshchilov and Hutter, SGDR, ICLR 2017, without restarts.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = min((step - warmup) / max(total - warmup, 1), 1.0)
    return final_share + (1 - final_share) * (1 + math.cos(math.pi * progress)) / 2


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters in two groups: matrices and filters decay, vectors (biases, normalisation) do not."""
    trained = [each for each in network.parameters() if each.requires_grad]
    return [
        {"params": [each for each in trained if each.dim() > 1], "weight_decay": weight_decay},
        {"params": [each for each in trained if each.dim() <= 1], "weight_decay": 0.0},
    ]
