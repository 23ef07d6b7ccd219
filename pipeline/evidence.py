"""The columns that the checks judge, derived from the catalogue: per item, per accepted item, per class."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.checks import ValidateParams
from pipeline.look_alikes import look_alikes
from pipeline.splits import HOLDOUT, SPLITS, Move, resolve
from pipeline.taxonomy import Taxonomy
from pipeline.thumbnails import Reader

PX_UNIT = 10_000
SELECTED = "selected"
# The annotator of a mask that several annotators' masks of one image were merged into.
CONSENSUS = "consensus"
# Which copy of a duplicate stays: a holdout must not shrink because someone added its image to the training data.
KEEP_ORDER = {HOLDOUT: 0, "val": 1, "train": 2}


def item_evidence(catalog: pd.DataFrame, splits: Mapping[str, set[str]], num_classes: int) -> pd.DataFrame:
    """Adds the columns that the item checks judge.

    Args:
        catalog: The catalogue.
        splits: The ledger: splits by group.
        num_classes: Classes of the taxonomy.

    Returns:
        The catalogue, sorted by item, with split, image_size, mask_size, labelled_px, classes_present, void_share,
        islands_per_10k_px, selected_in_holdout, duplicate_of, conflicts_with. What a graver fault of the same row
        explains is null: an empty mask is not also one of too few classes.
    """
    items = catalog
    if not catalog["item_id"].is_monotonic_increasing:
        items = catalog.sort_values("item_id").reset_index(drop=True)
    class_px, islands = stack(items["class_px"], num_classes), stack(items["islands"], num_classes)
    readable = items["mask_width"].notna()
    labelled = pd.Series(class_px.sum(axis=1), dtype=np.float64).where(readable)
    some = labelled.where(labelled > 0)
    pairs = zip(items["group"], items["source_split"], strict=True)
    split = pd.Series([resolve(splits.get(group, set()), came_with) for group, came_with in pairs], dtype=object)
    derived: dict[str, pd.Series] = {
        "split": split,
        "selected_in_holdout": items["sampling"].where((split == HOLDOUT) & (items["sampling"] == SELECTED)),
        "image_size": _size(items["width"], items["height"]),
        "mask_size": _size(items["mask_width"], items["mask_height"]),
        "unknown_values": items["unknown_values"].replace("", None),
        "labelled_px": labelled,
        "classes_present": pd.Series((class_px > 0).sum(axis=1), dtype=np.float64).where(some.notna()),
        "void_share": (items["void_px"] / (items["mask_width"] * items["mask_height"])).where(some.notna()),
        "islands_per_10k_px": islands.sum(axis=1) * PX_UNIT / some,
    }
    return _add_copies(items.assign(**derived))


def leak_evidence(accepted: pd.DataFrame, former: pd.DataFrame, read: Reader, params: ValidateParams) -> pd.DataFrame:
    """Adds the columns that the leak checks judge.

    Args:
        accepted: Rows of `item_evidence` that passed every item check.
        former: Images that the dataset held once, with `split`.
        read: Reads thumbnails.
        params: How close images must be to be called twins.

    Returns:
        item_id, group and split of the rows, with the columns of `look_alikes` and other_splits (where else the item's
        group lies, null when nowhere).
    """
    rows = accepted[["item_id", "group", "split"]].reset_index(drop=True)
    of_group = rows.groupby("group")["split"].agg(set)
    words = {group: {side: ", ".join(sorted(sides - {side})) or None for side in sides}
             for group, sides in of_group.items()}  # fmt: skip
    others = [words[group][split] for group, split in zip(rows["group"], rows["split"], strict=True)]
    twins = look_alikes(accepted.reset_index(drop=True), former, read, params)
    return pd.concat([rows.assign(other_splits=pd.Series(others, dtype=object)), twins], axis=1)


def move_evidence(moves: Sequence[Move], accepted: pd.DataFrame) -> pd.DataFrame:
    """Says what each recorded move into or out of the holdout costs.

    Args:
        moves: The ledger's.
        accepted: Rows of `item_evidence` that passed every item check.

    Returns:
        A row per move: key, group, before, after, date, who, note, and cost, null where the holdout is not concerned.
    """
    sizes = accepted["group"].value_counts()
    rows: list[dict[str, object]] = []
    for number, move in enumerate(moves, start=1):
        images = f"its {sizes.get(move.group, 0)} images"
        seen = f"versions trained before that day may have learnt {images}: their scores on the holdout flatter them"
        gone = f"scores from before that day count {images}, and versions trained since may have learnt them"
        entered, left = move.after == HOLDOUT, HOLDOUT in move.before and move.after != HOLDOUT
        cost = seen if entered and move.before != (HOLDOUT,) else gone if left else None
        told = move._asdict() | {"before": " and ".join(move.before) or "nowhere"}
        rows.append({"key": f"move {number}", **told, "cost": cost})
    return pd.DataFrame(rows, columns=["key", *Move._fields, "cost"], dtype=object)


def class_evidence(accepted: pd.DataFrame, taxonomy: Taxonomy, params: ValidateParams) -> pd.DataFrame:
    """Counts classes by batch and by split.

    Args:
        accepted: Rows of `item_evidence` that passed every item check.
        taxonomy: The classes.
        params: From which size on a batch, and a change of share, counts.

    Returns:
        A row per batch and class and a row per split and class: key, place (the batch or the split), class_name;
        for batches share, dataset_share, share_factor (1 where the change is too small to count); for splits images and
        critical_images (null for other classes).
    """
    px = stack(accepted["class_px"], taxonomy.num_classes)
    rows: list[dict[str, object]] = []
    for batch, places in sorted(accepted.groupby("batch").indices.items()):
        if len(places) >= params.batch_min_items:
            rows += _batch_rows(str(batch), px[places].sum(axis=0), px.sum(axis=0), taxonomy, params)
    for split in SPLITS:
        images = (px[(accepted["split"] == split).to_numpy(dtype=bool)] > 0).sum(axis=0)
        rows += [
            {
                "key": f"{split}: {each.name}", "place": split, "class_name": each.name,
                "images": images[each.id], "critical_images": images[each.id] if each.critical else np.nan,
            }
            for each in taxonomy.classes
        ]  # fmt: skip
    columns = ["key", "place", "class_name", "share", "dataset_share", "share_factor", "images", "critical_images"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[3:], np.float64))


def stack(lists: pd.Series, length: int) -> np.ndarray:
    """A column of lists, of Arrow's or Python's, as a matrix; null is zeros. Shape: (N, length), int64."""
    if isinstance(lists.dtype, pd.ArrowDtype):
        return _stack_arrow(pa.chunked_array(lists.array.__arrow_array__()), length)
    rows = [np.zeros(length, np.int64) if each is None else np.asarray(each, np.int64) for each in lists]
    return np.stack(rows) if rows else np.zeros((0, length), np.int64)


def _stack_arrow(lists: pa.ChunkedArray, length: int) -> np.ndarray:
    """The same without an object for each list."""
    matrix = np.zeros((len(lists), length), np.int64)
    there = lists.is_valid().to_numpy()
    values = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in lists.chunks]
    if values:
        matrix[there] = np.concatenate(values).reshape(-1, length)
    return matrix


def _size(width: pd.Series, height: pd.Series) -> pd.Series:
    # Many images have one size: the words of each exist once.
    words: dict[tuple[float, float], str] = {}
    sizes = [
        None if pd.isna(w) or pd.isna(h) else words.setdefault((w, h), f"{w:g}x{h:g}")
        for w, h in zip(width, height, strict=True)
    ]
    return pd.Series(sizes, dtype=object)


def _add_copies(items: pd.DataFrame) -> pd.DataFrame:
    """Names, for items with equal images, what they copy (equal masks) or contradict (different masks).

    The copies in the split that `KEEP_ORDER` names first are judged as if alone, so that a copy added to the training
    data takes nothing from the holdout. Where those contradict one another a consensus among them decides; without one
    nobody knows which is right: all go.
    """
    duplicate_of: dict[str, str] = {}
    conflicts_with: dict[str, str] = {}
    order = items["split"].map(KEEP_ORDER).where(items["selected_in_holdout"].isna()).fillna(len(KEEP_ORDER))
    merged = items["annotator"].eq(CONSENSUS).fillna(value=False).astype(bool)
    ranked = items[["item_id", "sha256", "mask_sha256"]].assign(order=order, single=~merged)
    repeated = ranked[items.duplicated("sha256", keep=False)]
    for _, copies in repeated.sort_values(["order", "single", "item_id"]).groupby("sha256"):
        names, masks = copies["item_id"].tolist(), copies["mask_sha256"].tolist()
        first = copies[copies["order"] == copies["order"].iloc[0]]
        judges = first[~first["single"]] if not first["single"].all() else first
        if len(set(judges["mask_sha256"])) > 1:
            conflicts_with |= {name: ", ".join(sorted({*names} - {name})) for name in names}
            continue
        for name, mask in zip(names[1:], masks[1:], strict=True):
            (duplicate_of if mask == masks[0] else conflicts_with)[name] = names[0]
    named = items["item_id"]
    return items.assign(
        duplicate_of=pd.Series([duplicate_of.get(name) for name in named], dtype=object),
        conflicts_with=pd.Series([conflicts_with.get(name) for name in named], dtype=object),
    )


def _batch_rows(
    batch: str,
    px: np.ndarray,
    dataset_px: np.ndarray,
    taxonomy: Taxonomy,
    params: ValidateParams,
) -> list[dict[str, object]]:
    share, of_dataset = px / px.sum(), dataset_px / dataset_px.sum()
    # One pixel stands for none, so that the factor of an absent class is a number.
    shown, expected = np.maximum(px, 1) / px.sum(), np.maximum(dataset_px, 1) / dataset_px.sum()
    factor = np.maximum(shown / expected, expected / shown)
    counted = np.where(np.abs(share - of_dataset) >= params.batch_share_change, factor, 1.0)
    return [
        {
            "key": f"{batch}: {each.name}", "place": batch, "class_name": each.name,
            "share": share[each.id], "dataset_share": of_dataset[each.id], "share_factor": counted[each.id],
        }
        for each in taxonomy.classes
    ]  # fmt: skip
