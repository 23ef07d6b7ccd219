"""What a model did on each holdout image, as counts that can be added up over any of the images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import UserError
from pipeline.measure import BOUNDARY
from pipeline.scores import confusions, stacked

BINS = ("px", "confidence", "correct")
NO_SEQUENCE = -1
SHOWN = 5


@dataclass(frozen=True)
class Counts:
    """Counts of N images with C classes and B bins of confidence, in the order of `item_ids`.

    Attributes:
        item_ids: The images; no two alike.
        groups: Shape (N,), str: the scene or sequence that an image is of.
        sequence: Shape (N,), int64: its place there; -1 where unknown.
        confusion: Shape (N, C, C), int64: pixels, truth in rows, void left out.
        boundary: Shape (N, 4, C), int64: boundary pixels in the order of `pipeline.measure.BOUNDARY`.
        bins: Shape (N, 3, B), float64: pixels, summed confidence, correct pixels by bin of confidence.
        slices: By column, shape (N,): an image's value; None where it has none.
    """

    item_ids: list[str]
    groups: npt.NDArray[np.str_]
    sequence: npt.NDArray[np.int64]
    confusion: npt.NDArray[np.int64]
    boundary: npt.NDArray[np.int64]
    bins: npt.NDArray[np.float64]
    slices: dict[str, npt.NDArray[np.object_]]

    def take(self, which: npt.ArrayLike) -> "Counts":
        """Some of the images.

        Args:
            which: Shape (N,) bool, or the places of the wanted images in the wanted order.
        """
        chosen = np.asarray(which)
        places = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen.astype(np.intp)
        return Counts(
            [self.item_ids[place] for place in places],
            self.groups[places],
            self.sequence[places],
            self.confusion[places],
            self.boundary[places],
            self.bins[places],
            {name: values[places] for name, values in self.slices.items()},
        )


def read_counts(rows: pd.DataFrame, num_classes: int, slices: Sequence[str]) -> Counts:
    """The counts of an evaluation.

    Args:
        rows: The content of `confusions.parquet`.
        num_classes: Classes C that the counts must be of.
        slices: Slice columns to keep.

    Raises:
        UserError: There is no row, a column is missing, an image comes twice, or the counts are of other classes.
    """
    _check(rows, num_classes, slices)
    boundary = np.stack([stacked(rows, f"boundary_{name}") for name in BOUNDARY], axis=1)
    bins = np.stack([stacked(rows, f"bin_{name}") for name in BINS], axis=1)
    return Counts(
        item_ids=rows["item_id"].astype(str).tolist(),
        groups=rows["group"].to_numpy(dtype=np.str_),
        sequence=pd.to_numeric(rows["sequence_index"]).fillna(NO_SEQUENCE).to_numpy(np.int64),
        confusion=confusions(rows, num_classes).astype(np.int64),
        boundary=boundary.astype(np.int64),
        bins=bins.astype(np.float64),
        slices={name: _values(rows[name]) for name in slices},
    )


def paired(one: Counts, other: Counts) -> tuple[Counts, Counts]:
    """Both on the same images, in the order of `one`.

    Raises:
        UserError: One lacks images that the other has.
    """
    places = {item: place for place, item in enumerate(other.item_ids)}
    lacking = {
        "second": [item for item in one.item_ids if item not in places],
        "first": sorted(places.keys() - set(one.item_ids)),
    }
    for which, items in lacking.items():
        if items:
            raise UserError(
                f"Two models can only be compared on the same images: the {which} model's counts lack {len(items)} of "
                f"them, such as {items[:SHOWN]}. Measure both on the same holdout."
            )
    return one, other.take([places[item] for item in one.item_ids])


def _check(rows: pd.DataFrame, num_classes: int, slices: Sequence[str]) -> None:
    columns = {"item_id", "group", "sequence_index", "confusion", *slices}
    columns |= {f"boundary_{name}" for name in BOUNDARY} | {f"bin_{name}" for name in BINS}
    missing = sorted(columns - set(rows.columns))
    if missing or rows.empty:
        raise UserError(f"The evaluation has {len(rows)} images and lacks the columns {missing}: evaluate anew.")
    if any(np.min(each) < 0 for column in ("confusion", "bin_px") for each in rows[column]):
        raise UserError("The evaluation holds negative counts, which no images give: it is damaged. Evaluate anew.")
    twice = rows["item_id"][rows["item_id"].duplicated()].tolist()
    if twice:
        raise UserError(f"The evaluation counts {len(twice)} images twice, such as {twice[:SHOWN]}: evaluate anew.")
    for column, length in {"confusion": num_classes**2, "boundary_true": num_classes}.items():
        found = sorted({len(each) for each in rows[column]})
        if found != [length]:
            raise UserError(
                f"The evaluation's column '{column}' holds {found} numbers an image, {num_classes} classes make "
                f"{length}: it is of another taxonomy. Evaluate anew."
            )


def _values(column: "pd.Series[Any]") -> npt.NDArray[np.object_]:
    return column.astype(object).where(column.notna(), None).to_numpy(dtype=object)
