"""The evaluation's figures, as tables for DVC's plots and as PNG for people without a network."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.files import write_atomic
from pipeline.taxonomy import Taxonomy

# DVC's template counts rows, so a matrix of pixels is written as this many rows a class, in proportion.
ROWS_PER_CLASS = 200
CRITICAL, ORDINARY = "#c0392b", "#4878a8"


def write_plots(
    folder: Path, metrics: Mapping[str, Any], confusion: npt.NDArray[np.int64], table: pd.DataFrame, taxonomy: Taxonomy
) -> None:
    """Writes `plots/*.csv` and a PNG of each.

    Args:
        folder: The evaluation's folder.
        metrics: The content of metrics.json.
        confusion: Shape (C, C), truth in rows.
        table: The reliability table.
        taxonomy: Names, and which classes are critical.
    """
    slices = slice_scores(metrics)
    scores = pd.DataFrame({"class": list(metrics["iou"]), "iou": list(metrics["iou"].values())}).dropna()
    filled = table[table["px"] > 0]
    _csv(folder, "confusion", confusion_rows(confusion, taxonomy.names))
    _csv(folder, "iou", scores)
    _csv(folder, "reliability", filled)
    _csv(folder, "slices", slices)
    write_atomic(folder / "confusion.png", confusion_png(confusion, taxonomy.names))
    write_atomic(folder / "iou.png", iou_png(scores, metrics, taxonomy))
    write_atomic(folder / "reliability.png", reliability_png(filled, metrics["ece"]))
    if len(slices):
        write_atomic(folder / "slices.png", slices_png(slices, metrics["miou"]))


def confusion_rows(confusion: npt.NDArray[np.int64], names: Sequence[str]) -> pd.DataFrame:
    """The matrix as rows of `actual` and `predicted`, so many of each as its share of the true class rounds to."""
    total = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    repeats = np.rint(confusion / total * ROWS_PER_CLASS).astype(int)
    actual, predicted = np.indices(confusion.shape)
    pairs = [np.repeat(each.ravel(), repeats.ravel()) for each in (actual, predicted)]
    labels = np.array(names, dtype=object)
    return pd.DataFrame({"actual": labels[pairs[0]], "predicted": labels[pairs[1]]})


def slice_scores(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Slice, items and mIoU, a row for each value of each slice column; undefined ones left out."""
    rows = [
        {"slice": f"{column}: {value}", "items": facts["items"], "miou": facts["miou"]}
        for column, values in metrics["slices"].items()
        for value, facts in values.items()
    ]
    return pd.DataFrame(rows, columns=["slice", "items", "miou"]).dropna()


def confusion_png(confusion: npt.NDArray[np.int64], names: Sequence[str]) -> bytes:
    """The matrix, each true class as shares; a class that the holdout lacks is left blank."""
    total = confusion.sum(axis=1, keepdims=True)
    share = np.where(total > 0, confusion / np.maximum(total, 1), np.nan)
    side = 2.5 + 0.6 * len(names)
    figure, axes = _figure(side + 1, side)
    shown = axes.imshow(share, vmin=0, vmax=1, cmap="Blues")
    figure.colorbar(shown, ax=axes, label="share of the true class")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="truth", title="Confusion, pixels of the holdout")
    for (row, column), value in np.ndenumerate(share):
        if not np.isnan(value):
            colour = "white" if value > 0.5 else "black"  # noqa: PLR2004 - the middle of the colour map
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)
    return _png(figure)


def iou_png(scores: pd.DataFrame, metrics: Mapping[str, Any], taxonomy: Taxonomy) -> bytes:
    """IoU per class as bars, critical classes in a colour of their own, the mean as a line."""
    critical = {taxonomy.names[each] for each in taxonomy.critical_ids}
    figure, axes = _figure(7, 1.6 + 0.4 * len(scores))
    colours = [CRITICAL if name in critical else ORDINARY for name in scores["class"]]
    labels = [f"{name} (critical)" if name in critical else name for name in scores["class"]]
    _bars(axes, labels, scores["iou"], colours)
    title = "IoU per class"
    if metrics["miou"] is not None:
        axes.axvline(metrics["miou"], color="black", linestyle="--")
        title += f", mean {metrics['miou']:.3f}"
    axes.set(xlabel="IoU", title=title)
    return _png(figure)


def reliability_png(table: pd.DataFrame, ece: float | None) -> bytes:
    """Accuracy by confidence: on the diagonal, confidences can be believed. Below, where the pixels are."""
    figure, (upper, lower) = _figure(5.5, 6.5, rows=2, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="grey", linestyle="--", label="calibrated")
    upper.plot(table["confidence"], table["accuracy"], marker="o", color=ORDINARY, label="holdout")
    title = "Reliability" if ece is None else f"Reliability, calibration error {ece:.3f}"
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy", title=title)
    upper.legend(loc="upper left", frameon=False)
    lower.bar(table["confidence"], table["px"] / max(table["px"].sum(), 1), width=0.03, color=ORDINARY)
    lower.set(xlim=(0, 1), xlabel="confidence", ylabel="share of pixels")
    return _png(figure)


def slices_png(slices: pd.DataFrame, miou: float | None) -> bytes:
    """Bars of the mIoU per slice, that of all images as a line."""
    figure, axes = _figure(7, 1.6 + 0.4 * len(slices))
    labels = [f"{row['slice']} ({row['items']})" for row in slices.to_dict("records")]
    _bars(axes, labels, slices["miou"], [ORDINARY] * len(slices))
    if miou is not None:
        axes.axvline(miou, color="black", linestyle="--")
    axes.set(xlabel="mIoU (images in brackets)", title="mIoU per slice")
    return _png(figure)


def _bars(axes: Any, labels: Sequence[str], values: pd.Series, colours: Sequence[str]) -> None:
    bars = axes.barh(labels, values, color=colours)
    # On white, for the line of the mean would cross the figures.
    axes.bar_label(bars, fmt="%.3f", padding=3, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1)


def _figure(width: float, height: float, rows: int = 1, height_ratios: Sequence[float] | None = None) -> Any:
    """A figure that no display takes part in, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, 1, height_ratios=height_ratios)


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _csv(folder: Path, name: str, table: pd.DataFrame) -> None:
    write_atomic(folder / "plots" / f"{name}.csv", table.to_csv(index=False))
