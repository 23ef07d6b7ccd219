"""Masks as regions, and regions as masks."""

import annotation_case
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline.annotation_tasks.regions import AnswerError, Region, mask_digest, paint, regions

CLASSES = annotation_case.classes()
VALUES = st.sampled_from([0, 1, 2, 3, 4, 255])
MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=24), elements=VALUES, fill=VALUES)


@given(MASKS)
@example(np.full((7, 5), 3, np.uint8))
@example(np.array([[255]], np.uint8))
def test_a_mask_is_painted_from_its_regions(mask: np.ndarray) -> None:
    """Void, single pixels, whole images and scattered components come back as they were."""
    assert np.array_equal(paint(regions(mask, CLASSES), *mask.shape, CLASSES), mask)


@given(MASKS)
def test_a_region_is_cut_to_its_box(mask: np.ndarray) -> None:
    """No side of a region's box is without a pixel of it."""
    for each in regions(mask, CLASSES):
        edges = [each.pixels[0], each.pixels[-1], each.pixels[:, 0], each.pixels[:, -1]]
        assert all(edge.any() for edge in edges)


def test_a_later_region_covers_an_earlier() -> None:
    """Where two regions overlap, the later one decides."""
    whole = np.ones((2, 2), bool)
    mask = paint([Region("floor", 0, 0, whole), Region("human", 1, 0, whole)], 2, 3, CLASSES)
    assert mask.tolist() == [[1, 3, 3], [1, 3, 3]]


@pytest.mark.parametrize(("left", "top"), [(-1, 0), (0, -1), (2, 0), (0, 1), (10**30, 0)])
def test_a_region_outside_the_image_is_refused(left: int, top: int) -> None:
    """A region is wholly inside, or ends in a reason."""
    with pytest.raises(AnswerError, match="is not inside 3x2 px"):
        paint([Region("floor", left, top, np.ones((2, 2), bool))], 2, 3, CLASSES)


def test_an_unknown_class_is_refused() -> None:
    """A label that an annotator made up is named."""
    with pytest.raises(AnswerError, match="'tree' is no class"):
        paint([Region("tree", 0, 0, np.ones((1, 1), bool))], 1, 1, CLASSES)


def test_the_digest_is_of_size_and_pixels() -> None:
    """Equal bytes of another shape have another digest."""
    mask = np.zeros((2, 3), np.uint8)
    assert mask_digest(mask) != mask_digest(mask.reshape(3, 2))
    assert mask_digest(mask) == mask_digest(np.asfortranarray(mask))
