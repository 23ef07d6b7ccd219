"""Confusion matrix of one 1024x2048 map with 19 classes: ours against torchmetrics. Run with python -m."""

import argparse
from functools import partial

import numpy as np
import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix

from benchmarks.comparison import interleaved_ms, report
from training.confusion import confusion_matrix

SHAPE, CLASSES, BLOCK_PX = (1024, 2048), 19, 16
TARGETS = {"torchmetrics, defaults": 30, "torchmetrics, validate_args=False": 2.5}


def block_map(rng: np.random.Generator) -> np.ndarray:
    """Labels in blocks, as in masks, where neighbours mostly agree; without void, which only our count handles."""
    blocks = rng.integers(0, CLASSES, [side // BLOCK_PX for side in SHAPE], dtype=np.uint8)
    return blocks.repeat(BLOCK_PX, axis=0).repeat(BLOCK_PX, axis=1)


def main() -> None:
    """Check that all agree, time them, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    truth, prediction = block_map(rng), block_map(rng)
    peer = partial(multiclass_confusion_matrix, torch.from_numpy(prediction), torch.from_numpy(truth), CLASSES)
    noise = rng.integers(0, CLASSES, (2, *SHAPE), dtype=np.uint8)
    cases = {
        "segloop": partial(confusion_matrix, truth, prediction, CLASSES),
        "torchmetrics, defaults": peer,
        "torchmetrics, validate_args=False": partial(peer, validate_args=False),
    }
    for case in cases.values():
        np.testing.assert_array_equal(np.asarray(case()), cases["segloop"]())
    cases["segloop, labels are noise (its worst case)"] = partial(confusion_matrix, *noise, CLASSES)
    medians = interleaved_ms(cases, rounds)
    rows = [
        {
            "case": name,
            "median ms": median,
            "times segloop": median / medians["segloop"],
            "at least": TARGETS.get(name, ""),
        }
        for name, median in medians.items()
    ]
    report("confusion_matrix", "Confusion matrix, 1024x2048, 19 classes", rows, ["numba", "torch", "torchmetrics"])


if __name__ == "__main__":
    main()
