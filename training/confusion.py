"""The confusion matrix of a label map: the one count that every overlap metric is computed from."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

# Label maps are piecewise constant: eight pixels in a row mostly hold one label in both maps and count as one.
_WORD = 8
# Neighbours mostly fall into the same cell, where each increment waits for the one before it.
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
    _check_maps(truth, prediction, num_classes, ignore_index)
    rows, columns = (np.ascontiguousarray(labels).reshape(-1) for labels in (truth, prediction))
    whole, padding = rows.size - rows.size % _WORD, -rows.size % _WORD
    rest = [np.pad(labels[whole:], (0, padding)) for labels in (rows, columns)]
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for pair in ((rows[:whole], columns[:whole]), rest):
        counts, stray = _kernel()(*map(_words, pair), num_classes, ignore_index)
        if stray:
            _raise_stray_label(truth, prediction, num_classes, ignore_index)
        matrix += counts.sum(axis=0).reshape(num_classes, num_classes)
    matrix[0, 0] -= padding
    matrix[ignore_index : ignore_index + 1] = 0  # void may be one of the class ids
    return matrix


def _check_maps(truth: npt.NDArray[Any], prediction: npt.NDArray[Any], num_classes: int, ignore_index: int) -> None:
    """Refuse what the kernel would misread."""
    if not 1 <= num_classes <= _MAX_CLASSES:
        raise ValueError(f"num_classes is {num_classes}; uint8 labels allow 1 to {_MAX_CLASSES} classes.")
    if not 0 <= ignore_index < _MAX_CLASSES:
        raise ValueError(f"ignore_index is {ignore_index}; a uint8 label lies from 0 to {_MAX_CLASSES - 1}.")
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


def _words(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """View a flat map as words of eight labels; copies only one that memory does not align to words."""
    return np.require(labels.view(np.uint64), requirements="A")


def _count(
    truth: npt.NDArray[np.uint64],
    prediction: npt.NDArray[np.uint64],
    num_classes: int,
    ignore_index: int,
) -> tuple[npt.NDArray[np.int64], int]:
    """Count pairs of labels; plain Python that numba compiles. Returns (4, C * C) counts and the strays."""

    def add(histogram: npt.NDArray[np.int64], row: np.intp, column: np.intp, pixels: int) -> int:
        if row < num_classes and column < num_classes:
            histogram[row * num_classes + column] += pixels
            return 0
        return pixels if column >= num_classes or row != ignore_index else 0

    counts = np.zeros((_HISTOGRAMS, num_classes * num_classes), np.int64)
    byte, every_byte, shift = np.uint64(0xFF), np.uint64(0x0101010101010101), np.uint64(8)
    stray = 0
    for index in range(truth.size):
        rows, columns = truth[index], prediction[index]
        row, column = rows & byte, columns & byte
        if rows == row * every_byte and columns == column * every_byte:
            stray += add(counts[index % _HISTOGRAMS], np.intp(row), np.intp(column), _WORD)
            continue
        for lane in range(_WORD):
            stray += add(counts[lane % _HISTOGRAMS], np.intp(rows & byte), np.intp(columns & byte), 1)
            rows, columns = rows >> shift, columns >> shift
    return counts, stray


@cache
def _kernel() -> Callable[..., tuple[npt.NDArray[np.int64], int]]:
    """Compile the count at its first use; the machine code is kept on disk where a folder can be written.

    Numba looks for `NUMBA_CACHE_DIR`, then the folder of this file, then the user's cache folder. With none of
    them writable it refuses to cache; then every process compiles anew (about a second).
    """
    import numba

    words = numba.types.Array(numba.uint64, 1, "C", readonly=True)
    signature = (words, words, numba.intp, numba.intp)
    try:
        compiled: Callable[..., Any] = numba.njit(signature, cache=True, nogil=True)(_count)
    except RuntimeError:
        compiled = numba.njit(signature, nogil=True)(_count)
    return compiled
