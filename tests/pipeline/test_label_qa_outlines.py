"""How a mask was drawn: specks, pinholes, corners, and the grid of a mask that was enlarged."""

import numpy as np
import pytest
from label_check_case import as_jpeg_leaves_it, enlarged, of_few_corners, scene

from pipeline.label_qa.outlines import drawing

VOID = 255


def test_a_sound_mask_has_no_specks_and_its_own_size() -> None:
    """Nothing tiny, and no grid."""
    found = drawing(scene(0)[1], VOID)
    assert (found.specks, found.holes, found.block_px) == (0, 0, 1)


def test_specks_and_pinholes_are_counted_apart() -> None:
    """Three specks of classes and two of void on 10,000 pixels are three and two."""
    mask = np.zeros((100, 100), np.uint8)
    mask[10, 10] = mask[30, 30:33] = mask[50, 50] = 2
    mask[70, 70] = mask[80, 80:82] = VOID
    found = drawing(mask, VOID)
    assert (found.specks, found.holes) == (3, 2)


def test_jpeg_damage_leaves_specks() -> None:
    """A mask that was stored as JPEG has many times more."""
    assert drawing(as_jpeg_leaves_it(scene(0)[1]), VOID).specks > 5


def test_rough_polygons_have_few_corners() -> None:
    """The same objects drawn with few clicks have fewer corners by outline."""
    fine, rough = (drawing(each, VOID).corners for each in (scene(0)[1], of_few_corners(scene(0)[1])))
    assert fine is not None
    assert rough is not None
    assert rough < 0.7 * fine


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 6, 8])
def test_an_enlarged_mask_is_told_by_its_squares(factor: int) -> None:
    """The side of the squares is the factor, wherever the grid begins."""
    mask = enlarged(scene(0)[1], factor)
    assert drawing(mask, VOID).block_px == factor
    assert drawing(mask[1:, 1:], VOID).block_px == factor


def test_one_upright_rectangle_is_no_grid() -> None:
    """Two edges across and two down say nothing of squares: a box was drawn, at the mask's own size."""
    mask = np.zeros((200, 200), np.uint8)
    mask[31:111, 43:163] = 1
    assert drawing(mask, VOID).block_px == 1


def test_the_outline_of_void_has_no_corners() -> None:
    """What lies between two areas of void was never drawn: void alone has no outline."""
    mask = np.full((100, 100), VOID, np.uint8)
    assert drawing(mask, VOID).corners is None


def test_nothing_drawn_has_no_corners() -> None:
    """A tiny object's outline is too short to say anything of how it was drawn."""
    mask = np.full((9, 9), VOID, np.uint8)
    mask[2:5, 2:5] = 1
    assert drawing(mask, VOID).corners is None


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 300), (300, 1)])
def test_tiny_masks_are_measured(size: tuple[int, int]) -> None:
    """Of any size there is an answer, and no grid."""
    mask = np.random.default_rng(0).integers(0, 16, size, dtype=np.uint8)
    assert drawing(mask, VOID).block_px == 1


def test_noise_of_single_pixels_is_all_specks() -> None:
    """Very many components of all ids are counted."""
    mask = np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)
    assert drawing(mask, VOID).specks > 9000


def test_another_value_of_void_counts_as_void() -> None:
    """The taxonomy says which value it is."""
    mask = np.zeros((100, 100), np.uint8)
    mask[10, 10] = 11
    assert (drawing(mask, 11).holes, drawing(mask, VOID).holes) == (1, 0)
