"""Items are cut into folds so that what is judged was not learnt from, and each fold leaves something to learn."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.label_qa.folds import assign_folds, judged_split


def items(lengths: dict[str, list[int]], *, indexed: bool = True) -> pd.DataFrame:
    """Items in groups of these lengths, by split, in an order that is not theirs."""
    rows = [
        {"item_id": f"{split}-{group}-{frame:03}", "group": f"{split}-{group}", "sequence_index": frame, "split": split}
        for split, sizes in lengths.items()
        for group, size in enumerate(sizes)
        for frame in range(size)
    ]
    table = pd.DataFrame(rows).sample(frac=1, random_state=0).reset_index(drop=True)
    return table.assign(sequence_index=(table["sequence_index"] if indexed else pd.Series(pd.NA)).astype("Int64"))


MANY = {"train": [3] * 14, "val": [2] * 10}
FEW = {"train": [12, 9, 6], "val": [7]}


def test_whole_groups_are_kept_together_where_there_are_enough() -> None:
    """No group is in two folds."""
    table = items(MANY)
    fold, by = assign_folds(table, 3)
    assert by == "groups"
    assert pd.Series(fold).groupby(table["group"]).nunique().tolist() == [1] * 24


def test_folds_are_about_equally_large_in_each_split() -> None:
    """Each split is cut by itself, and their sizes differ by a small group at most."""
    table = items({"train": [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6], "val": [2] * 10})
    fold, _ = assign_folds(table, 3)
    sizes = pd.crosstab(table["split"], fold)
    assert (sizes.max(axis=1) - sizes.min(axis=1) <= 2).all()
    assert (sizes > 0).all(axis=None)


@pytest.mark.parametrize("lengths", [FEW, {"train": [3] * 14, "val": [6] * 9}])
def test_few_groups_are_cut_into_stretches(lengths: dict[str, list[int]]) -> None:
    """Where a split has few groups, each fold takes consecutive frames of each."""
    table = items(lengths)
    fold, by = assign_folds(table, 3)
    assert by == "frames"
    ordered = table.assign(fold=fold).sort_values(["group", "sequence_index"])
    changes = ordered.groupby("group")["fold"].agg(lambda of: int((of.diff().fillna(0) != 0).sum()))
    assert (changes <= 2).all()
    assert (pd.crosstab(table["split"], fold) > 0).all(axis=None)


@pytest.mark.parametrize("length", [1, 2])
def test_short_sequences_leave_no_fold_empty(length: int) -> None:
    """A few groups of a frame or two are spread over the folds, or a fold could not be trained."""
    table = items({"train": [length] * 12, "val": [length] * 6})
    fold, _ = assign_folds(table, 3)
    assert (pd.crosstab(table["split"], fold).reindex(columns=range(3), fill_value=0) > 0).all(axis=None)


def test_without_an_index_the_names_are_the_order() -> None:
    """Frames that have no place in their sequence are taken in the order of their names."""
    table = items(FEW, indexed=False)
    fold, _ = assign_folds(table, 3)
    ordered = table.assign(fold=fold).sort_values("item_id")
    assert ordered.groupby("group")["fold"].apply(lambda of: of.is_monotonic_increasing).all()


@pytest.mark.parametrize("lengths", [MANY, FEW])
def test_the_order_of_the_items_does_not_matter(lengths: dict[str, list[int]]) -> None:
    """The same items give the same folds, however they are listed."""
    table = items(lengths)
    turned = table.iloc[::-1].reset_index(drop=True)
    by_name = [dict(zip(each["item_id"], assign_folds(each, 3)[0], strict=True)) for each in (table, turned)]
    assert by_name[0] == by_name[1]


@pytest.mark.parametrize(("lengths", "split"), [({"train": [9], "val": [2]}, "val"), ({"val": [9]}, "train")])
def test_too_few_items_are_an_error(lengths: dict[str, list[int]], split: str) -> None:
    """It names the split, how many there are, and how many folds were wanted."""
    with pytest.raises(UserError, match=rf"'{split}' has \d accepted items, too few for 3 folds"):
        assign_folds(items(lengths), 3)


def test_too_few_items_name_the_key_to_lower() -> None:
    """The remedy is the key of params.yaml as it is called there."""
    with pytest.raises(UserError, match=r"label_folds\.folds"):
        assign_folds(items({"train": [9], "val": [2]}), 3)


def test_a_folds_training_holds_out_its_own_items_only() -> None:
    """They become the holdout; the others keep their split."""
    table = items(MANY)
    fold, _ = assign_folds(table, 3)
    split = judged_split(table, fold, 1)
    assert (split[fold == 1] == "test").all()
    assert split[fold != 1].equals(table["split"][fold != 1])


@given(
    train=st.lists(st.integers(3, 8), min_size=1, max_size=14),
    val=st.lists(st.integers(3, 8), min_size=1, max_size=14),
    folds=st.integers(2, 3),
)
def test_every_fold_can_be_trained(train: list[int], val: list[int], folds: int) -> None:
    """Of each split each fold holds items out and leaves some, whatever the groups are, if none is short."""
    table = items({"train": train, "val": val})
    fold, by = assign_folds(table, folds)
    sizes = pd.crosstab(table["split"], fold)
    assert sizes.shape == (2, folds)
    assert (sizes > 0).all(axis=None)
    together = pd.Series(fold).groupby(table["group"]).nunique()
    assert by == "frames" or np.all(together == 1)
