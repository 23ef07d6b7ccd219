"""Measures of summed counts are those of `pipeline.scores`, to the last bit."""

import numpy as np
import pytest
from gate_counts import CLASSES, NAMES, counts, evaluation
from hypothesis import given
from hypothesis import strategies as st

from pipeline.gating import measures
from pipeline.gating.counts import read_counts
from pipeline.gating.measures import Measure
from pipeline.scores import overall

ALL = (measures.iou, measures.miou, measures.boundary_f, measures.ece, measures.false_positive_rate)


def total(measure: Measure) -> np.ndarray:
    """The measure of all images together."""
    return measure.statistic(measure.per_image.sum(axis=0))


def scored(rows: object, names: list[str]) -> dict[str, list[float]]:
    """What `pipeline.scores` says, with NaN for undefined."""
    found = overall(rows, names)  # type: ignore[arg-type]
    lists = {name: list(value.values()) if isinstance(value, dict) else [value] for name, value in found.items()}
    return {name: [np.nan if each is None else each for each in values] for name, values in lists.items()}


@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 9),
    classes=st.integers(2, 19),
    absent=st.sets(st.integers(0, 18)),
)
def test_measures_of_all_images_are_the_scores(seed: int, images: int, classes: int, absent: set[int]) -> None:
    """Every measure equals the evaluation's own metric exactly, NaN of absent classes included."""
    gone = tuple(label for label in absent if label < classes)
    rows = evaluation(np.random.default_rng(seed), images, classes, gone)
    names = [f"class-{label}" for label in range(classes)]
    rows = rows.assign(
        nll=0.0, mean_confidence=0.5, tiles=1, expected_intersection=rows["bin_px"], expected_union=rows["bin_px"]
    )
    rows["expected_intersection"] = rows["expected_union"] = [np.ones(classes)] * images
    expected, found = scored(rows, names), read_counts(rows, classes, [])
    for measure in ALL:
        np.testing.assert_array_equal(total(measure(found)), expected[measure.__name__], err_msg=measure.__name__)


@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_images_does_not_matter(seed: int) -> None:
    """Another order of the images gives the same values; sums of confidences may round differently."""
    rng = np.random.default_rng(seed)
    some = counts(rng, 9)
    other = some.take(rng.permutation(9))
    for measure in ALL:
        tolerance = 1e-12 if measure is measures.ece else 0
        np.testing.assert_allclose(total(measure(other)), total(measure(some)), rtol=0, atol=tolerance)


@pytest.mark.parametrize("measure", ALL)
def test_many_sums_are_measured_at_once(measure: object) -> None:
    """A stack of sums gives the stack of values."""
    some = measure(counts(np.random.default_rng(3), 6, absent=(2,)))  # type: ignore[operator]
    sums = np.stack([some.per_image[:3].sum(axis=0), some.per_image.sum(axis=0)])
    np.testing.assert_array_equal(some.statistic(sums), [some.statistic(each) for each in sums])


@pytest.mark.parametrize("measure", [measures.iou, measures.boundary_f])
def test_an_absent_class_is_undefined(measure: object) -> None:
    """A class in neither truth nor prediction is NaN, and only that class."""
    found = total(measure(counts(np.random.default_rng(4), 6, absent=(1,))))  # type: ignore[operator]
    assert np.isnan(found).tolist() == [name == NAMES[1] for name in NAMES]


def test_a_difference_is_one_value_minus_the_other() -> None:
    """Two models on the same images, by class."""
    one, other = counts(np.random.default_rng(5), 6), counts(np.random.default_rng(6), 6)
    change = total(measures.difference(measures.iou(one), measures.iou(other)))
    np.testing.assert_array_equal(change, total(measures.iou(one)) - total(measures.iou(other)))
    assert change.shape == (CLASSES,)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_model_differs_from_itself_by_nothing(seed: int) -> None:
    """The difference of a measure to itself is exactly 0 where it is defined."""
    some = counts(np.random.default_rng(seed), 5)
    for measure in ALL:
        change = total(measures.difference(measure(some), measure(some)))
        assert set(change[~np.isnan(change)]) <= {0.0}


def test_unpaired_measures_are_refused() -> None:
    """A difference on different images is a mistake of the caller."""
    rng = np.random.default_rng(7)
    with pytest.raises(ValueError, match="3 and 4 images"):
        measures.difference(measures.iou(counts(rng, 3)), measures.iou(counts(rng, 4)))


def test_influence_tells_what_leaving_an_image_out_changes() -> None:
    """To first order it is the change by leaving the image out, with the other sign; 0 where nothing is defined."""
    rows = evaluation(np.random.default_rng(3), images=200, absent=(2,))
    measure = measures.iou(read_counts(rows, CLASSES, []))
    sums = measure.per_image.sum(axis=0)
    left_out = measure.statistic(sums) - measure.statistic(sums - measure.per_image)
    found = measures.influence(measure)
    assert np.allclose(found[:, [0, 1, 3]], left_out[:, [0, 1, 3]], atol=2e-4)
    assert not found[:, 2].any()
