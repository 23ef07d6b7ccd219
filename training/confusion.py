"""The confusion matrix of a label map: the one count that every overlap metric is computed from."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

# Neighbouring pixels mostly fall into the same cell, where each increment waits for the one before it.
# Four histograms in turn hide that wait.
_HISTOGRAMS = 4
_MAX_CLASSES = 256


def confusion_matrix(
    truth: npt.NDArray[np.uint8],
    prediction: npt.NDArray[np.uint8],
    num_classes: int,
    ignore_index: int = 255,
) -> npt.NDArray[np.int64]:
    """Count how often each true class was predicted as each class.

    Pixels whose truth is `ignore_index` (void) are not counted, but their prediction must be a class as well:
    a value out of range means a broken model or a wrong file, wherever it stands.

    Args:
        truth: True class ids, (H, W) or any other shape, uint8 in [0, num_classes) or `ignore_index`.
        prediction: Predicted class ids, same shape as `truth`, uint8 in [0, num_classes).
        num_classes: Number of classes C, 1 to 256.
        ignore_index: The void label of `truth`.

    Returns:
        (C, C) int64, rows are the truth, columns the prediction.

    Raises:
        ValueError: If shape, dtype or a label is not as stated; the message names the value.
    """
    _check_maps(truth, prediction, num_classes)
    counts, stray = _kernel()(truth.reshape(-1), prediction.reshape(-1), num_classes, ignore_index)
    if stray:
        _raise_stray_label(truth, prediction, num_classes, ignore_index)
    matrix: npt.NDArray[np.int64] = counts.sum(axis=0).reshape(num_classes, num_classes)
    matrix[ignore_index : ignore_index + 1] = 0  # void may be one of the class ids
    return matrix


def _check_maps(truth: npt.NDArray[Any], prediction: npt.NDArray[Any], num_classes: int) -> None:
    """Refuse what the kernel would misread."""
    if not 1 <= num_classes <= _MAX_CLASSES:
        raise ValueError(f"num_classes is {num_classes}; uint8 labels allow 1 to {_MAX_CLASSES} classes.")
    if truth.shape != prediction.shape:
        raise ValueError(
            f"truth has shape {truth.shape}, prediction {prediction.shape}; compare maps of the same size.",
        )
    for name, labels in (("truth", truth), ("prediction", prediction)):
        if labels.dtype != np.uint8:
            raise ValueError(f"{name} has dtype {labels.dtype}; label maps are uint8: convert it first.")


def _raise_stray_label(
    truth: npt.NDArray[np.uint8],
    prediction: npt.NDArray[np.uint8],
    num_classes: int,
    ignore_index: int,
) -> None:
    """Name the first value that is no class; kept out of the kernel, which only counts such values."""
    for name, labels, allowed in (("prediction", prediction, None), ("truth", truth, ignore_index)):
        stray = np.setdiff1d(labels[labels >= num_classes], [] if allowed is None else [allowed])
        if stray.size:
            pixels = int((labels == stray[0]).sum())
            also = "" if allowed is None else f" or {allowed} (void)"
            raise ValueError(
                f"{name} holds the label {stray[0]} in {pixels} pixels; expected 0 to {num_classes - 1}{also}: "
                "check the number of classes and the remap that made the map.",
            )


def _count(
    truth: npt.NDArray[np.uint8],
    prediction: npt.NDArray[np.uint8],
    num_classes: int,
    ignore_index: int,
) -> tuple[npt.NDArray[np.int64], int]:
    """Count pairs of labels; plain Python that numba compiles. Returns (4, C * C) counts and the strays."""
    counts = np.zeros((_HISTOGRAMS, num_classes * num_classes), np.int64)
    stray = 0
    for start in range(0, truth.size, _HISTOGRAMS):
        # A constant trip count lets the compiler unroll the inner loop.
        for lane in range(_HISTOGRAMS):
            if start + lane >= truth.size:
                break
            row, column = truth[start + lane], prediction[start + lane]
            if row < num_classes and column < num_classes:
                counts[lane, np.intp(row) * num_classes + column] += 1
            elif column >= num_classes or row != ignore_index:
                stray += 1
    return counts, stray


@cache
def _kernel() -> Callable[..., tuple[npt.NDArray[np.int64], int]]:
    """Compile the count at its first use; the machine code is kept on disk where a folder can be written.

    Numba looks for `NUMBA_CACHE_DIR`, then the folder of this file, then the user's cache folder. With none of
    them writable it refuses to cache; then every process compiles anew (about a second).
    """
    import numba

    labels = numba.types.Array(numba.uint8, 1, "C", readonly=True)
    signature = (labels, labels, numba.intp, numba.intp)
    try:
        compiled: Callable[..., Any] = numba.njit(signature, cache=True, nogil=True)(_count)
    except RuntimeError:
        compiled = numba.njit(signature, nogil=True)(_count)
    return compiled
