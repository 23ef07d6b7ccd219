"""Regions where a model contradicts a mask, by hand-made probabilities and by a real graph."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from stage_outputs import write_outputs

from pipeline.inference import Segmenter
from pipeline.label_qa.disagreement import MOST, Opinion, disputed_regions, given_probability, opinion

VOID = 255


def sure(seen: np.ndarray, mask: np.ndarray, given_p: float = 0.03) -> Opinion:
    """A model that is sure of what it sees, and gives the mask's class little where that is another."""
    own = np.where(mask == VOID, 0, np.where(seen == mask, 0.9, given_p)).astype(np.float32)
    return Opinion(seen, np.full(mask.shape, 0.9, np.float32), own)


def masks() -> tuple[np.ndarray, np.ndarray]:
    """A mask of two halves in a frame of void, and the same as a model sees it."""
    mask = np.full((60, 80), VOID, np.uint8)
    mask[4:56, 4:40], mask[4:56, 40:76] = 0, 1
    return mask, np.where(mask == VOID, 0, mask).astype(np.uint8)


def test_a_disputed_rectangle_gives_its_classes_and_place() -> None:
    """The region is named by the mask's class and the model's; its box lies in the rectangle, an outline narrower."""
    mask, seen = masks()
    seen[10:30, 50:70] = 2
    found = disputed_regions(mask, sure(seen, mask), 3)
    assert found.classes.tolist() == [[1, 2]]
    assert found.boxes[0] == pytest.approx([50, 10, 70, 30], abs=1)


def test_the_box_contains_what_is_disputed() -> None:
    """Whoever looks at the box sees the whole fault."""
    mask, seen = masks()
    seen[10:30, 50:70] = 2
    assert disputed_regions(mask, sure(seen, mask), 3).boxes.tolist() == [[50, 10, 70, 30]]


def test_the_share_of_each_class_is_told() -> None:
    """Of a class's pixels in the mask; without any it is unknown."""
    mask, seen = masks()
    seen[10:30, 50:70] = 2
    found = disputed_regions(mask, sure(seen, mask), 4)
    assert found.disputed == pytest.approx([0, 400 / (52 * 36), np.nan, np.nan], nan_ok=True)


def test_outlines_one_pixel_off_are_not_disputed() -> None:
    """Nobody draws to the pixel: a mask moved by one has no region, though pixels differ."""
    mask, seen = masks()
    found = disputed_regions(mask, sure(np.roll(seen, 1, 1), mask), 3)
    assert found.classes.shape == (0, 2)
    assert np.nanmax(found.disputed) > 0


def test_void_is_never_disputed() -> None:
    """Whatever a model sees there; a mask of void alone has no region and no share."""
    mask, seen = masks()
    elsewhere = np.where(mask == VOID, 2, seen).astype(np.uint8)
    assert not disputed_regions(mask, sure(elsewhere, mask), 3).weights.size
    found = disputed_regions(np.full_like(mask, VOID), sure(seen, np.full_like(mask, VOID)), 3)
    assert not found.weights.size
    assert np.isnan(found.disputed).all()


def test_a_model_that_is_not_sure_disputes_nothing() -> None:
    """Below twice the probability of the mask's class nothing is said."""
    mask, seen = masks()
    seen[10:30, 50:70] = 2
    assert not disputed_regions(mask, sure(seen, mask, given_p=0.5), 3).weights.size


def test_the_weightiest_region_comes_first_and_their_number_is_bounded() -> None:
    """Larger regions weigh more, in the log ratio per labelled pixel."""
    mask = np.zeros((200, 200), np.uint8)
    seen = mask.copy()
    for number in range(16):
        y, x = divmod(number, 4)
        seen[50 * y : 50 * y + 10 + number, 50 * x : 50 * x + 10] = 1
    found = disputed_regions(mask, sure(seen, mask), 2)
    assert len(found.weights) == MOST
    assert (np.diff(found.weights) <= 0).all()
    assert found.weights[0] <= 250 * np.log(0.91 / 0.04) / mask.size


def test_one_region_may_be_seen_as_several_classes() -> None:
    """The model's class that is named is the one of most of its pixels."""
    mask = np.zeros((60, 60), np.uint8)
    seen = mask.copy()
    seen[10:40, 10:40], seen[10:18, 10:40] = 2, 1
    assert disputed_regions(mask, sure(seen, mask), 3).classes.tolist() == [[0, 2]]


def test_ids_up_to_the_last_are_classes() -> None:
    """With 255 classes, 254 in the mask can be disputed, 255 cannot."""
    mask = np.full((30, 30), 254, np.uint8)
    mask[:, 15:] = VOID
    found = disputed_regions(mask, sure(np.zeros_like(mask), mask), 255)
    assert found.classes.tolist() == [[254, 0]]
    assert found.disputed[254] == 1


@pytest.mark.parametrize(("size", "regions"), [((1, 1), 0), ((3, 5), 1)])
def test_tiny_images_are_no_error(size: tuple[int, int], regions: int) -> None:
    """An image that is disputed as a whole is a region, where it has pixels enough to be one."""
    mask = np.zeros(size, np.uint8)
    found = disputed_regions(mask, sure(mask + np.uint8(1), mask), 2)
    assert len(found.weights) == regions
    assert found.disputed[0] == 1


@settings(max_examples=60)
@given(st.data())
def test_the_given_probability_is_that_of_each_pixels_class(data: st.DataObject) -> None:
    """As indexing pixel by pixel has it; 0 in void and where the id is no class."""
    shape = data.draw(st.tuples(st.integers(1, 18), st.integers(1, 6), st.integers(1, 6)))
    odds = data.draw(hnp.arrays(np.float32, shape, elements=st.floats(0, 1, width=32)))
    mask = data.draw(hnp.arrays(np.uint8, shape[1:], elements=st.sampled_from([*range(18), 254, VOID])))
    found = given_probability(odds, mask)
    assert found.dtype == np.float32
    for place, label in np.ndenumerate(mask):
        assert found[place] == (odds[int(label)][place] if label < shape[0] else 0)


@pytest.mark.parametrize("size", [(1, 1), (24, 31), (70, 45)])
def test_tiles_and_the_whole_image_give_one_opinion(tmp_path: Path, size: tuple[int, int]) -> None:
    """By tiles the probabilities of the mask's class are those of the graph on the whole image in one call."""
    segmenter = Segmenter(write_outputs(tmp_path).export, threads=1, batch_size=2)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
    mask = rng.choice(np.array([0, 1, 2, VOID], np.uint8), size)
    found = opinion(segmenter, image, mask)
    whole = segmenter.run(image[None], ("labels", "confidence", "probabilities"))
    assert np.array_equal(found.labels, whole["labels"][0])
    assert found.confidence == pytest.approx(whole["confidence"][0], abs=1e-5)
    assert found.given == pytest.approx(given_probability(whole["probabilities"][0], mask), abs=1e-5)
