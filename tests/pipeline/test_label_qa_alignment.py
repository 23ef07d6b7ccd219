"""A mask's outlines are found on the image's edges, beside them, or nowhere near."""

import numpy as np
import pytest

from pipeline.label_qa.alignment import align

VOID = 255


def scene(seed: int = 0, side: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image of coloured boxes and the mask that fits it."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((side, side), np.uint8)
    for label in range(1, 13):
        y, x, height, width = *rng.integers(0, side - 60, 2), *rng.integers(20, 60, 2)
        mask[y : y + height, x : x + width] = label
    colours = rng.integers(0, 255, (13, 3))
    return (colours[mask] + rng.normal(0, 12, (side, side, 3))).clip(0, 255).astype(np.uint8), mask


def test_a_mask_that_fits_lies_best_where_it_is() -> None:
    """The agreement stands far out of chance, and no other place is better."""
    found = align(*scene(), VOID)
    assert found is not None
    assert found.in_place > 6
    assert (found.gain, found.dx, found.dy) == (0, 0, 0)


@pytest.mark.parametrize(("dx", "dy"), [(16, 0), (-9, 12), (0, -20)])
def test_a_shifted_mask_is_told_where_it_belongs(dx: int, dy: int) -> None:
    """The way back is found to the pixel, but for what an outline is thick."""
    image, mask = scene()
    found = align(image, np.roll(mask, (dy, dx), (0, 1)), VOID)
    assert found is not None
    assert found.gain > 4
    assert abs(found.dx + dx) <= 1
    assert abs(found.dy + dy) <= 1


def test_the_shift_is_in_pixels_of_the_image_however_large() -> None:
    """A large image is looked at in a smaller size, and its shift is told in its own."""
    image, mask = (np.kron(each, np.ones((6, 6, 1)[: each.ndim], np.uint8)) for each in scene())
    found = align(image, np.roll(mask, 60, 1), VOID)
    assert found is not None
    assert abs(found.dx + 60) <= 6


def test_the_mask_of_another_image_lies_nowhere() -> None:
    """It agrees far less than the image's own."""
    own, other = align(*scene(0), VOID), align(scene(0)[0], scene(1)[1], VOID)
    assert own is not None
    assert other is not None
    assert other.in_place < own.in_place / 2


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (2, 600)])
def test_of_a_tiny_image_nothing_is_said_or_a_number(size: tuple[int, int]) -> None:
    """Whatever the size, there is no error and nothing that is no number."""
    rng = np.random.default_rng(0)
    found = align(rng.integers(0, 255, (*size, 3), dtype=np.uint8), rng.integers(0, 16, size, dtype=np.uint8), VOID)
    assert found is None or (np.isfinite(found.in_place) and found.gain >= 0)


@pytest.mark.parametrize("size", [(1, 2000), (2000, 1)])
def test_a_long_strip_is_no_error(size: tuple[int, int]) -> None:
    """However long it is beside its width, it is looked at in a size that has pixels."""
    assert align(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8), VOID) is None


def test_without_outlines_nothing_is_said() -> None:
    """An empty mask, and one of void alone, have no outline; a flat image has no edge."""
    image, mask = scene()
    assert align(image, np.zeros_like(mask), VOID) is None
    assert align(image, np.full_like(mask, VOID), VOID) is None
    assert align(np.full_like(image, 90), mask, VOID) is None
