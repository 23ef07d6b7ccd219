"""The page of batches that differ from the dataset: histograms, and pictures from both."""

import base64
from collections.abc import Callable
from html import escape
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.batch_drift import STATISTICS
from pipeline.files import write_atomic

Values = npt.NDArray[np.float64]
# Pictures of rows of the catalogue, RGB, None where one cannot be read.
Pictures = Callable[[pd.DataFrame], list[npt.NDArray[np.uint8] | None]]

SHOWN = 12
QUANTILES = (0.05, 0.5, 0.95)
BINS, WIDTH, HEIGHT, PICTURE_PX = 24, 480, 140, 200
BATCH, REST = "#b42318", "#667085"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; border-bottom: 2px solid #ccc; margin-top: 2.5rem; }
figure { display: inline-block; margin: .3rem; } figcaption { font-size: .8rem; color: #555; }
.batch { color: #b42318; } .rest { color: #667085; }
"""


def write_page(drift: pd.DataFrame, accepted: pd.DataFrame, shares: Values, pictures: Pictures, out: Path) -> None:
    """Writes the page: for each statistic that differs, both histograms and images at three quantiles of each side.

    Args:
        drift: Rows of `drift_evidence` with a sentence.
        accepted: The accepted items, numbered from 0.
        shares: Class shares of each. Shape: (N, C), in the order of the classes' rows in `drift`.
        pictures: Reads images.
        out: The HTML file.
    """
    strongest = drift.reindex(drift["effect"].abs().sort_values(ascending=False).index)
    sections = [_section(row, accepted, shares, pictures) for row in strongest.head(SHOWN).to_dict("records")]
    more = len(drift) - len(sections)
    if more > 0:
        sections.append(f"<p>{more} weaker differences are in verdict.json.</p>")
    head = f'<head><meta charset="utf-8"><title>Batches that differ</title><style>{STYLE}</style></head>'
    intro = (
        "<h1>Batches that differ from the rest</h1><p>A difference is no fault: new places look new. Look whether it "
        "is one that you expect. Images are counted in the histograms; the test is over the means of groups.</p>"
    )
    write_atomic(out, f'<!DOCTYPE html>\n<html lang="en">{head}<body>{intro}{"".join(sections)}</body></html>\n')


def _section(row: dict[object, object], accepted: pd.DataFrame, shares: Values, pictures: Pictures) -> str:
    mine = ((accepted["batch"] == row["place"]) & (accepted["revision"] == 1)).to_numpy(bool)
    values = _values(str(row["statistic"]), int(str(row["class_id"])), accepted, shares)
    sides = [("batch", mine), ("rest", ~mine)]
    shown = "".join(f"<div>{_figures(accepted[side], values[side], name, pictures)}</div>" for name, side in sides)
    title = f"{escape(str(row['place']))}: {escape(str(row['drift']))}"
    return f"<h2>{title}</h2>{histogram(values[mine], values[~mine])}{shown}"


def _values(statistic: str, class_id: int, accepted: pd.DataFrame, shares: Values) -> Values:
    return accepted[statistic].to_numpy(np.float64) if statistic in STATISTICS else shares[:, class_id]


def _figures(rows: pd.DataFrame, values: Values, side: str, pictures: Pictures) -> str:
    order = np.argsort(values, kind="stable")
    places = [order[round(share * (len(order) - 1))] for share in QUANTILES]
    images = pictures(rows.iloc[places])
    return "".join(
        f'<figure><img alt="" src="{_encoded(image)}"><figcaption class="{side}">{side}, {share:.0%}: '
        f"{values[place]:.3g}, {escape(str(rows['item_id'].iloc[place]))}</figcaption></figure>"
        for share, place, image in zip(QUANTILES, places, images, strict=True)
        if image is not None
    )


def _encoded(image: npt.NDArray[np.uint8]) -> str:
    scale = min(PICTURE_PX / max(image.shape[:2]), 1)
    size = tuple(max(round(side * scale), 1) for side in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".webp", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 80])[1]
    return "data:image/webp;base64," + base64.b64encode(bytes(data)).decode()


def histogram(mine: Values, rest: Values) -> str:
    """Both histograms as shares of their side, as an SVG drawing."""
    both = np.concatenate([mine, rest])
    edges = np.histogram_bin_edges(both[np.isfinite(both)], bins=BINS)
    drawn = [np.histogram(side, edges)[0] / max(len(side), 1) for side in (mine, rest)]
    top, step = max(*map(np.max, drawn), 1e-9), WIDTH / BINS
    bars = "".join(
        f'<rect x="{place * step:.1f}" y="{HEIGHT * (1 - share / top):.1f}" width="{step - 1:.1f}" '
        f'height="{HEIGHT * share / top:.1f}" fill="{colour}" fill-opacity="0.5"/>'
        for shares, colour in zip(drawn, (BATCH, REST), strict=True)
        for place, share in enumerate(shares)
    )
    labels = (
        f'<text x="0" y="{HEIGHT + 16}" font-size="12">{edges[0]:.3g}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 16}" font-size="12" text-anchor="end">{edges[-1]:.3g}</text>'
    )
    return (
        f'<svg role="img" width="{WIDTH}" height="{HEIGHT + 20}">{bars}{labels}</svg>'
        f'<p><span class="batch">■ batch</span> <span class="rest">■ rest of the dataset</span></p>'
    )
