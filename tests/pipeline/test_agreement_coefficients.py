"""Coefficients of agreement against cases computed by hand and against scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from pipeline.agreement.boundary import outline_counts
from pipeline.agreement.coefficients import Ratings, cohen_kappa, dice, pair_confusion
from pipeline.agreement.joint import joint, locate
from training.boundary import boundary_counts

VOID = 255


def masks(*rows: list[int]) -> list[np.ndarray]:
    """Masks of one row."""
    return [np.array([row], np.uint8) for row in rows]


def ratings(drawn: list[np.ndarray], classes: int) -> Ratings:
    """What the coefficients are computed from."""
    return Ratings.of(joint(drawn, classes, VOID))


def test_void_of_either_side_is_not_counted() -> None:
    """A pixel counts where both have drawn a class."""
    one, other = masks([0, 1, VOID, 1, 1], [0, 1, 1, VOID, 0])
    assert pair_confusion(one, other, 2, VOID).tolist() == [[1, 0], [1, 1]]


def test_dice_of_a_hand_computed_case() -> None:
    """Two of three and two of four pixels in common are 4/7; a class nobody drew is undefined."""
    one, other = masks([1, 1, 1, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 0, 0, 0])
    found = dice(pair_confusion(one, other, 3, VOID))
    assert found[1] == pytest.approx(4 / 7)
    assert math.isnan(found[2])


def test_cohens_kappa_of_the_textbook() -> None:
    """Fifty proposals, 35 in agreement, 0.7 observed and 0.5 by chance: 0.4."""
    assert cohen_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)


@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(2, 5),
)
def test_cohens_kappa_is_scikit_learns(seed: int, classes: int) -> None:
    """On random masks of any number of classes."""
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, classes, (2, 1, 40)).astype(np.uint8)
    wanted = cohen_kappa_score(one.ravel(), other.ravel())
    assert cohen_kappa(pair_confusion(one, other, classes, VOID)) == pytest.approx(wanted, nan_ok=True)


def test_fleiss_kappa_of_his_own_example() -> None:
    """Fleiss' table of 1971 as Wikipedia gives it: 14 raters, 10 subjects, 5 categories, kappa 0.210."""
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    subjects = [np.repeat(np.arange(5), counts) for counts in table]
    raters = masks(*np.array(subjects).T.tolist())
    assert ratings(raters, 5).fleiss_kappa() == pytest.approx(0.210, abs=5e-4)


def test_krippendorffs_alpha_of_his_own_example() -> None:
    """Krippendorff 2011, example C: four observers, twelve units, five values, data missing: alpha 0.743."""
    void = VOID
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, void, void, void],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, void, 3],
        [void, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, void],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, void],
    ]
    raters = masks(*[[value if value == void else value - 1 for value in row] for row in observers])
    assert ratings(raters, 5).krippendorff_alpha() == pytest.approx(0.743, abs=5e-4)


@given(seed=st.integers(0, 2**32 - 1), images=st.integers(1, 4))
def test_ratings_of_images_add_up(seed: int, images: int) -> None:
    """The sum over images is that of their pixels side by side."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(np.array([0, 1, 2, VOID], np.uint8), (images, 3, 1, 20))
    total = sum((ratings(list(each), 3) for each in drawn), Ratings.none(3))
    whole = ratings(list(np.concatenate(drawn, axis=2)), 3)
    assert total.krippendorff_alpha() == pytest.approx(whole.krippendorff_alpha(), nan_ok=True)
    assert total.fleiss_kappa() == pytest.approx(whole.fleiss_kappa(), nan_ok=True)


def test_equal_masks_agree_entirely_and_one_class_says_nothing() -> None:
    """Agreement of 1 for equal masks of two classes; undefined where there is nothing to tell apart."""
    both = masks([0, 1, 1, 0], [0, 1, 1, 0])
    assert ratings(both, 2).krippendorff_alpha() == 1
    assert ratings(both, 2).fleiss_kappa() == 1
    flat = masks([0, 0], [0, 0])
    assert math.isnan(ratings(flat, 2).krippendorff_alpha())
    assert math.isnan(cohen_kappa(pair_confusion(*flat, 2, VOID)))


def test_different_numbers_of_annotators_leave_fleiss_kappa_undefined() -> None:
    """Alpha takes images with two and with three masks together, Fleiss' kappa does not."""
    two, three = masks([0, 1], [0, 1]), masks([0, 1], [0, 1], [0, 1])
    total = ratings(two, 2) + ratings(three, 2)
    assert math.isnan(total.fleiss_kappa())
    assert total.krippendorff_alpha() == 1


