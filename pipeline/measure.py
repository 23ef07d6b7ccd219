"""Measures one holdout image: the model's prediction against the truth, as counts that can be added up."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.images import ImageError, Limits, decode_image, decode_mask
from pipeline.inference import Prediction, Rows, Segmenter
from pipeline.item_facts import pixel_facts
from training.boundary import boundary_counts
from training.calibration import Calibration, probability_of_truth
from training.confusion import confusion_matrix
from training.metrics import ratio
from training.tiling import TileGrid

Pixels = npt.NDArray[np.uint8]

BOUNDARY = ("matched_predicted", "predicted", "matched_true", "true")
STATS = ("brightness", "contrast", "saturation", "blur")
# Of an image's confidences; how unsure the unsure pixels are tells more than the mean.
CONFIDENCE_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75)


@dataclass(frozen=True)
class MeasureSettings:
    """What the measures depend on besides prediction and truth.

    Attributes:
        num_classes: Classes have the ids 0 to num_classes - 1.
        ignore_index: The mask value of void.
        tolerance_px: Boundaries this near match.
        confidence_bins: Bins of the reliability table.
        seam_px: Pixels this near to a tile's edge are at a seam.
        limits: What is refused before it is decoded.
    """

    num_classes: int
    ignore_index: int
    tolerance_px: int
    confidence_bins: int
    seam_px: int
    limits: Limits


@dataclass(frozen=True)
class Reference:
    """What drift is later compared with.

    Attributes:
        embedding: Shape (D,), float32.
        confidence_quantiles: At `CONFIDENCE_QUANTILES`.
        class_shares: Shape (C,), float64: predicted pixels by class, summing to 1.
        stats: The values of `STATS`.
    """

    embedding: npt.NDArray[np.float32]
    confidence_quantiles: npt.NDArray[np.float64]
    class_shares: npt.NDArray[np.float64]
    stats: list[float]


def decode_pair(image: bytes, mask: bytes, settings: MeasureSettings) -> tuple[Pixels, Pixels]:
    """Decodes an image (H, W, 3) and its mask (H, W).

    Raises:
        ImageError: One of them cannot be decoded, their sizes differ, or the mask holds an unknown value.
    """
    pixels, truth = decode_image(image, settings.limits), decode_mask(mask, settings.limits)
    if pixels.shape[:2] != truth.shape:
        raise ImageError(f"image of {pixels.shape[:2]} px, mask of {truth.shape} px")
    unknown = np.unique(truth[(truth >= settings.num_classes) & (truth != settings.ignore_index)])
    if unknown.size:
        raise ImageError(f"the mask holds the values {unknown.tolist()}, which are no class")
    return np.ascontiguousarray(pixels), np.ascontiguousarray(truth)


def measure(
    segmenter: Segmenter, image: Pixels, truth: Pixels, settings: MeasureSettings
) -> tuple[dict[str, Any], Reference]:
    """Predicts an image and compares it with its truth; void counts nowhere.

    Args:
        segmenter: The exported graph.
        image: Shape (H, W, 3), uint8 RGB.
        truth: Shape (H, W), uint8.
        settings: Classes, tolerances and bins.

    Returns:
        Columns of `confusions.parquet`, and the image's part of the drift reference.
    """
    calibration = Calibration(settings.confidence_bins)

    def compare(rows: Rows) -> None:
        here = truth[rows.y0 : rows.y0 + len(rows.labels)]
        known = here != settings.ignore_index
        calibration.update(rows.confidence[known], (rows.labels == here)[known])
        calibration.update_nll(probability_of_truth(rows.probabilities, here, settings.ignore_index))

    prediction = segmenter.predict_rows(image, compare)
    row = {
        "height": truth.shape[0],
        "width": truth.shape[1],
        "tiles": prediction.tiles,
        "confusion": confusion_matrix(truth, prediction.labels, settings.num_classes, settings.ignore_index).ravel(),
        "mean_confidence": float(prediction.confidence.mean(dtype=np.float64)),
        "expected_intersection": prediction.expected_intersection,
        "expected_union": prediction.expected_union,
        "expected_iou": ratio(prediction.expected_intersection, prediction.expected_union),
        **_calibration_columns(calibration),
        **_boundary_columns(truth, prediction.labels, settings),
        **seam_counts(truth, prediction.labels, segmenter.grid(*truth.shape), settings),
    }
    return row, _reference(image, prediction, settings.num_classes)


def seam_counts(truth: Pixels, labels: Pixels, grid: TileGrid, settings: MeasureSettings) -> dict[str, int]:
    """Counts wrong pixels near the inner edges of tiles and elsewhere; void left out.

    Args:
        truth: Shape (H, W), uint8.
        labels: Shape (H, W), uint8, the prediction.
        grid: The tiles.
        settings: Void and the reach of a seam.

    Returns:
        seam_px, seam_errors, elsewhere_px and elsewhere_errors; all 0 at the seams when there is only one tile.
    """
    rows = _near_edges(grid.rows, grid.height, grid.tile_px, settings.seam_px)
    columns = _near_edges(grid.columns, grid.width, grid.tile_px, settings.seam_px)
    seam = rows[:, None] | columns[None, :]
    known = truth != settings.ignore_index
    wrong = known & (truth != labels)
    return {
        "seam_px": int((known & seam).sum()),
        "seam_errors": int((wrong & seam).sum()),
        "elsewhere_px": int((known & ~seam).sum()),
        "elsewhere_errors": int((wrong & ~seam).sum()),
    }


def _near_edges(origins: list[int], length: int, tile_px: int, reach: int) -> npt.NDArray[np.bool_]:
    near = np.zeros(length, np.bool_)
    for edge in {*origins, *(origin + tile_px for origin in origins)}:
        if 0 < edge < length:
            near[max(edge - reach, 0) : edge + reach] = True
    return near


def _calibration_columns(calibration: Calibration) -> dict[str, Any]:
    table = calibration.table()
    count = np.array([row["count"] for row in table])
    columns = {name: np.nan_to_num([row[name] for row in table]) * count for name in ("confidence", "accuracy")}
    return {
        "nll": calibration.nll(),
        "bin_px": count.astype(np.int64),
        "bin_confidence": columns["confidence"],
        "bin_correct": columns["accuracy"].round().astype(np.int64),
    }


def _boundary_columns(truth: Pixels, labels: Pixels, settings: MeasureSettings) -> dict[str, Any]:
    counts = boundary_counts(truth, labels, settings.num_classes, settings.tolerance_px, settings.ignore_index)
    return {f"boundary_{name}": getattr(counts, name) for name in BOUNDARY}


def _reference(image: Pixels, prediction: Prediction, num_classes: int) -> Reference:
    facts = pixel_facts(image, Image.fromarray(image).convert("L"))
    return Reference(
        prediction.embedding,
        np.quantile(prediction.confidence, CONFIDENCE_QUANTILES),
        np.bincount(prediction.labels.ravel(), minlength=num_classes) / prediction.labels.size,
        [facts[name] for name in STATS],
    )
