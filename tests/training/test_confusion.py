"""The confusion matrix agrees with counting one pixel at a time."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import training.confusion
from training.confusion import confusion_matrix


def count_slowly(truth: np.ndarray, prediction: np.ndarray, num_classes: int, ignore_index: int) -> np.ndarray:
    """Count pixel by pixel: the definition."""
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for row, column in zip(truth.ravel(), prediction.ravel(), strict=True):
        if row != ignore_index:
            matrix[row, column] += 1
    return matrix


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    num_classes=st.sampled_from([1, 2, 5, 19, 255]),
    ignore_index=st.sampled_from([255, 0, 254]),
)
def test_matches_slow_count(seed: int, shape: tuple[int, int], num_classes: int, ignore_index: int) -> None:
    """Any map of any size, with void anywhere, gives the counts of the slow reference."""
    rng = np.random.default_rng(seed)
    truth, prediction = rng.integers(0, num_classes, (2, *shape), dtype=np.uint8)
    truth[rng.random(shape) < 0.3] = ignore_index
    matrix = confusion_matrix(truth, prediction, num_classes, ignore_index)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, count_slowly(truth, prediction, num_classes, ignore_index))


def test_views_and_read_only_maps_are_counted() -> None:
    """A strided view and a read-only array give the same counts as their copies."""
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 3, (2, 8, 8), dtype=np.uint8)
    prediction.setflags(write=False)
    matrix = confusion_matrix(truth[::2, ::-1], prediction[::2, ::-1], 3)
    np.testing.assert_array_equal(matrix, confusion_matrix(truth[::2].copy(), prediction[::2].copy(), 3))


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([[7, 0]], [[0, 0]], "truth holds the label 7 in 1 pixels"),
        ([[0, 0]], [[5, 5]], "prediction holds the label 5 in 2 pixels"),
        ([[0, 0]], [[255, 0]], "prediction holds the label 255"),
        ([[255, 0]], [[9, 0]], "prediction holds the label 9"),
        ([[0]], [[0, 0]], "same size"),
    ],
)
def test_stray_labels_are_named(truth: list[list[int]], prediction: list[list[int]], message: str) -> None:
    """A label that is no class is an error that names the map and the value, in void as well."""
    with pytest.raises(ValueError, match=message):
        confusion_matrix(np.array(truth, np.uint8), np.array(prediction, np.uint8), 5)


def test_other_types_are_refused() -> None:
    """Maps that are not uint8 and impossible numbers of classes are errors that show the value."""
    labels = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="int64"):
        confusion_matrix(labels, labels.astype(np.int64), 5)
    with pytest.raises(ValueError, match="num_classes is 257"):
        confusion_matrix(labels, labels, 257)


def test_works_where_no_cache_can_be_written(tmp_path: Path) -> None:
    """With no folder for compiled code that can be written, the count is compiled in memory."""
    shutil.copy(Path(training.confusion.__file__), tmp_path / "confusion.py")
    blocker = tmp_path / "__pycache__"  # a file where a folder is wanted stops even root
    blocker.touch()
    environment = {"PATH": os.environ["PATH"], "HOME": str(blocker), "XDG_CACHE_HOME": str(blocker)}
    program = (
        "import numpy as np, confusion; m = np.ones((2, 2), np.uint8); print(confusion.confusion_matrix(m, m, 2)[1, 1])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.returncode) == ("4\n", 0), result.stderr


@pytest.mark.parametrize(
    "cut",
    [lambda m: m[:, ::2], lambda m: m[::-1, ::-1], lambda m: m.T, lambda m: np.stack([m] * 3, -1)[..., 0]],
    ids=["columns", "turned", "transposed", "channel"],
)
def test_any_view_counts_as_its_copy(cut: Callable[[np.ndarray], np.ndarray]) -> None:
    """Memory order does not matter."""
    truth, prediction = np.random.default_rng(0).integers(0, 3, (2, 24, 16), dtype=np.uint8)
    expected = confusion_matrix(cut(truth).copy(), cut(prediction).copy(), 3)
    np.testing.assert_array_equal(confusion_matrix(cut(truth), cut(prediction), 3), expected)


def test_a_void_label_that_no_pixel_can_have_is_refused() -> None:
    """An ignored label outside uint8 is an error, not another row."""
    labels = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="ignore_index is -2"):
        confusion_matrix(labels, labels, 5, -2)
