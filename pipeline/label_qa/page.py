"""Lays the suspicious masks out as one HTML page: each with its reason, its image, and its mask over it."""

import html
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pipeline.errors import UserError
from pipeline.files import write_atomic
from pipeline.images import encode_image
from pipeline.label_qa.suspicion import Suspicion
from pipeline.parts import read_items
from pipeline.show import Painting, file_names, pictures
from pipeline.taxonomy import Taxonomy

BOX_COLOUR = (255, 0, 255)  # no class of a photograph looks like it
BOX_PX = 2
STYLE = (
    ":root { color-scheme: light dark; } body { font-family: sans-serif; margin: 2em; } img { max-width: 48%; } "
    "ul { padding: 0; } li { display: inline-block; margin-right: 1em; } "
    "li span { display: inline-block; width: 1em; height: 1em; margin-right: .3em; } "
    "figure { margin: 0 0 2em; } figcaption { margin-bottom: .4em; }"
)


def write_page(
    folder: Path, dataset: Path, index: pd.DataFrame, found: Sequence[Suspicion], painting: Painting, taxonomy: Taxonomy
) -> None:
    """Writes `index.html` and its pictures.

    Args:
        folder: Where to.
        dataset: The dataset's folder.
        index: Rows of `read_index`.
        found: The suspicions, in the order of the page.
        painting: How pictures are made.
        taxonomy: The classes, for the legend.
    """
    names = file_names(index["item_id"])
    shown = {each.item_id: each for each in found}
    for row, image, mask in read_items(dataset, index[index["item_id"].isin(shown)]):
        try:
            made = pictures(row["item_id"], image, mask, painting)
        except UserError:
            continue  # it is suspected without being looked into; `segloop validate` names it
        for kind, picture in made.items():
            drawn = _boxed(picture, shown[row["item_id"]])
            write_atomic(folder / f"{names[row['item_id']]}_{kind}.png", encode_image(drawn))
    figures = "".join(_figure(number, each, names[each.item_id]) for number, each in enumerate(found, start=1))
    none = "" if found else "<p>None.</p>"
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Suspicious masks</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>Suspicious masks, worst first</h1>\n"
        f"{_legend(taxonomy)}{none}{figures}</body></html>\n"
    )
    write_atomic(folder / "index.html", page)


def _legend(taxonomy: Taxonomy) -> str:
    classes = "".join(
        f'<li><span style="background: {each.colour}"></span>{html.escape(each.name)}</li>' for each in taxonomy.classes
    )
    return f"<ul>{classes}</ul>\n"


def _boxed(picture: np.ndarray, suspicion: Suspicion) -> np.ndarray:
    if suspicion.box is None:
        return picture
    left, top, right, bottom = suspicion.box
    corners = (left - BOX_PX, top - BOX_PX), (right + BOX_PX - 1, bottom + BOX_PX - 1)
    return np.asarray(cv2.rectangle(picture.copy(), *corners, BOX_COLOUR, BOX_PX), np.uint8)


def _figure(number: int, suspicion: Suspicion, name: str) -> str:
    of_class = f", class {html.escape(suspicion.class_name)}" if suspicion.class_name else ""
    return (
        f"<figure><figcaption>{number}. <b>{html.escape(suspicion.item_id)}</b>: {suspicion.kind.value}{of_class}, "
        f"score {suspicion.score:.1f}. {html.escape(suspicion.why)}</figcaption>"
        f'<img src="{html.escape(name)}_image.png" alt="image"> '
        f'<img src="{html.escape(name)}_overlay.png" alt="image with its mask"></figure>\n'
    )
