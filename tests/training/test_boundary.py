"""The boundary F-score agrees with its definition and treats borders and void as stated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.boundary import BoundaryCounts, boundary_counts

CLASSES, VOID = 3, 255


def edges_slowly(labels: np.ndarray) -> set[tuple[int, int, int]]:
    """Set of (class, y, x) with one of the four neighbours of another class, void being none."""
    edges = set()
    height, width = labels.shape
    for y, x in np.ndindex(height, width):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= v < height and 0 <= u < width
            if inside and VOID not in (labels[y, x], labels[v, u]) and labels[y, x] != labels[v, u]:
                edges.add((int(labels[y, x]), y, x))
    return edges


def count_slowly(truth: np.ndarray, prediction: np.ndarray, tolerance: int) -> np.ndarray:
    """The four counts per class, from the definition in the docstring."""
    true, predicted = edges_slowly(truth), edges_slowly(prediction)
    void = {(y, x) for y, x in zip(*np.nonzero(truth == VOID), strict=True)}

    def near(point: tuple[int, ...], points: set[tuple[int, int]]) -> bool:
        return any((point[0] - y) ** 2 + (point[1] - x) ** 2 <= tolerance**2 for y, x in points)

    rows = []
    for label in range(CLASSES):
        t = {(y, x) for name, y, x in true if name == label}
        p = {(y, x) for name, y, x in predicted if name == label}
        hit = {point for point in p - void if near(point, t)}
        judged = hit | {point for point in p - void if not near(point, void)}
        rows.append((len(hit), len(judged), sum(near(point, p) for point in t), len(t)))
    return np.array(rows).T


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    tolerance=st.integers(0, 3),
    void_share=st.sampled_from([0, 0.1, 0.5]),
)
def test_matches_definition(seed: int, shape: tuple[int, int], tolerance: int, void_share: float) -> None:
    """All four counts equal those of the slow reference on any map with void."""
    rng = np.random.default_rng(seed)
    truth, prediction = rng.choice(np.arange(CLASSES, dtype=np.uint8), (2, *shape), p=[0.7, 0.2, 0.1])
    truth[rng.random(shape) < void_share] = VOID
    counts = boundary_counts(truth, prediction, CLASSES, tolerance)
    actual = [counts.matched_predicted, counts.predicted, counts.matched_true, counts.true]
    np.testing.assert_array_equal(actual, count_slowly(truth, prediction, tolerance))


def square(shift: int = 0) -> np.ndarray:
    """A 20 px image of background with an 8 px square of class 1."""
    labels = np.zeros((20, 20), np.uint8)
    labels[6:14, 6 + shift : 14 + shift] = 1
    return labels


def test_shift_within_tolerance_is_forgiven() -> None:
    """A square shifted by two pixels scores 1 at a tolerance of two and less at one; absent classes are NaN."""
    forgiven = boundary_counts(square(), square(2), CLASSES, 2).f_score()
    np.testing.assert_array_equal(forgiven, [1, 1, np.nan])
    assert boundary_counts(square(), square(2), CLASSES, 1).f_score()[1] < 0.8


def test_image_border_is_no_boundary() -> None:
    """An image of one class has no boundary at all: NaN, not 1."""
    flat = np.ones((5, 5), np.uint8)
    assert np.isnan(boundary_counts(flat, flat, CLASSES, 1).f_score()).all()


def test_outline_hidden_by_void_is_not_judged() -> None:
    """An object ringed by void costs nothing when its predicted outline runs within the ring."""
    truth = np.where(square() == 1, square(), 0)
    truth[5:15, 5:15][square()[5:15, 5:15] == 0] = VOID
    counts = boundary_counts(truth, square(), CLASSES, 2)
    assert counts.true.sum() == 0
    assert counts.predicted.sum() == 0


def test_invented_object_scores_zero_and_images_add_up() -> None:
    """A class outlined only in the prediction scores 0, and summing images pools their pixels."""
    invented = boundary_counts(np.zeros((20, 20), np.uint8), square(), CLASSES, 1)
    assert invented.f_score()[1] == 0
    right = boundary_counts(square(), square(), CLASSES, 1)
    pooled = sum([invented, right], start=BoundaryCounts.zeros(CLASSES))
    assert pooled.f_score()[1] == pytest.approx(2 / 3)


def test_other_sizes_and_negative_tolerance_are_refused() -> None:
    """Maps of different sizes and a negative tolerance are errors that show the values."""
    with pytest.raises(ValueError, match="tolerance_px is -1"):
        boundary_counts(square(), square(), CLASSES, -1)
    with pytest.raises(ValueError, match=r"\(20, 19\)"):
        boundary_counts(square(), square()[:, 1:], CLASSES, 1)
