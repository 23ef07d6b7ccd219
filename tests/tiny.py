"""Tiny seeded images and items for tests."""

from collections.abc import Iterator

import numpy as np

from pipeline.files import sha256_bytes
from pipeline.images import encode_image, encode_mask
from pipeline.parts import Item


def scene(rng: np.random.Generator, size: tuple[int, int], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """An image of coloured rectangles and its mask, each class in a colour of its own.

    Returns:
        Image of shape (H, W, 3) and mask of shape (H, W), uint8; every class is present.
    """
    height, width = size
    mask = np.zeros(size, dtype=np.uint8)
    for label in range(1, classes):
        y, x = rng.integers(0, height * 2 // 3), rng.integers(0, width * 2 // 3)
        mask[y : y + height // 3, x : x + width // 3] = label
    mask[0, :classes] = np.arange(classes)
    colours = np.random.default_rng(0).integers(40, 215, (classes, 3))
    noise = rng.normal(0, 8, (*size, 3))
    return (colours[mask] + noise).clip(0, 255).astype(np.uint8), mask


def tiny_items(
    groups: int = 6, per_group: int = 2, size: tuple[int, int] = (48, 64), seed: int = 0, classes: int = 5
) -> Iterator[Item]:
    """Items with seeded content, `groups` groups named g0, g1, ... and a slice column `camera`."""
    rng = np.random.default_rng(seed)
    for number in range(groups * per_group):
        image, mask = scene(rng, size, classes)
        pixels, labels = encode_image(image), encode_mask(mask)
        yield Item(
            item_id=f"item-{number:03d}",
            image=pixels,
            mask=labels,
            image_path=f"item-{number:03d}.png",
            mask_path=f"item-{number:03d}.png",
            group=f"g{number // per_group}",
            sequence_index=number % per_group,
            sha256=sha256_bytes(pixels),
            mask_source_sha256=sha256_bytes(labels),
            source="tiny",
            slices={"camera": f"c{number % 2}"},
        )
