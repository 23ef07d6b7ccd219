"""What changed in the data since the champion: which images taught and measured, and the shares of the classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.dossiers.changes import ItemChanges, item_changes
from pipeline.dossiers.sides import Evidence
from pipeline.dossiers.wording import minus
from pipeline.errors import UserError
from pipeline.files import read_table
from pipeline.prepare import TILED_SPLITS
from pipeline.releasing.recorded_changes import ClassChange
from pipeline.scores import stacked
from training.metrics import ratio

SPLITS = {"train": "training", "val": "validation"}
HOLDOUT = "holdout"


@dataclass(frozen=True)
class SplitChanges:
    """The changed items of a split."""

    name: str
    items: ItemChanges


@dataclass(frozen=True)
class ShareRow:
    """A class's share of the pixels, then and now, in words."""

    name: str
    before: str
    after: str
    change: str


@dataclass(frozen=True)
class Shares:
    """Class shares of some pixels."""

    title: str
    rows: list[ShareRow]


@dataclass(frozen=True)
class DataChanges:
    """What changed in the data.

    Attributes:
        splits: The items of training, validation and holdout, as far as both versions keep their list.
        shares: Class shares of the training tiles and of the holdouts, as far as both versions keep their counts.
        notes: A sentence for each thing that a version does not keep, and for what a migration rewrote.
    """

    splits: list[SplitChanges]
    shares: list[Shares]
    notes: list[str]


def data_changes(candidate: Evidence, champion: Evidence) -> DataChanges:
    """Compares what both versions keep of their data."""
    return DataChanges(
        splits=[*_taught(candidate, champion), *_measured(candidate, champion)],
        shares=list(_shares(candidate, champion)),
        notes=[*_migrated(candidate, champion), *(note for side in (candidate, champion) for note in _lacking(side))],
    )


def _taught(candidate: Evidence, champion: Evidence) -> Iterator[SplitChanges]:
    after, before = candidate.origins.taught, champion.origins.taught
    if before is None or after is None:
        return
    for split in TILED_SPLITS:
        old, new = (_records(rows[rows["split"] == split]) for rows in (before, after))
        yield SplitChanges(SPLITS[split], item_changes(old, new))


def _records(rows: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = rows.to_dict("records")
    return found


def _measured(candidate: Evidence, champion: Evidence) -> Iterator[SplitChanges]:
    if candidate.holdout and champion.holdout:
        yield SplitChanges(HOLDOUT, item_changes(champion.holdout["items"], candidate.holdout["items"]))


def _shares(candidate: Evidence, champion: Evidence) -> Iterator[Shares]:
    for title, pixels in (("Training tiles", _tile_px), ("Holdout at registration", _holdout_px)):
        before, after = pixels(champion), pixels(candidate)
        if before is not None and after is not None:
            # The champion's classes as they are called today, and not by ids that a migration has given to others.
            same = ClassChange(champion.taxonomy, candidate.taxonomy).same[:-1, :-1]
            yield Shares(title, _share_rows(before @ same, after, candidate.taxonomy.names))


def _migrated(candidate: Evidence, champion: Evidence) -> Iterator[str]:
    if ClassChange(champion.taxonomy, candidate.taxonomy).becomes is not None:
        yield (
            "The taxonomy was migrated in between: relabelled items include those whose masks the migration alone "
            "rewrote, since a version keeps digests of its masks and not the masks."
        )


def _lacking(side: Evidence) -> Iterator[str]:
    kept = {
        "the images that taught it": side.origins.taught is not None,
        "the class counts of its training tiles": _tile_px(side) is not None,
        "the list of its holdout": side.holdout is not None,
    }
    missing = [what for what, there in kept.items() if not there]
    if missing:
        yield f"Not compared, since version {side.subject.version} does not keep it: {', '.join(missing)}."


def _tile_px(side: Evidence) -> npt.NDArray[np.int64] | None:
    """Pixels by class of the training tiles."""
    found = (side.origins.tiles or {}).get("class_px", [])
    return np.asarray(found, dtype=np.int64) if len(found) == side.taxonomy.num_classes else None


def _holdout_px(side: Evidence) -> npt.NDArray[np.int64] | None:
    """Labelled pixels by class of the holdout that a version was registered with."""
    classes = side.taxonomy.num_classes
    try:
        rows = read_table(side.side.artifacts / "evaluation" / "confusions.parquet", {"confusion"}, "register it anew")
    except UserError:
        return None  # its counts on the verdict's holdout are there, or the dossier would not have come this far
    pixels: npt.NDArray[np.int64] = stacked(rows, "confusion").reshape(-1, classes, classes).sum(axis=(0, 2))
    return pixels


def _share_rows(before: npt.NDArray[np.int64], after: npt.NDArray[np.int64], names: Sequence[str]) -> list[ShareRow]:
    old, new = ratio(before, np.full(len(names), before.sum())), ratio(after, np.full(len(names), after.sum()))
    return [
        ShareRow(name, f"{was:.2%}", f"{now:.2%}", minus(f"{100 * (now - was):+.2f}"))
        for name, was, now in zip(names, old, new, strict=True)
    ]
