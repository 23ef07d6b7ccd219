"""Finds the images that several annotated, and reads their masks, a bounded number at a time."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.images import ImageError, Limits, decode_mask
from pipeline.parts import opened

Labels = npt.NDArray[np.uint8]

CONSENSUS = "consensus"  # whoever is named so settled what others disagreed on, and is none of them
UNNAMED = "(not stated)"
IMAGES_HELD = 64  # whose encoded masks are in memory together


@dataclass(frozen=True)
class Copies:
    """The masks of one image.

    Attributes:
        sha256: The image.
        group: Its group; of the first item where they differ.
        items: Names of the items, sorted.
        annotators: Who drew each.
        masks: Shape (H, W) each, all of one size.
        problems: Why further items of the image could not be compared, by name.
    """

    sha256: str
    group: str
    items: tuple[str, ...]
    annotators: tuple[str, ...]
    masks: tuple[Labels, ...]
    problems: dict[str, str]


def overlapping(index: pd.DataFrame) -> pd.DataFrame:
    """The rows of images that at least two items have, consensus left out, with `annotator` filled in."""
    drawn = index[index["annotator"].ne(CONSENSUS)]
    rows = drawn[drawn.duplicated("sha256", keep=False)]
    return rows.assign(annotator=rows["annotator"].fillna(UNNAMED))


def chunks(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Whole images by `IMAGES_HELD`, in the order in which they lie in the parts, so that row groups are read once."""
    ordered = rows.sort_values(["part", "row_group", "row"], kind="stable")
    number = pd.Series(pd.factorize(ordered["sha256"])[0] // IMAGES_HELD, index=ordered.index)
    return [chunk for _, chunk in ordered.groupby(number)]


def read_copies(dataset: Path, rows: pd.DataFrame, limits: Limits) -> Iterator[Copies]:
    """Reads the masks of whole images; no image is read.

    Args:
        dataset: The dataset's folder.
        rows: Rows of `overlapping`, a chunk of them.
        limits: What is refused before it is decoded.
    """
    encoded = _encoded(dataset, rows)
    for sha256, copies in rows.groupby("sha256", sort=True):
        yield _decoded(str(sha256), copies.sort_values("item_id"), encoded, limits)


def _encoded(dataset: Path, rows: pd.DataFrame) -> dict[str, bytes]:
    masks: dict[str, bytes] = {}
    for part, in_part in rows.groupby("part", sort=True):
        with opened(dataset / str(part)) as file:
            for row_group, in_group in in_part.groupby("row_group", sort=True):
                column = file.read_row_group(int(str(row_group)), columns=["mask.bytes"]).column("mask")
                for item_id, row in zip(in_group["item_id"], in_group["row"], strict=True):
                    masks[item_id] = column[int(row)]["bytes"].as_py()
    return masks


def _decoded(sha256: str, rows: pd.DataFrame, encoded: dict[str, bytes], limits: Limits) -> Copies:
    by_size: dict[tuple[int, ...], list[tuple[str, str, Labels]]] = defaultdict(list)
    problems = {}
    for item_id, annotator in zip(rows["item_id"], rows["annotator"], strict=True):
        try:
            mask = decode_mask(encoded[item_id], limits)
        except ImageError as error:
            problems[item_id] = str(error)
            continue
        by_size[mask.shape].append((item_id, annotator, mask))
    usual = max(by_size, key=lambda size: len(by_size[size]), default=())
    for size, others in by_size.items():
        if size != usual:
            problems |= {item: f"its mask is {size[::-1]} px large, others are {usual[::-1]}" for item, _, _ in others}
    items, annotators, masks = zip(*by_size[usual], strict=True) if usual else ((), (), ())
    return Copies(sha256, str(rows["group"].iloc[0]), items, annotators, masks, problems)
