"""The calibration temperature: found where there is one, 1 where there is none."""

import numpy as np
import pytest

from training.temperature import fit_temperature, mean_nll


def draws(temperature: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from the probabilities that they have at a temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (count, 4)).astype(np.float32)
    noisy = logits / temperature + rng.gumbel(size=logits.shape)
    return logits, noisy.argmax(axis=1).astype(np.uint8)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_the_labels_is_found(temperature: float) -> None:
    """Labels drawn at a temperature give it back, and the likelihood is no worse than at 1."""
    fitted = fit_temperature(*draws(temperature))
    assert fitted.value == pytest.approx(temperature, rel=0.05)
    assert fitted.nll_after is not None
    assert fitted.nll_before is not None
    assert fitted.nll_after <= fitted.nll_before + 1e-9


def test_a_perfect_network_keeps_temperature_one() -> None:
    """Where every label is right the likelihood has no best temperature: it stays 1, and says so."""
    logits, _ = draws(1.0, 100)
    fitted = fit_temperature(logits, logits.argmax(axis=1).astype(np.uint8))
    assert (fitted.value, fitted.nll_before) == (1.0, fitted.nll_after)
    assert "0.05" in fitted.note


def test_nothing_labelled_keeps_temperature_one() -> None:
    """Without a labelled pixel there is nothing to fit."""
    fitted = fit_temperature(np.zeros((0, 4), np.float32), np.zeros(0, np.uint8))
    assert (fitted.value, fitted.pixels) == (1.0, 0)


def test_logits_that_are_not_finite_keep_temperature_one() -> None:
    """A diverged network does not end in a temperature of NaN."""
    logits, labels = draws(1.0, 100)
    logits[0] = np.nan
    assert fit_temperature(logits, labels).value == 1.0


def test_likelihood_is_that_of_the_softmax() -> None:
    """Two equal logits give each label the likelihood one half, however large they are."""
    logits = np.full((3, 2), 1e4, np.float32)
    assert mean_nll(logits, np.array([0, 1, 1], np.uint8), 2.0) == pytest.approx(np.log(2))
