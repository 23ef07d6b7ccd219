"""Majority and STAPLE against cases computed by hand, against SimpleITK on whole images, and against a known truth."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its usual name
from hypothesis import given
from hypothesis import strategies as st

from pipeline.agreement import consensus
from pipeline.agreement.consensus import Consensus, Method, by_staple, decide, majority, staple
from pipeline.agreement.joint import locate

VOID = 255


def found(drawn: list[np.ndarray], preferred: list[int], void_below: float = 0.0) -> tuple[list[int], list[int]]:
    """Mask and confidence of the majority, flat."""
    together, places = locate(drawn, 3, VOID)
    mask, confidence = majority(together, preferred).paint(places, VOID, void_below, 3)
    return mask.ravel().tolist(), confidence.ravel().tolist()


def rows(*labels: list[int]) -> list[np.ndarray]:
    """Masks of one row."""
    return [np.array([row], np.uint8) for row in labels]


def noisy(shares: tuple[float, ...], size: int = 64, classes: int = 3) -> tuple[np.ndarray, list[np.ndarray]]:
    """A mask of stripes, and copies in which a share of the pixels has any class."""
    rng = np.random.default_rng(0)
    truth = (np.indices((size, size)).sum(0) // 12 % classes).astype(np.uint8)
    return truth, [
        np.where(rng.random(truth.shape) < share, rng.integers(0, classes, truth.shape), truth).astype(np.uint8)
        for share in shares
    ]


def test_most_votes_win_and_their_share_is_the_confidence() -> None:
    """Three of three, two of three, and two for void."""
    drawn = rows([0, 1, VOID], [0, 1, VOID], [0, 2, 2])
    assert found(drawn, [0, 1, 2]) == ([0, 1, VOID], [255, 170, 170])


def test_ties_go_to_the_better_annotator_and_to_a_class_before_void() -> None:
    """Two annotators who disagree; one who left void says less than the other, however good."""
    drawn = rows([0, VOID], [1, 2])
    assert found(drawn, [0, 1])[0] == [0, 2]
    assert found(drawn, [1, 0])[0] == [1, 2]


def test_disagreement_becomes_void_where_asked() -> None:
    """Half the votes are below 0.6, all are not."""
    assert found(rows([0, 1], [1, 1]), [0, 1], void_below=0.6)[0] == [VOID, 1]


@given(seed=st.integers(0, 2**32 - 1), raters=st.integers(1, 5))
def test_the_majority_is_that_of_counting_pixel_by_pixel(seed: int, raters: int) -> None:
    """No other label of a pixel has more votes, and the confidence is its share."""
    drawn = list(np.random.default_rng(seed).choice(np.array([0, 1, 2, VOID], np.uint8), (raters, 4, 6)))
    together, places = locate(drawn, 3, VOID)
    mask, confidence = majority(together, range(raters)).paint(places, VOID, 0.0, 3)
    votes = np.stack([(np.array(drawn) == label).sum(0) for label in (0, 1, 2, VOID)])
    own = (np.array(drawn) == mask).sum(0)
    assert np.array_equal(own, votes.max(0))
    assert np.array_equal(confidence, np.rint(255 * own / raters).astype(np.uint8))


@pytest.mark.parametrize("void_rows", [0, 8])
def test_staple_gives_the_labels_of_simpleitk(void_rows: int) -> None:
    """Pixel for pixel, with void as a further label and with a class that nobody used."""
    _, drawn = noisy((0.05, 0.2, 0.4))
    for number, mask in enumerate(drawn):
        mask[: void_rows // (number + 1)] = VOID
    together, places = locate(drawn, 5, VOID)
    mine, _ = by_staple(together).paint(places, VOID, 0.0, 5)
    experts = [sitk.GetImageFromArray(np.where(mask == VOID, 3, mask).astype(np.uint8)) for mask in drawn]
    wanted = sitk.GetArrayFromImage(sitk.MultiLabelSTAPLEImageFilter().Execute(experts))
    assert np.array_equal(np.where(mine == VOID, 3, mine), wanted)


def test_fewer_pixels_in_the_same_shares_give_the_same_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large image is judged by a sample of fixed size."""
    _, drawn = noisy((0.05, 0.2, 0.4), size=256)
    together, _ = locate(drawn, 3, VOID)
    sampled = by_staple(together)
    assert together.times.sum() == 256**2 <= consensus.STAPLE_PX
    monkeypatch.setattr(consensus, "STAPLE_PX", 4096)
    few = by_staple(together)
    assert np.array_equal(few.chosen, sampled.chosen)
    np.testing.assert_allclose(few.confidence, sampled.confidence, atol=0.02)


def test_staple_trusts_the_good_and_beats_the_majority() -> None:
    """Sensitivities follow the shares of noise, and the labels come nearer to the truth than three equal votes."""
    truth, drawn = noisy((0.05, 0.4, 0.5), size=128)
    together, places = locate(drawn, 3, VOID)
    performance = staple(together).confusions
    accuracy = [np.trace(each) / each.sum() for each in performance]
    real = [(mask == truth).mean() for mask in drawn]
    np.testing.assert_allclose(accuracy, real, atol=0.02)
    right = [
        (made.paint(places, VOID, 0.0, 3)[0] == truth).mean()
        for made in (by_staple(together), majority(together, [2, 1, 0]))
    ]
    assert right[0] > right[1] + 0.05


def test_staple_at_a_loss_gives_void_without_confidence() -> None:
    """Three annotators who agree nowhere leave nothing to start from."""
    together, places = locate(rows([0, 0], [1, 1], [2, 2]), 3, VOID)
    mask, confidence = by_staple(together).paint(places, VOID, 0.0, 3)
    assert (mask.tolist(), confidence.tolist()) == ([[VOID, VOID]], [[0, 0]])


def test_two_annotators_are_decided_by_majority_whatever_the_method() -> None:
    """STAPLE has nothing to tell two apart by."""
    together, _ = locate(rows([0, 1], [1, 1]), 3, VOID)
    made: Consensus = decide(together, [1, 0], Method.STAPLE)
    assert made.chosen.tolist() == majority(together, [1, 0]).chosen.tolist()