@given(seed=st.integers(0, 2**32 - 1), raters=st.integers(1, 6))
def test_combinations_rebuild_the_masks(seed: int, raters: int) -> None:
    """Each pixel's combination holds what each annotator gave it, void as the class after the last."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(np.array([0, 1, 2, VOID], np.uint8), (raters, 5, 7))
    together, places = locate(list(drawn), 3, VOID)
    assert np.array_equal(np.moveaxis(together.labels[places], -1, 0), np.where(drawn == VOID, 3, drawn))
    assert np.array_equal(np.bincount(places.ravel()), together.times)


def test_many_annotators_are_counted_rightly() -> None:
    """Twenty annotators and twenty classes have more combinations than 64 bits number; alpha is still that of pairs."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 20, (1, 50)).astype(np.uint8)
    assert ratings([first] * 20, 20).krippendorff_alpha() == 1
    noise = rng.integers(0, 20, (20, 1, 400)).astype(np.uint8)
    assert abs(ratings(list(noise), 20).krippendorff_alpha()) < 0.02


@pytest.mark.parametrize("raters", [2, 3])
def test_a_value_that_is_no_class_is_an_error(raters: int) -> None:
    """The message names the value."""
    with pytest.raises(ValueError, match="the value 7"):
        joint(masks([0, 7], *[[0, 1]] * (raters - 1)), 2, VOID)


def test_masks_of_different_sizes_are_an_error() -> None:
    """They cannot be of one image."""
    with pytest.raises(ValueError, match="cannot be compared"):
        joint(masks([0, 1], [0, 1, 1]), 2, VOID)


@given(seed=st.integers(0, 2**32 - 1), tolerance=st.integers(0, 3))
def test_outlines_without_void_are_compared_as_a_models_are(seed: int, tolerance: int) -> None:
    """All four counts equal those that models are measured by."""
    rng = np.random.default_rng(seed)
    one, other = (rng.integers(0, 3, (4, 5)).astype(np.uint8).repeat(4, 0).repeat(3, 1) for _ in range(2))
    mine, models = outline_counts(one, other, 3, tolerance, VOID), boundary_counts(one, other, 3, tolerance, VOID)
    for name in ("matched_predicted", "predicted", "matched_true", "true"):
        assert getattr(mine, name).tolist() == getattr(models, name).tolist()


@given(seed=st.integers(0, 2**32 - 1), tolerance=st.integers(0, 3))
def test_boundary_agreement_is_the_same_in_either_order(seed: int, tolerance: int) -> None:
    """With void on both sides too."""
    rng = np.random.default_rng(seed)
    labels = np.array([0, 1, 2, VOID], np.uint8)
    one, other = (rng.choice(labels, (4, 5)).repeat(4, 0).repeat(3, 1) for _ in range(2))
    there, back = (outline_counts(*pair, 3, tolerance, VOID).f_score() for pair in ((one, other), (other, one)))
    np.testing.assert_allclose(there, back)


def test_void_beside_an_outline_is_not_held_against_the_other() -> None:
    """One annotator left void where the other drew the outline; where both drew it, it is judged."""
    one, other = masks([0, 0, 0, 1, 1, 1, 1, 1], [0, 0, VOID, VOID, VOID, 1, 1, 1])
    assert math.isnan(outline_counts(one, other, 2, 1, VOID).f_score()[0])
    assert outline_counts(one, np.zeros_like(one), 2, 1, VOID).f_score()[1] == 0
