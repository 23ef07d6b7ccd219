"""Evaluations whose quality is known, and service levels that hardly limit anything."""

import numpy as np

from pipeline.gating.counts import Counts
from pipeline.gating.slo import GateParams

PARAMS = {
    "replicates": 2000,
    "seed": 0,
    "level": 0.95,
    "min_groups": 20,
    "few_groups": 10,
    "block_frames": 5,
    "miou": 0.5,
    "iou": {"default": None, "classes": {}},
    "slice_miou": None,
    "boundary_f": {"default": None, "classes": {}},
    "false_positive_rate": {"default": None, "classes": {}},
    "ece": 1.0,
    "non_inferiority": {"default": None, "classes": {}},
    "latency_p95_ms": 100.0,
    "latency_images": 5,
    "size_mib": 10.0,
    "doubt": {"min_confidence": 0.8, "min_share": 0.05, "max_images": 10},
}


def gate_params(**changes: object) -> GateParams:
    """Service levels that hardly limit anything, but for the changes."""
    return GateParams.model_validate({**PARAMS, **changes})


def counts(
    recalls: tuple[float, ...], *, groups: int = 60, per_group: int = 2, spread: float = 0.0, seed: int = 0
) -> Counts:
    """An evaluation where each class is hit with a given recall, which varies between groups.

    A missed pixel is given to the next class.

    Args:
        recalls: By class; the expected recall.
        groups: Groups, with `per_group` images of 1000 pixels per class each.
        per_group: Images of a group.
        spread: Standard deviation of the recall between groups.
        seed: Of the variation.
    """
    rng = np.random.default_rng(seed)
    classes, total = len(recalls), groups * per_group
    of_group = np.clip(np.array(recalls) + spread * rng.standard_normal((groups, classes)), 0, 1)
    hits = rng.binomial(1000, of_group.repeat(per_group, axis=0))
    confusion = np.zeros((total, classes, classes), np.int64)
    ids = np.arange(classes)
    confusion[:, ids, ids] = hits
    confusion[:, ids, (ids + 1) % classes] = 1000 - hits
    right = hits.sum(axis=1)
    bins = np.zeros((total, 3, 1))
    bins[:, 0, 0], bins[:, 1, 0], bins[:, 2, 0] = 1000 * classes, right, right
    return Counts(
        item_ids=[f"item-{number:04d}" for number in range(total)],
        groups=np.array([f"group-{number:03d}" for number in range(groups)]).repeat(per_group),
        sequence=np.tile(np.arange(per_group), groups),
        confusion=confusion,
        boundary=np.zeros((total, 4, classes), np.int64),
        bins=bins,
        slices={"camera": np.array([f"cam{number % 2}" for number in range(total)], dtype=object)},
    )
