"""How far confidences can be believed: expected calibration error and negative log-likelihood, in a stream."""

from typing import Any

import numpy as np
import numpy.typing as npt

from training.metrics import ratio

# Softmax in float32 and blending leave the unit interval by rounding; more than this is a mistake.
_ROUNDING = 1e-3
# A float32 softmax underflows to 0 for a confident mistake: the log-likelihood stays finite.
_LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)


class Calibration:
    """Collects confidences over any number of images in constant memory.

    Leave void pixels out of what is handed over.

    Args:
        bins: Number of equal-width confidence bins.

    Raises:
        ValueError: If `bins` is less than 1.
    """

    def __init__(self, bins: int) -> None:
        if bins < 1:
            raise ValueError(f"bins is {bins}; a reliability table needs at least 1.")
        self._bins = bins
        self._count = np.zeros(bins)
        self._confidence = np.zeros(bins)
        self._correct = np.zeros(bins)
        self._nll = 0.0
        self._nll_count = 0

    def update(self, confidence: npt.NDArray[np.floating[Any]], correct: npt.NDArray[np.bool_]) -> None:
        """Add pixels by the probability of their predicted class and whether that class is the true one.

        Bin m of M holds the confidences in ((m - 1) / M, m / M], as in Guo et al.; 0 falls into the first.

        Args:
            confidence: Any shape, float in [0, 1].
            correct: Same shape, bool.

        Raises:
            ValueError: If the shapes differ or a confidence is no probability.
        """
        if confidence.shape != correct.shape:
            raise ValueError(f"confidence has shape {confidence.shape}, correct {correct.shape}; give one of each.")
        values = _probabilities(confidence, "confidence")
        index = np.clip(np.ceil(values * self._bins).astype(np.intp) - 1, 0, self._bins - 1)
        self._count += np.bincount(index, minlength=self._bins)
        self._confidence += np.bincount(index, values, self._bins)
        self._correct += np.bincount(index, correct.ravel(), self._bins)

    def update_nll(self, probability_of_truth: npt.NDArray[np.floating[Any]]) -> None:
        """Add pixels by the probability that was given to their true class.

        Args:
            probability_of_truth: Any shape, float in [0, 1]; values below the smallest normal float32 count as
                that.

        Raises:
            ValueError: If a value is no probability.
        """
        values = _probabilities(probability_of_truth, "probability_of_truth")
        self._nll -= float(np.log(np.maximum(values, _LEAST_PROBABILITY)).sum())
        self._nll_count += values.size

    def ece(self) -> float:
        """Top-label expected calibration error (Guo et al., ICML 2017, equation 3); NaN before any pixel.

        The mean over pixels of |accuracy - mean confidence| of the bin, in [0, 1].
        """
        return float(ratio(np.abs(self._correct - self._confidence).sum(), self._count.sum()))

    def nll(self) -> float:
        """Mean negative log-likelihood of the true class in nats; NaN before any pixel."""
        return float(ratio(self._nll, self._nll_count))

    def table(self) -> list[dict[str, float]]:
        """Rows of the reliability diagram, one a bin: lower, upper, count, confidence, accuracy.

        Mean confidence and accuracy of an empty bin are NaN.
        """
        edges = np.linspace(0, 1, self._bins + 1)
        columns = {
            "lower": edges[:-1],
            "upper": edges[1:],
            "count": self._count,
            "confidence": ratio(self._confidence, self._count),
            "accuracy": ratio(self._correct, self._count),
        }
        return [{name: float(values[row]) for name, values in columns.items()} for row in range(self._bins)]


def probability_of_truth(
    probabilities: npt.NDArray[np.float32],
    truth: npt.NDArray[np.uint8],
    ignore_index: int = 255,
) -> npt.NDArray[np.float32]:
    """Pick, for every pixel that is not void, the probability of its true class.

    Args:
        probabilities: (C, H, W).
        truth: (H, W) uint8 in [0, C) or `ignore_index`.
        ignore_index: The void label of `truth`.

    Returns:
        (N,) for the N pixels that are not void, in row-major order.
    """
    rows, columns = np.nonzero(truth != ignore_index)
    return probabilities[truth[rows, columns], rows, columns]


def _probabilities(values: npt.NDArray[np.floating[Any]], name: str) -> npt.NDArray[np.float64]:
    """Flatten to float64, rounding errors clipped; NaN and anything outside [0, 1] is refused."""
    flat = values.ravel().astype(np.float64)
    wrong = flat[~((flat >= -_ROUNDING) & (flat <= 1 + _ROUNDING))]
    if wrong.size:
        raise ValueError(
            f"{name} holds {wrong[0]} ({wrong.size} of {flat.size} values outside [0, 1]); apply softmax first.",
        )
    return np.clip(flat, 0, 1)
