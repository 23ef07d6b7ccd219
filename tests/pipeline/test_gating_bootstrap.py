"""Bounds by resampling: exact where nothing varies, right as often as they say, silent where nothing can be said."""

import time

import numpy as np
import pytest
from gate_counts import CLASSES, counts
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from pipeline.gating import measures
from pipeline.gating.bootstrap import Bootstrap, Replicates
from pipeline.gating.measures import Measure
from pipeline.gating.units import Resampling, resampling

REPLICATES = 400


def single(images: int) -> Resampling:
    """Every image is a unit."""
    return Resampling(np.arange(images), images, "groups")


def means(per_image: np.ndarray) -> Measure:
    """The mean of each column, NaN where nothing was counted: the simplest metric of sums."""
    columns = per_image.shape[1]
    weighed = np.concatenate([per_image, np.ones((len(per_image), 1))], axis=1)
    return Measure(weighed, lambda sums: sums[..., :columns] / sums[..., columns:])


def bounds(found: Replicates) -> np.ndarray:
    """All bounds, (4, S)."""
    return np.stack([*found.interval(), found.lower(), found.upper()])


@given(seed=st.integers(0, 2**32 - 1), images=st.integers(2, 9))
@settings(max_examples=30)
def test_constant_data_gives_intervals_of_no_width(seed: int, images: int) -> None:
    """Where all images are alike, other holdouts would say the same."""
    same = counts(np.random.default_rng(seed), 1).take([0] * images)
    for measure in (measures.iou, measures.miou, measures.boundary_f, measures.false_positive_rate):
        found = Bootstrap(single(images), 50, seed).replicate(measure(same))
        np.testing.assert_array_equal(bounds(found), np.stack([found.value] * 4))


@given(seed=st.integers(0, 2**32 - 1), images=st.integers(2, 9))
@settings(max_examples=30)
def test_a_model_never_differs_from_itself(seed: int, images: int) -> None:
    """The paired difference of a model with itself is exactly 0 in every replicate, and so are its bounds."""
    some = counts(np.random.default_rng(seed), images)
    for measure in (measures.iou, measures.boundary_f, measures.ece):
        found = Bootstrap(single(images), 50, seed).replicate(measures.difference(measure(some), measure(some)))
        for values in (found.value, found.samples, bounds(found)):
            assert set(values[~np.isnan(values)]) <= {0.0}


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_the_order_of_images_changes_no_bound(seed: int) -> None:
    """Groups are drawn by their names, so the same images in another order give the same bounds."""
    rng = np.random.default_rng(seed)
    some = counts(rng, 12)
    found = []
    for each in (some, some.take(rng.permutation(12))):
        units = resampling(each.groups, each.sequence, min_groups=2, block_frames=1)
        found.append(bounds(Bootstrap(units, 50, 0).replicate(measures.iou(each))))
    np.testing.assert_array_equal(*found)


def test_groups_are_drawn_whole() -> None:
    """Copies of an image within its group are no further evidence: the bounds stay."""
    some = counts(np.random.default_rng(1), 10)
    twice = Resampling(np.repeat(np.arange(10), 2), 10, "groups")
    once = Bootstrap(single(10), REPLICATES, 0).replicate(measures.iou(some))
    copied = Bootstrap(twice, REPLICATES, 0).replicate(measures.iou(some.take(np.repeat(np.arange(10), 2))))
    np.testing.assert_array_equal(bounds(once), bounds(copied))


