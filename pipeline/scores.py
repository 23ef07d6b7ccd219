"""Adds up the counts of many images into the metrics of a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.measure import BOUNDARY
from training.boundary import BoundaryCounts
from training.metrics import false_positive_rate, iou, mean_iou, pixel_accuracy, ratio, support

SEAM_ABOUT = (
    "share of wrong pixels near the tiles' inner edges minus elsewhere; "
    "scenes whose hard parts lie at or away from these edges shift it"
)

Scores = npt.NDArray[np.float64]


def confusions(rows: pd.DataFrame, num_classes: int) -> npt.NDArray[np.int64]:
    """The confusion matrix of each image. Shape: (N, C, C), truth in rows."""
    return stacked(rows, "confusion").reshape(-1, num_classes, num_classes)


def stacked(rows: pd.DataFrame, column: str) -> npt.NDArray[Any]:
    """A column of lists of equal length as an array. Shape: (N, length)."""
    return np.stack([np.asarray(each) for each in rows[column]])


def overall(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """The metrics of all images together, from the sum of their counts.

    Args:
        rows: A row an image, as `measure` gives them.
        names: Class names by id.

    Returns:
        Metrics by name, those of classes as a mapping from the class name; None where undefined.
    """
    each = confusions(rows, len(names))
    confusion = each.sum(axis=0)
    boundary = BoundaryCounts(*(stacked(rows, f"boundary_{name}").sum(axis=0) for name in BOUNDARY))
    labelled = confusion.sum()
    nll = np.nan_to_num(rows["nll"].to_numpy(np.float64)) * each.sum(axis=(1, 2))
    expected = ratio(stacked(rows, "expected_intersection").sum(axis=0), stacked(rows, "expected_union").sum(axis=0))
    return {
        "miou": number(mean_iou(confusion)),
        "iou": by_class(iou(confusion), names),
        "support_px": dict(zip(names, support(confusion).tolist(), strict=True)),
        "support_images": dict(zip(names, (support(each) > 0).sum(axis=0).tolist(), strict=True)),
        "pixel_accuracy": number(pixel_accuracy(confusion)),
        "boundary_f": by_class(boundary.f_score(), names),
        "false_positive_rate": by_class(false_positive_rate(confusion), names),
        "ece": number(calibration_error(rows)),
        "nll": number(ratio(nll.sum(), labelled)),
        "mean_confidence": number(rows["mean_confidence"].mean()),
        "expected_iou": by_class(expected, names),
        "seam": seam(rows),
        "majority": majority(confusion, names),
    }


def by_slice(rows: pd.DataFrame, slices: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """Items, mIoU and IoU per class for each value of each slice column; images without a value are left out."""
    return {
        column: {str(value): _slice(some, names) for value, some in rows.groupby(column, sort=True)}
        for column in slices
    }


def reliability(rows: pd.DataFrame) -> pd.DataFrame:
    """The reliability table: px, confidence and accuracy by bin; the latter two NaN where a bin is empty."""
    px = stacked(rows, "bin_px").sum(axis=0)
    return pd.DataFrame(
        {
            "px": px,
            "confidence": ratio(stacked(rows, "bin_confidence").sum(axis=0), px),
            "accuracy": ratio(stacked(rows, "bin_correct").sum(axis=0), px),
        }
    )


def calibration_error(rows: pd.DataFrame) -> float:
    """Expected calibration error over all images (Guo et al., ICML 2017, equation 3); NaN without a pixel."""
    table = reliability(rows)
    gap = (table["accuracy"] - table["confidence"]).abs()
    return float(ratio((gap * table["px"]).sum(), table["px"].sum()))  # pandas sums without the empty bins


def seam(rows: pd.DataFrame) -> dict[str, float | str | None] | None:
    """Share of wrong pixels at the tiles' inner edges, elsewhere, and the difference; None without such edges.

    Only images of more than one tile count, so that both shares are of the same pictures. Truth is the yardstick, not
    the neighbouring tile: what lies at the edges weighs in. Tiles start at the same places in all images of a size, so
    a scene with its hard parts there (a horizon) gives a difference without any seam; the reverse hides one.
    """
    tiled = rows[rows["tiles"] > 1]
    if tiled.empty:
        return None
    at_seam = ratio(tiled["seam_errors"].sum(), tiled["seam_px"].sum())
    elsewhere = ratio(tiled["elsewhere_errors"].sum(), tiled["elsewhere_px"].sum())
    shares = {"error_at_seams": at_seam, "error_elsewhere": elsewhere, "difference": at_seam - elsewhere}
    return {"about": SEAM_ABOUT, **{name: number(value) for name, value in shares.items()}}


def majority(confusion: npt.NDArray[np.int64], names: Sequence[str]) -> dict[str, Any]:
    """What predicting the holdout's most frequent class everywhere would give: the least a model must beat."""
    pixels = support(confusion)
    most = int(pixels.argmax())
    predicted = np.zeros_like(confusion)
    predicted[:, most] = pixels
    return {
        "class": names[most],
        "miou": number(mean_iou(predicted)),
        "pixel_accuracy": number(ratio(pixels[most], pixels.sum())),
    }


def by_class(values: Scores, names: Sequence[str]) -> dict[str, float | None]:
    """Values by class name; None where undefined."""
    return {name: number(value) for name, value in zip(names, values, strict=True)}


def number(value: Any) -> float | None:
    """A float as JSON has it: None for NaN."""
    return None if np.isnan(value) else float(value)


def _slice(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    confusion = confusions(rows, len(names)).sum(axis=0)
    return {"items": len(rows), "miou": number(mean_iou(confusion)), "iou": by_class(iou(confusion), names)}
