"""A page of the worst images: what was seen, what was true, what was predicted, and where they differ."""

import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from pipeline.files import sha256_bytes, write_atomic
from pipeline.images import colour_mask, encode_image
from pipeline.scores import confusions
from pipeline.taxonomy import Taxonomy
from training.metrics import iou, mean_iou

Pixels = npt.NDArray[np.uint8]

PANELS = ("image", "truth", "prediction", "errors")
GAP_PX = 4
WRONG, VOID = (230, 30, 30), (90, 90, 160)
STYLE = """body { font-family: sans-serif; margin: 2em; } img { max-width: 100%; display: block; }
figure { margin: 0 0 2em; } .strip { display: inline-block; } .heads { display: flex; } .heads span { flex: 1; }
.key span { display: inline-block; padding: 0 .6em; margin-right: .4em; border-left: 1.2em solid; }"""


@dataclass(frozen=True)
class Pick:
    """An image worth looking at.

    Attributes:
        item_id: Its name.
        reason: Why it was picked, with the figure.
        file: Name of its picture.
    """

    item_id: str
    reason: str
    file: str


def worst(rows: pd.DataFrame, taxonomy: Taxonomy, count: int) -> list[Pick]:
    """Picks the images with the lowest mIoU, then those with the lowest IoU of a critical class.

    Args:
        rows: A row an image, as `measure` gives them, with `item_id`.
        taxonomy: Names, and which classes are critical.
        count: How many by each measure; an image is picked once.
    """
    each = confusions(rows, taxonomy.num_classes)
    ids = rows["item_id"].to_numpy()
    scores = iou(each)
    critical = [
        found
        for label in taxonomy.critical_ids
        for found in _lowest(ids, scores[:, label], count, f"IoU of {taxonomy.names[label]}")
    ]
    first: dict[str, list[str]] = {}
    for value, item_id, measure in [*_lowest(ids, mean_iou(each), count, "mIoU"), *sorted(critical)[:count]]:
        first.setdefault(item_id, []).append(f"{measure} {value:.3f}")
    files = file_names(list(first))
    return [Pick(item_id, ", ".join(reasons), files[item_id]) for item_id, reasons in first.items()]


def file_names(item_ids: Sequence[str]) -> dict[str, str]:
    """A picture's name for each item; names of items may hold anything, and a digest tells apart those alike."""
    plain = {item_id: re.sub(r"[^A-Za-z0-9._-]", "_", item_id).lstrip(".") for item_id in item_ids}
    often = Counter(plain.values())
    return {
        item_id: (name if often[name] == 1 else f"{name}-{sha256_bytes(item_id.encode())[:8]}") + ".png"
        for item_id, name in plain.items()
    }


def strip(image: Pixels, truth: Pixels, labels: Pixels, taxonomy: Taxonomy, longest_px: int) -> bytes:
    """The four panels side by side, as PNG.

    Args:
        image: Shape (H, W, 3), uint8 RGB.
        truth: Shape (H, W), uint8.
        labels: Shape (H, W), uint8.
        taxonomy: Colours and void.
        longest_px: Longest side of a panel.
    """
    step = max(max(truth.shape) / longest_px, 1.0)
    size = max(round(truth.shape[1] / step), 1), max(round(truth.shape[0] / step), 1)
    palette = taxonomy.palette()
    panels = [
        _resized(image, size, Image.Resampling.BOX),
        _resized(colour_mask(truth, palette), size, Image.Resampling.NEAREST),
        _resized(colour_mask(labels, palette), size, Image.Resampling.NEAREST),
        _resized(error_map(image, truth, labels, taxonomy.ignore_index), size, Image.Resampling.NEAREST),
    ]
    gap = np.full((size[1], GAP_PX, 3), 255, np.uint8)
    return encode_image(np.hstack([part for panel in panels for part in (panel, gap)][:-1]))


def error_map(image: Pixels, truth: Pixels, labels: Pixels, ignore_index: int) -> Pixels:
    """The image in faint grey, wrong pixels in red, void in blue. Shape: (H, W, 3), uint8."""
    grey = image.mean(axis=2, keepdims=True) * 0.4 + 130
    shown = np.repeat(grey, 3, axis=2).astype(np.uint8)
    void = truth == ignore_index
    shown[void] = VOID
    shown[(truth != labels) & ~void] = WRONG
    return shown


def write_page(folder: Path, picks: list[Pick], taxonomy: Taxonomy) -> None:
    """Writes `index.html`, which shows the pictures beside it and needs nothing else."""
    key = [(each.name + (" (critical)" if each.critical else ""), each.colour) for each in taxonomy.classes]
    key += [("wrong", _hex(WRONG)), ("void, in the errors", _hex(VOID))]
    keys = "".join(f'<span style="border-color: {colour}">{html.escape(name)}</span>' for name, colour in key)
    heads = "".join(f"<span>{panel}</span>" for panel in PANELS)
    figures = "".join(
        f"<figure><figcaption><b>{html.escape(pick.item_id)}</b>: {html.escape(pick.reason)}</figcaption>"
        f'<div class="strip"><div class="heads">{heads}</div><img src="{pick.file}" alt=""></div></figure>\n'
        for pick in picks
    )
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Worst images</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>Worst images of the holdout</h1>\n"
        f'<p class="key">{keys}</p>\n{figures}</body></html>\n'
    )
    write_atomic(folder / "index.html", page)


def _lowest(
    ids: npt.NDArray[np.object_], values: npt.NDArray[np.float64], count: int, measure: str
) -> list[tuple[float, str, str]]:
    order = [index for index in np.argsort(values, kind="stable") if not np.isnan(values[index])]
    return [(float(values[index]), str(ids[index]), measure) for index in order[:count]]


def _resized(picture: Pixels, size: tuple[int, int], how: Image.Resampling) -> Pixels:
    return np.asarray(Image.fromarray(picture).resize(size, how))


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + bytes(colour).hex()
