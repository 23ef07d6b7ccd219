"""Overlap metrics agree with sets of pixels, and what cannot be measured is NaN."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.confusion import confusion_matrix
from training.metrics import false_positive_rate, iou, mean_iou, pixel_accuracy, support

CLASSES = 4


@st.composite
def label_maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A truth with void and a prediction, some classes absent."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    used = draw(st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=CLASSES))
    truth, prediction = rng.choice(np.array(used, np.uint8), (2, 5, 7))
    truth[rng.random(truth.shape) < draw(st.sampled_from([0, 0.3, 1]))] = 255
    return truth, prediction


def part(some: int, whole: int) -> float:
    """Divide, NaN for nothing of nothing."""
    return some / whole if whole else np.nan


@given(maps=label_maps())
def test_matches_sets_of_pixels(maps: tuple[np.ndarray, np.ndarray]) -> None:
    """Every metric equals its definition on sets of pixels, NaN where a set is empty."""
    truth, prediction = (labels[maps[0] != 255] for labels in maps)
    confusion = confusion_matrix(*maps, CLASSES)
    ious, rates = iou(confusion), false_positive_rate(confusion)
    for label in range(CLASSES):
        true, predicted = truth == label, prediction == label
        np.testing.assert_equal(ious[label], part((true & predicted).sum(), (true | predicted).sum()))
        np.testing.assert_equal(rates[label], part((predicted & ~true).sum(), (~true).sum()))
        assert support(confusion)[label] == true.sum()
    np.testing.assert_equal(pixel_accuracy(confusion), part((truth == prediction).sum(), truth.size))
    defined = [score for score in ious if not np.isnan(score)]
    np.testing.assert_allclose(mean_iou(confusion), np.mean(defined) if defined else np.nan)


@given(maps=st.lists(label_maps(), min_size=1, max_size=4))
def test_stacks_are_measured_image_by_image(maps: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """A stack of matrices gives the stack of the metrics of each."""
    stack = np.stack([confusion_matrix(*pair, CLASSES) for pair in maps])
    for metric in (iou, mean_iou, pixel_accuracy, false_positive_rate, support):
        np.testing.assert_array_equal(metric(stack), np.stack([metric(one) for one in stack]))


def test_absent_class_is_undefined_and_missed_class_is_zero() -> None:
    """A class in neither map is NaN and left out of the mean; a class that was never found is 0."""
    confusion = np.array([[3, 0, 0], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_equal(iou(confusion), [0.75, 0, np.nan])
    assert mean_iou(confusion) == pytest.approx(0.375)
