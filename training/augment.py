"""Augmentation of whole batches on the device that trains; masks take the nearest label."""

from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2

Probability = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0, le=1)]


class AugmentSettings(BaseModel):
    """What training tiles go through; 0 leaves a step out.

    Attributes:
        tiles_per_draw: Tiles that share one draw of the random numbers: 1 varies most, more costs less.
        horizontal_flip: Probability.
        vertical_flip: Probability.
        rotate_deg: Largest rotation either way, in degrees.
        translate: Largest shift either way, as a share of the tile.
        zoom: Smallest and largest scale factor; below 1 the border is void.
        brightness: Factor drawn from 1 - b to 1 + b.
        contrast: Likewise.
        saturation: Likewise.
        hue: Largest turn of the hue, in turns.
        blur: Probability of a Gaussian blur.
        blur_sigma_px: Smallest and largest sigma of the blur.
        noise: Standard deviation of added Gaussian noise, as a share of full scale.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tiles_per_draw: int = Field(ge=1)
    horizontal_flip: Probability
    vertical_flip: Probability
    rotate_deg: float = Field(ge=0, le=180)
    translate: Probability
    zoom: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    brightness: Strength
    contrast: Strength
    saturation: Strength
    hue: float = Field(ge=0, le=0.5)
    blur: Probability
    blur_sigma_px: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    noise: Strength


class Augmentation(nn.Module):
    """Random geometry and colour for a batch of tiles.

    Args:
        settings: The steps and their strengths.
        ignore_index: Void label, given to what a zoom or rotation leaves empty.
    """

    def __init__(self, settings: AugmentSettings, ignore_index: int) -> None:
        super().__init__()
        self._tiles_per_draw = settings.tiles_per_draw
        steps = [*_geometry(settings, ignore_index), *_colour(settings)]
        self._transform = v2.Compose(steps) if steps else None

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Augment a batch (B, T, T, 4) uint8 into images (B, 3, T, T) uint8 and masks (B, T, T) uint8."""
        images, masks = image_and_mask(batch)
        if self._transform is None:
            return images, masks
        drawn = [
            self._transform(tv_tensors.Image(image), tv_tensors.Mask(mask))
            for image, mask in zip(
                torch.split(images, self._tiles_per_draw), torch.split(masks, self._tiles_per_draw), strict=True
            )
        ]
        return torch.cat([each[0].as_subclass(Tensor) for each in drawn]), torch.cat(
            [each[1].as_subclass(Tensor) for each in drawn]
        )


def image_and_mask(batch: Tensor) -> tuple[Tensor, Tensor]:
    """Views of a batch (B, T, T, 4): images (B, 3, T, T) and masks (B, T, T)."""
    return batch[..., :3].permute(0, 3, 1, 2), batch[..., 3]


def _geometry(settings: AugmentSettings, ignore_index: int) -> list[nn.Module]:
    steps: list[nn.Module] = []
    if settings.horizontal_flip:
        steps.append(v2.RandomHorizontalFlip(settings.horizontal_flip))
    if settings.vertical_flip:
        steps.append(v2.RandomVerticalFlip(settings.vertical_flip))
    if settings.rotate_deg or settings.translate or settings.zoom != (1.0, 1.0):
        steps.append(
            v2.RandomAffine(
                settings.rotate_deg,
                translate=(settings.translate, settings.translate),
                scale=settings.zoom,
                interpolation=v2.InterpolationMode.BILINEAR,
                fill={tv_tensors.Image: 0, tv_tensors.Mask: ignore_index},
            )
        )
    return steps


def _colour(settings: AugmentSettings) -> list[nn.Module]:
    steps: list[nn.Module] = []
    strengths = {name: getattr(settings, name) for name in ("brightness", "contrast", "saturation", "hue")}
    if any(strengths.values()):
        steps.append(v2.ColorJitter(**strengths))
    if settings.blur:
        sigma = settings.blur_sigma_px
        width_px = 2 * round(2 * sigma[1]) + 1
        steps.append(v2.RandomApply([v2.GaussianBlur(width_px, sigma)], settings.blur))
    if settings.noise:
        steps.append(v2.GaussianNoise(sigma=settings.noise))
    return steps
