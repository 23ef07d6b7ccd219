"""Tests of the augmentation: images and masks move together, labels stay labels."""

from typing import Any

import pytest
import torch

from training.augment import Augmentation, AugmentSettings, image_and_mask

STILL: dict[str, Any] = {
    "tiles_per_draw": 1,
    "horizontal_flip": 0.0,
    "vertical_flip": 0.0,
    "rotate_deg": 0.0,
    "translate": 0.0,
    "zoom": (1.0, 1.0),
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "hue": 0.0,
    "blur": 0.0,
    "blur_sigma_px": (0.5, 1.0),
    "noise": 0.0,
}
LEVELS = torch.tensor([10, 120, 240], dtype=torch.uint8)


@pytest.fixture
def batch() -> torch.Tensor:
    """Six tiles of 24 px whose image shows its mask: class c has the grey level LEVELS[c]."""
    torch.manual_seed(0)
    coarse = torch.randint(0, 3, (6, 3, 3), dtype=torch.uint8)
    mask = coarse.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)
    return torch.cat([LEVELS[mask.long()][..., None].expand(-1, -1, -1, 3), mask[..., None]], dim=-1)


def augmented(batch: torch.Tensor, **changes: object) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch after an augmentation with some settings changed."""
    torch.manual_seed(1)
    return Augmentation(AugmentSettings(**{**STILL, **changes}), ignore_index=255)(batch)


def test_all_at_zero_changes_nothing(batch: torch.Tensor) -> None:
    """Every step left out gives image and mask as they are."""
    images, masks = augmented(batch)
    expected = image_and_mask(batch)
    assert torch.equal(images, expected[0])
    assert torch.equal(masks, expected[1])


@pytest.mark.parametrize("flip", ["horizontal_flip", "vertical_flip"])
def test_flips_move_image_and_mask_together(batch: torch.Tensor, flip: str) -> None:
    """After a certain flip both are mirrored along the same axis."""
    axis = -1 if flip == "horizontal_flip" else -2
    images, masks = augmented(batch, **{flip: 1.0})
    expected = image_and_mask(batch)
    assert torch.equal(images, expected[0].flip(axis))
    assert torch.equal(masks, expected[1].flip(axis))


def test_geometry_invents_no_label(batch: torch.Tensor) -> None:
    """Rotation and zoom give only labels that were there, and void where they leave a border empty."""
    _, masks = augmented(batch, rotate_deg=30, zoom=(0.5, 0.8), translate=0.1)
    assert set(masks.unique().tolist()) == {0, 1, 2, 255}


def test_geometry_keeps_image_and_mask_aligned(batch: torch.Tensor) -> None:
    """Most pixels still show the grey level of their label after rotation and zoom."""
    images, masks = augmented(batch, rotate_deg=20, zoom=(0.8, 1.3), horizontal_flip=0.5)
    valid = masks != 255
    shown = images[:, 0][valid].int()
    expected = LEVELS[masks[valid].long()].int()
    assert ((shown - expected).abs() < 30).float().mean() > 0.8


def test_colour_leaves_masks_alone(batch: torch.Tensor) -> None:
    """Jitter, blur and noise change images only, and keep uint8."""
    images, masks = augmented(batch, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1, blur=1.0, noise=0.1)
    before = image_and_mask(batch)
    assert torch.equal(masks, before[1])
    assert images.dtype == torch.uint8
    assert not torch.equal(images, before[0])


def test_each_tile_draws_for_itself_unless_told_to_share(batch: torch.Tensor) -> None:
    """With one tile a draw equal tiles come out different; with all tiles in a draw they come out alike."""
    alike = batch[:1].expand(6, -1, -1, -1)
    apart, _ = augmented(alike, brightness=0.5)
    together, _ = augmented(alike, brightness=0.5, tiles_per_draw=6)
    assert not torch.equal(apart[0], apart[1])
    assert torch.equal(together[0], together[5])
