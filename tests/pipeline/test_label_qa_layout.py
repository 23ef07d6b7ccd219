"""Two classes of a mask that changed places stand out from where the classes usually are."""

import numpy as np
import pytest

from pipeline.label_qa.layout import CELLS, FEWEST, exchanged, layout

VOID = 255


def layouts(count: int = 30) -> np.ndarray:
    """Sky above, road below, and a car somewhere on the road."""
    rng = np.random.default_rng(0)
    found = np.zeros((count, CELLS, CELLS), np.uint8)
    for each in found:
        each[rng.integers(7, 10) :] = 1
        x = rng.integers(0, 12)
        each[12:14, x : x + 4] = 2
    return found


def swapped(each: np.ndarray, one: int, other: int) -> np.ndarray:
    """With two classes in each other's places."""
    return np.where(each == one, other, np.where(each == other, one, each)).astype(np.uint8)


def test_an_inverted_mask_stands_out_with_its_classes() -> None:
    """It alone gains by changing back, and the two classes are named."""
    found = layouts()
    found[7] = swapped(found[7], 0, 1)
    gain, pairs = exchanged(found, 3)
    assert gain.argmax() == 7
    assert gain[7] > 100
    assert pairs[7].tolist() == [0, 1]


def test_sound_masks_gain_nothing() -> None:
    """No exchange fits better than what was drawn."""
    assert (exchanged(layouts(), 3)[0] < 20).all()


def test_a_mask_does_not_speak_for_itself() -> None:
    """The gain is that by the other masks alone: one among twenty is found as one among a hundred is."""
    found = layouts(FEWEST)
    found[0] = swapped(found[0], 0, 1)
    assert exchanged(found, 3)[0][0] > 100


def test_few_masks_say_nothing() -> None:
    """Below twenty it is unknown where a class usually is."""
    assert np.isnan(exchanged(layouts(FEWEST - 1), 3)[0]).all()


def test_void_never_counts() -> None:
    """Cells of void gain nothing and change no other mask's gain; masks of void alone gain nothing."""
    found = layouts()
    found[7] = swapped(found[7], 0, 1)
    before = exchanged(found, 3)[0]
    with_void = np.concatenate([found, np.full((5, CELLS, CELLS), VOID, np.uint8)])
    after = exchanged(with_void, 3)[0]
    assert after[:30] == pytest.approx(before)
    assert (after[30:] == 0).all()


def test_masks_of_one_class_have_nothing_to_exchange() -> None:
    """There is no second class to change places with."""
    assert (exchanged(np.zeros((25, CELLS, CELLS), np.uint8), 3)[0] == 0).all()


def test_ids_up_to_the_last_can_be_exchanged() -> None:
    """With 255 classes, 253 and 254 are told apart from void."""
    found = layouts() + np.uint8(252)
    found[3] = swapped(found[3], 252, 253)
    gain, pairs = exchanged(found, 255)
    assert gain.argmax() == 3
    assert pairs[3].tolist() == [252, 253]


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (16, 16), (7, 400)])
def test_a_mask_of_any_size_has_a_layout(size: tuple[int, int]) -> None:
    """The cells hold what lies at their middle, in order."""
    mask = (np.arange(size[0])[:, None] * 16 // size[0] * 10 + np.arange(size[1]) % 7).astype(np.uint8)
    found = layout(mask)
    assert found.shape == (CELLS, CELLS)
    assert found[0, 0] == mask[size[0] // 32, size[1] // 32]
    assert found[-1, -1] == mask[-1 - size[0] // 32, -1 - size[1] // 32]
