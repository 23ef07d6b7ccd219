"""What a release changes in the holdout, on which verdicts rest."""

from typing import TYPE_CHECKING

from pipeline.releasing.comparison import Items
from pipeline.splits import HOLDOUT

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.releasing.reader import Release


def held_out_changes(old: "Release", new: "Release", items: Items) -> dict[str, int]:
    """Counts what became of the held-out items; one that moved in counts as added, one that moved out as removed.

    Args:
        old: The release before.
        new: The release after.
        items: What became of all items.
    """
    before, after = _held_out(old.index), _held_out(new.index)
    both = before & after
    return {
        "added": len(after - before),
        "removed": len(before - after),
        "relabelled": len(both.intersection(items.relabelled)),
        "replaced": len(both.intersection(items.replaced)),
        "migrated": len(both.intersection(items.migrated)),
    }


def _held_out(index: "pd.DataFrame") -> set[str]:
    return set(index.loc[index["split"] == HOLDOUT, "item_id"]) if len(index) else set()
