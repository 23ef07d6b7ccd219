"""The settings of a training."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from training.augment import AugmentSettings
from training.network import NetworkSettings
from training.sampling import FeedSettings
from training.task import OptimiserSettings


class LossSettings(BaseModel):
    """What is minimised.

    Attributes:
        terms: Weight of each loss by name.
        class_weight_power: 0 weighs all classes alike, 1 by inverse frequency, in between milder.
        boundary_px: Half-width of the band that boundary_cross_entropy stresses.
        focal_gamma: Exponent of the focal loss.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    terms: dict[str, float]
    class_weight_power: float = Field(ge=0, le=1)
    boundary_px: int = Field(ge=1)
    focal_gamma: float = Field(gt=0)


class RunSettings(BaseModel):
    """How the training runs; accelerator, devices, strategy and precision are Lightning's own settings.

    Attributes:
        seed: Seed of weights, draws and augmentation.
        max_epochs: Most epochs.
        patience: Epochs without a better validation mIoU after which training stops.
        gradient_clip: Largest norm of the gradient; 0 does not clip.
        ema_decay: Decay of the averaged weights; 0 does not average.
        statistics_tiles: Tiles from which channel mean and deviation are taken.
        channels_last: Memory order of images and weights; faster on most devices.
        compile: Compile the network by torch.compile.
        accelerator: cpu, gpu, auto, ...
        devices: How many, or which.
        strategy: auto, ddp, ...
        precision: 32, bf16-mixed or 16-mixed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(ge=0)
    max_epochs: int = Field(ge=1)
    patience: int = Field(ge=1)
    gradient_clip: float = Field(ge=0)
    ema_decay: float = Field(ge=0, lt=1)
    statistics_tiles: int = Field(ge=1)
    channels_last: bool
    compile: bool
    accelerator: str
    devices: int | str | list[int]
    strategy: str
    precision: Literal["32", "bf16-mixed", "16-mixed"]


class FitSettings(RunSettings, FeedSettings):
    """Everything that a training is a function of, beside its tiles.

    Attributes:
        network: Which network.
        loss: What is minimised.
        optimiser: By which steps.
        augment: What the tiles go through.
    """

    network: NetworkSettings
    loss: LossSettings
    optimiser: OptimiserSettings
    augment: AugmentSettings
