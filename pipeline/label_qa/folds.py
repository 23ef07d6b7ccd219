"""Cuts the items that teach into folds, so that each can be judged by a network that never saw it."""

import hashlib

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import UserError
from pipeline.prepare import TILED_SPLITS
from pipeline.splits import HOLDOUT

FEW_GROUPS = (
    10  # of a split, below which its sequences are cut instead: whole ones would leave too little to learn from
)


def assign_folds(items: pd.DataFrame, folds: int) -> tuple[npt.NDArray[np.int64], str]:
    """A fold for each item: whole groups, or stretches of consecutive frames where groups are few.

    Splits are cut apart from each other, so that every fold leaves something to learn from and to stop by.

    Args:
        items: Accepted items of the splits that teach: item_id, group, sequence_index, split.
        folds: How many.

    Returns:
        Shape (N,), int64, in [0, folds); and `groups` or `frames`, which says what was kept together.

    Raises:
        UserError: A split has too few items to be cut.
    """
    counts = items.groupby("split")["group"].nunique().reindex(TILED_SPLITS, fill_value=0)
    by_groups = bool((counts >= max(FEW_GROUPS, folds)).all())
    fold = np.zeros(len(items), np.int64)
    for split in TILED_SPLITS:
        inside = np.flatnonzero((items["split"] == split).to_numpy())
        if len(inside) < folds:
            raise UserError(
                f"Split '{split}' has {len(inside)} accepted items, too few for {folds} folds. Ingest more, or lower "
                "label_folds.folds."
            )
        rows = items.iloc[inside]
        fold[inside] = _by_groups(rows["group"], folds) if by_groups else _by_frames(rows, folds)
    return fold, "groups" if by_groups else "frames"


def judged_split(items: pd.DataFrame, fold: npt.NDArray[np.int64], number: int) -> pd.Series:
    """The splits of one fold's training: its own items are held out, the others keep their split."""
    return items["split"].where(fold != number, HOLDOUT)


def _by_groups(groups: pd.Series, folds: int) -> npt.NDArray[np.int64]:
    """Largest groups first, each to the smallest fold; the order of equals follows from their names alone."""
    sizes = groups.value_counts()
    order = sorted(sizes.index, key=lambda name: (-sizes[name], hashlib.sha256(str(name).encode()).digest()))
    filled, placed = np.zeros(folds, np.int64), {}
    for name in order:
        placed[name] = int(filled.argmin())
        filled[placed[name]] += sizes[name]
    return groups.map(placed).to_numpy(np.int64)


def _by_frames(rows: pd.DataFrame, folds: int) -> npt.NDArray[np.int64]:
    """The first frames of every sequence, those after them, and so on: equally many in each fold."""
    order = rows.assign(place=np.arange(len(rows))).sort_values(
        ["group", "sequence_index", "item_id"], na_position="last", kind="stable"
    )
    within = order.groupby("group").cumcount().to_numpy()
    length = order.groupby("group")["item_id"].transform("size").to_numpy()
    fold = np.empty(len(rows), np.int64)
    # By the share of its sequence that lies before a frame, so that short ones are spread over the folds too.
    placed = order["place"].to_numpy()[np.argsort((within + 0.5) / length, kind="stable")]
    fold[placed] = np.arange(len(rows)) * folds // len(rows)
    return fold