def test_the_same_seed_gives_the_same_bounds() -> None:
    """A verdict can be computed again; another seed draws otherwise."""
    measure = measures.iou(counts(np.random.default_rng(2), 10))
    first, again, other = (bounds(Bootstrap(single(10), REPLICATES, seed).replicate(measure)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_bounds_of_a_mean_are_nearly_those_of_students_t() -> None:
    """For normal data, where the exact answer is known, the widened BCa interval comes close to it."""
    data = np.random.default_rng(3).normal(0, 1, (20, 200))
    low, high = Bootstrap(single(20), 2000, 0).replicate(means(data)).interval()
    exact = student.interval(0.95, 19, data.mean(axis=0), data.std(axis=0, ddof=1) / np.sqrt(20))
    assert np.mean((high - low) / (exact[1] - exact[0])) == pytest.approx(1, abs=0.04)
    assert np.mean((high + low) / 2 - (exact[0] + exact[1]) / 2) == pytest.approx(0, abs=0.02)


def test_bounds_hold_as_often_as_they_say() -> None:
    """Of 1,000 skewed samples the lower bounds exceed the truth in about 5%, the intervals hold it in about 95%."""
    data = np.random.default_rng(4).gamma(2, 1, (60, 1000))
    found = Bootstrap(single(60), 2000, 0).replicate(means(data))
    low, high = found.interval()
    assert np.mean(found.lower() > 2) == pytest.approx(0.05, abs=0.02)
    assert np.mean((low <= 2) & (high >= 2)) == pytest.approx(0.95, abs=0.02)


def test_the_share_below_is_what_the_lower_bound_inverts() -> None:
    """At the bound of any level, one minus that level of the distribution lies below."""
    found = Bootstrap(single(40), 2000, 0).replicate(means(np.random.default_rng(5).gamma(2, 1, (40, 50))))
    for level in (0.6, 0.9, 0.95, 0.99):
        np.testing.assert_allclose(found.share_below(found.lower(level)), 1 - level, atol=0.002)


def test_beyond_all_replicates_the_share_goes_on_to_nothing() -> None:
    """A threshold far away is missed or kept beyond doubt, so that correcting for many tests leaves something."""
    found = Bootstrap(single(40), REPLICATES, 0).replicate(means(np.random.default_rng(6).normal(0, 1, (40, 1))))
    low, high = found.share_below([-5.0]), found.share_below([5.0])
    assert 0 <= low[0] < 1e-6
    assert 1 - 1e-6 < high[0] <= 1


def test_the_share_below_rises_with_the_threshold() -> None:
    """Also where the replicates end."""
    found = Bootstrap(single(15), REPLICATES, 0).replicate(means(np.random.default_rng(7).gamma(1, 1, (15, 1))))
    shares = [found.share_below([limit])[0] for limit in np.linspace(-1, 4, 200)]
    assert np.all(np.diff(shares) >= 0)
    assert (shares[0], shares[-1]) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-2))


def test_units_that_add_nothing_give_no_freedom() -> None:
    """Of 200 units 8 decide: the standard error is as uncertain as that of a dozen units, not of 200."""
    data = np.random.default_rng(8).normal(5, 1, (200, 2))
    data[8:, 0] = 0
    few, many = Bootstrap(single(200), REPLICATES, 0).replicate(means(data))._correction.freedom
    assert 8 < few < 20
    assert 150 < many < 200


def test_an_absent_class_has_no_bounds() -> None:
    """A class that nobody saw is undefined throughout, without a warning, and the others are not touched."""
    found = Bootstrap(single(8), REPLICATES, 0).replicate(
        measures.iou(counts(np.random.default_rng(10), 8, absent=(3,)))
    )
    shares = found.share_below(np.full(CLASSES, 0.5))
    for values in (*bounds(found), shares):
        assert np.isnan(values).tolist() == [False, False, False, True]


def test_a_class_that_rests_on_one_unit_has_no_bounds() -> None:
    """Without that unit it would be undefined, so nothing is known of how it varies."""
    some = counts(np.random.default_rng(11), 30, absent=(3,))
    some.confusion[4, 3, 3] = 50
    found = Bootstrap(single(30), REPLICATES, 0).replicate(measures.iou(some))
    assert found.value[3] == 1
    assert np.isnan(bounds(found)[:, 3]).all()


def test_a_single_unit_has_no_bounds() -> None:
    """One group says nothing of others; an interval of no width would be a lie."""
    units = Resampling(np.zeros(5, np.intp), 1, "groups")
    found = Bootstrap(units, REPLICATES, 0).replicate(measures.miou(counts(np.random.default_rng(12), 5)))
    assert not np.isnan(found.value).any()
    assert np.isnan(bounds(found)).all()


def test_draws_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large holdout is computed in pieces to bound the memory."""
    measure = measures.iou(counts(np.random.default_rng(13), 10))
    whole = Bootstrap(single(10), REPLICATES, 0).replicate(measure)
    monkeypatch.setattr("pipeline.gating.bootstrap.CHUNK", 70)
    np.testing.assert_array_equal(Bootstrap(single(10), REPLICATES, 0).replicate(measure).samples, whole.samples)


def test_a_large_holdout_takes_seconds() -> None:
    """5,000 images with 19 classes and a champion; the benchmark has the exact figure."""
    hits = np.random.default_rng(14).integers(0, 1000, (5000, 4 * 19))
    pair = Measure(hits.astype(np.float64), lambda sums: sums[..., :19] / sums[..., 19:38] - sums[..., 38:57])
    start = time.perf_counter()
    bounds(Bootstrap(single(5000), 2000, 0).replicate(pair))
    assert time.perf_counter() - start < 10
