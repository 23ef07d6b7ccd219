"""What is measured of each annotated image to judge its mask, in several processes."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.command import in_processes, progress
from pipeline.files import sha256_bytes
from pipeline.images import ImageError, Limits, decode_image, decode_mask
from pipeline.label_qa.alignment import Alignment, align
from pipeline.label_qa.disagreement import Opinion, Regions, disputed_regions, opinion
from pipeline.label_qa.layout import layout
from pipeline.label_qa.objects import Objects, objects_of
from pipeline.label_qa.outlines import Drawing, drawing
from pipeline.parts import read_items
from pipeline.taxonomy import Taxonomy

MODEL = "model"  # column of the index: the folder of the graph that judges the item, empty for none
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Seen:
    """What was measured of one mask beside its image.

    Attributes:
        classes: How many classes the mask holds.
        alignment: How its outlines agree with the image's edges; None where it has hardly an outline.
        drawing: How it was drawn.
        layout: Its classes on a coarse grid.
        objects: Its objects.
        regions: Where a model contradicts it; None without a model.
    """

    classes: int
    alignment: Alignment | None
    drawing: Drawing
    layout: Pixels
    objects: Objects
    regions: Regions | None


@dataclass(frozen=True)
class Look:
    """One item as the check sees it.

    Attributes:
        item_id: Its name.
        revision: Its revision.
        group: Its group.
        place: Its place in the group's sequence; -1 where it is not known.
        image: Digest of the image.
        mask: Digest of the mask.
        annotator: Who drew the mask; None where it is not known.
        seen: What was measured; None where image and mask cannot be compared.
        problem: Why not.
    """

    item_id: str
    revision: int
    group: str
    place: int
    image: str
    mask: str
    annotator: str | None
    seen: Seen | None
    problem: str | None = None


@dataclass(frozen=True)
class Looking:
    """What the measurements depend on besides the items.

    Attributes:
        dataset: The dataset's folder.
        num_classes: C.
        ignore_index: Void.
        limits: What is refused before it is decoded.
    """

    dataset: Path
    num_classes: int
    ignore_index: int
    limits: Limits

    @classmethod
    def at(cls, dataset: Path, taxonomy: Taxonomy, limits: Limits) -> "Looking":
        """At a dataset of these classes."""
        return cls(dataset, taxonomy.num_classes, taxonomy.ignore_index, limits)


def see(
    image: Pixels, mask: Pixels, looking: Looking, neighbours: Sequence[Pixels], said: Opinion | None = None
) -> Seen:
    """Measures one annotated image.

    Args:
        image: Shape (H, W, 3), RGB.
        mask: Shape (H, W).
        looking: What it depends on.
        neighbours: Masks of the frames before and after.
        said: What a model says of it; None without a model.
    """
    return Seen(
        classes=len(np.setdiff1d(np.unique(mask), [looking.ignore_index])),
        alignment=align(image, mask, looking.ignore_index),
        drawing=drawing(mask, looking.ignore_index),
        layout=layout(mask),
        objects=objects_of(image, mask, looking.num_classes, neighbours),
        regions=None if said is None else disputed_regions(mask, said, looking.num_classes),
    )


def looks(index: pd.DataFrame, looking: Looking, workers: int) -> list[Look]:
    """Measures the items of an index, a row group at a time.

    Args:
        index: Rows of `read_index`, with the column `MODEL`.
        looking: What it depends on.
        workers: Processes; 0 takes every core.

    Returns:
        A look an item, sorted by name.
    """
    groups = [rows for _, rows in index.groupby(["part", "row_group"], sort=True)]
    found: list[Look] = []
    done = in_processes(_look_at_group, groups, [looking] * len(groups), workers=workers, section="labels")
    for some in progress(done, total=len(groups), label="masks"):
        found.extend(some)
    return sorted(found, key=lambda each: each.item_id)


@lru_cache(maxsize=1)
def _segmenter(folder: str) -> Any:
    from pipeline.inference import Segmenter

    return Segmenter(Path(folder), threads=1)  # the processes share the cores


def _look_at_group(rows: pd.DataFrame, looking: Looking) -> list[Look]:
    import cv2

    cv2.setNumThreads(1)
    ordered = rows.sort_values([MODEL, "row"], kind="stable")
    neighbours = _Neighbours(rows, looking)
    return [look for _, part in ordered.groupby(MODEL, sort=True) for look in _each(part, looking, neighbours)]


def _each(rows: pd.DataFrame, looking: Looking, neighbours: "_Neighbours") -> Iterator[Look]:
    for row, image, mask in read_items(looking.dataset, rows):
        place = -1 if pd.isna(row["sequence_index"]) else int(row["sequence_index"])
        annotator = row["annotator"] if isinstance(row["annotator"], str) else None
        facts = (
            row["item_id"],
            int(row["revision"]),
            row["group"],
            place,
            row["sha256"],
            mask_digest(mask, looking.limits),
            annotator,
        )
        try:
            pixels, labels = decode_image(image, looking.limits), decode_mask(mask, looking.limits)
        except ImageError as error:
            yield Look(*facts, seen=None, problem=str(error))
            continue
        if pixels.shape[:2] != labels.shape:
            sizes = f"the image is {pixels.shape[1::-1]}, the mask {labels.shape[::-1]} pixels large"
            yield Look(*facts, seen=None, problem=sizes)
            continue
        said = opinion(_segmenter(row[MODEL]), pixels, labels) if row[MODEL] else None
        yield Look(*facts, seen=see(pixels, labels, looking, neighbours.of(row["item_id"]), said))


def mask_digest(mask: bytes, limits: Limits) -> str:
    """The digest of a mask's pixels, which does not depend on how they were packed; of its bytes where it has none."""
    try:
        labels = decode_mask(mask, limits)
    except ImageError:
        return sha256_bytes(mask)
    return sha256_bytes(str(labels.shape).encode() + labels.tobytes())


class _Neighbours:
    """The masks of the frames before and after, as far as they lie in the same row group: others cost a read each."""

    def __init__(self, rows: pd.DataFrame, looking: Looking) -> None:
        self._limits = looking.limits
        placed = rows[rows["sequence_index"].notna()]
        self._masks = {row["item_id"]: mask for row, _, mask in read_items(looking.dataset, placed)}
        self._beside: dict[str, list[str]] = {}
        for _, frames in placed.sort_values("sequence_index", kind="stable").groupby("group"):
            names = frames["item_id"].tolist()
            for before, after in pairwise(names):
                self._beside.setdefault(before, []).append(after)
                self._beside.setdefault(after, []).append(before)

    def of(self, item_id: str) -> list[Pixels]:
        found = []
        for name in self._beside.get(item_id, []):
            with suppress(ImageError):  # it is told of in its own place
                found.append(decode_mask(self._masks[name], self._limits))
        return found
