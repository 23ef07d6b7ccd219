"""Streaming calibration agrees with the formulas over all pixels at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.calibration import Calibration, probability_of_truth


@given(seed=st.integers(0, 2**32 - 1), bins=st.integers(1, 20), pieces=st.integers(1, 4))
def test_stream_matches_formulas(seed: int, bins: int, pieces: int) -> None:
    """ECE and NLL of a stream equal the formulas over the whole, bin by bin, edges falling downwards."""
    rng = np.random.default_rng(seed)
    confidence = np.concatenate([rng.random(50), np.arange(bins + 1) / bins]).astype(np.float32)
    correct = rng.random(confidence.size) < confidence
    calibration = Calibration(bins)
    for piece in np.array_split(np.arange(confidence.size), pieces):
        calibration.update(confidence[piece], correct[piece])
        calibration.update_nll(confidence[piece])
    expected = 0.0
    for lower in range(bins):
        position = confidence.astype(np.float64) * bins
        inside = (position > lower) & (position <= lower + 1) | ((position == 0) & (lower == 0))
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean(dtype=np.float64))
    assert calibration.ece() == pytest.approx(expected, abs=1e-9)
    likelihood = np.maximum(confidence.astype(np.float64), np.finfo(np.float32).tiny)
    assert calibration.nll() == pytest.approx(-np.log(likelihood).mean())


def test_table_holds_what_the_error_is_made_of() -> None:
    """Rows of the table give count, accuracy and confidence per bin, NaN in an empty one."""
    calibration = Calibration(2)
    calibration.update(np.array([0.75, 1.0], np.float32), np.array([True, False]))
    empty, full = calibration.table()
    assert full == {"lower": 0.5, "upper": 1.0, "count": 2, "confidence": 0.875, "accuracy": 0.5}
    assert empty["count"] == 0
    assert np.isnan(empty["accuracy"])
    assert calibration.ece() == pytest.approx(0.375)


def test_nothing_seen_is_undefined() -> None:
    """Before any pixel, and after an image of nothing but void, both figures are NaN."""
    calibration = Calibration(10)
    calibration.update(np.zeros(0, np.float32), np.zeros(0, np.bool_))
    assert np.isnan(calibration.ece())
    assert np.isnan(calibration.nll())


def test_impossible_probabilities_are_refused() -> None:
    """Logits, NaN, mismatched shapes and no bins are errors that show the value."""
    calibration = Calibration(10)
    with pytest.raises(ValueError, match=r"confidence holds 3\.5"):
        calibration.update(np.array([0.5, 3.5]), np.array([True, True]))
    with pytest.raises(ValueError, match="holds nan"):
        calibration.update_nll(np.array([np.nan]))
    with pytest.raises(ValueError, match=r"\(2,\)"):
        calibration.update(np.array([0.5]), np.array([True, True]))
    with pytest.raises(ValueError, match="bins is 0"):
        Calibration(0)


def test_probability_of_truth_leaves_void_out() -> None:
    """The probability of the true class is picked for each pixel that is not void."""
    probabilities = np.array([[[0.1, 0.6, 0.3]], [[0.9, 0.4, 0.7]]], np.float32)
    picked = probability_of_truth(probabilities, np.array([[1, 255, 0]], np.uint8))
    np.testing.assert_allclose(picked, [0.9, 0.3])
