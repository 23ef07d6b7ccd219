"""Small random evaluations as `confusions.parquet` holds them, for tests of the gate."""

import numpy as np
import pandas as pd

from pipeline.gating.counts import Counts, read_counts

CLASSES, BINS = 4, 5
NAMES = ["red", "green", "blue", "grey"]


def evaluation(
    rng: np.random.Generator, images: int, classes: int = CLASSES, absent: tuple[int, ...] = (), per_group: int = 1
) -> pd.DataFrame:
    """Rows of images with counts that may be of no real picture but add up like those of one.

    Args:
        rng: Decides the counts.
        images: Rows.
        classes: Classes.
        absent: Classes that neither truth nor prediction holds anywhere.
        per_group: Images of a group.
    """
    confusion = rng.integers(0, 40, (images, classes, classes)) * rng.integers(0, 2, (images, classes, classes))
    matched = rng.integers(0, 20, (images, 2, classes))
    edges = matched + rng.integers(0, 20, matched.shape)
    for label in absent:
        confusion[:, label] = confusion[:, :, label] = 0
        matched[..., label] = edges[..., label] = 0
    px = rng.integers(0, 30, (images, BINS))
    return pd.DataFrame(
        {
            "item_id": [f"item-{number:03}" for number in range(images)],
            "group": [f"scene-{number // per_group:03}" for number in range(images)],
            "sequence_index": [number % per_group for number in range(images)],
            "camera": [("left", "right", None)[number % 3] for number in range(images)],
            "confusion": list(confusion.reshape(images, -1)),
            "boundary_matched_predicted": list(matched[:, 0]),
            "boundary_predicted": list(edges[:, 0]),
            "boundary_matched_true": list(matched[:, 1]),
            "boundary_true": list(edges[:, 1]),
            "bin_px": list(px),
            "bin_confidence": list(px * rng.random(px.shape)),
            "bin_correct": list(rng.integers(0, px + 1)),
        }
    )


def counts(rng: np.random.Generator, images: int, absent: tuple[int, ...] = ()) -> Counts:
    """The counts of such an evaluation, each image a group of its own."""
    return read_counts(evaluation(rng, images, absent=absent), CLASSES, ["camera"])
