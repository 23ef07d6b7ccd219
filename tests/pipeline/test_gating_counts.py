"""Per-image counts are read whole, chosen from, and paired only with counts of the same images."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from gate_counts import CLASSES, evaluation

from pipeline.errors import UserError
from pipeline.gating.counts import Counts, paired, read_counts


@pytest.fixture
def rows() -> pd.DataFrame:
    """An evaluation of seven images."""
    return evaluation(np.random.default_rng(1), 7, per_group=2)


def read(rows: pd.DataFrame) -> Counts:
    """Its counts with the slice column."""
    return read_counts(rows, CLASSES, ["camera"])


def test_every_column_lands_in_its_place(rows: pd.DataFrame) -> None:
    """The arrays hold the rows' numbers in the stated order of axes."""
    found, row = read(rows), rows.iloc[4]
    assert (found.item_ids[4], found.groups[4], found.sequence[4]) == ("item-004", "scene-002", 0)
    np.testing.assert_array_equal(found.confusion[4].ravel(), row["confusion"])
    np.testing.assert_array_equal(found.boundary[4, 1], row["boundary_predicted"])
    np.testing.assert_array_equal(found.boundary[4, 2], row["boundary_matched_true"])
    np.testing.assert_array_equal(found.bins[4, 1], row["bin_confidence"])
    assert found.slices["camera"].tolist() == ["left", "right", None, "left", "right", None, "left"]


def test_an_evaluation_read_from_parquet_is_the_same(rows: pd.DataFrame, tmp_path: Any) -> None:
    """What Parquet makes of missing values and lists changes nothing."""
    rows["sequence_index"] = rows["sequence_index"].astype("Int64").mask(rows.index == 3)
    rows.to_parquet(tmp_path / "confusions.parquet")
    found = read(pd.read_parquet(tmp_path / "confusions.parquet"))
    assert found.sequence.tolist() == [0, 1, 0, -1, 0, 1, 0]
    assert found.slices["camera"][2] is None
    np.testing.assert_array_equal(found.confusion, read(rows).confusion)


def test_without_any_sequence_all_places_are_unknown(rows: pd.DataFrame) -> None:
    """A column of nothing but None is read, too."""
    rows["sequence_index"] = None
    assert read(rows).sequence.tolist() == [-1] * 7


@pytest.mark.parametrize("which", [[5, 1], [False, True, False, False, False, True, False]])
def test_some_images_are_taken_by_place_or_by_mask(rows: pd.DataFrame, which: list[int]) -> None:
    """Every array keeps the chosen images: places in the order given, a mask in the order of the images."""
    part = read(rows).take(which)
    assert sorted(part.item_ids) == ["item-001", "item-005"]
    for place, item in enumerate(part.item_ids):
        np.testing.assert_array_equal(part.confusion[place].ravel(), rows["confusion"][int(item[-1])])
        assert part.slices["camera"][place] == rows["camera"][int(item[-1])]
    assert len(part.boundary) == len(part.bins) == len(part.groups) == len(part.sequence) == 2


def test_pairs_have_the_same_images_in_the_same_order(rows: pd.DataFrame) -> None:
    """The second follows the order of the first, with its own counts."""
    other = read(rows).take([6, 0, 3, 1, 2, 5, 4])
    one, two = paired(read(rows), other)
    assert one.item_ids == two.item_ids == read(rows).item_ids
    np.testing.assert_array_equal(one.confusion, two.confusion)


@pytest.mark.parametrize(("kept", "named"), [(([0, 1, 2], [0, 1]), "second"), (([0, 1], [0, 1, 2]), "first")])
def test_an_image_that_one_model_lacks_is_named(
    rows: pd.DataFrame, kept: tuple[list[int], list[int]], named: str
) -> None:
    """Models are never compared on different images."""
    one, other = (read(rows).take(places) for places in kept)
    with pytest.raises(UserError, match=rf"{named} model's counts lack 1 .*item-002"):
        paired(one, other)


def test_counts_of_another_taxonomy_are_refused(rows: pd.DataFrame) -> None:
    """Matrices of four classes are none of three."""
    with pytest.raises(UserError, match=r"'confusion' holds \[16\] numbers an image, 3 classes make 9"):
        read_counts(rows, 3, [])


def test_a_missing_column_is_named(rows: pd.DataFrame) -> None:
    """A slice that the evaluation does not know cannot be judged."""
    with pytest.raises(UserError, match=r"lacks the columns \['site'\]"):
        read_counts(rows, CLASSES, ["site"])


def test_no_image_is_counted_twice(rows: pd.DataFrame) -> None:
    """A repeated item would count as more evidence than it is."""
    with pytest.raises(UserError, match=r"1 images twice, such as \['item-002'\]"):
        read(pd.concat([rows, rows.iloc[[2]]]))


def test_an_empty_evaluation_is_refused(rows: pd.DataFrame) -> None:
    """Nothing measured is no evidence."""
    with pytest.raises(UserError, match="has 0 images"):
        read(rows.iloc[:0])


def test_negative_counts_are_refused(rows: pd.DataFrame) -> None:
    """No image gives them, so they are damage and not evidence."""
    rows["confusion"] = [-np.ones(CLASSES**2, np.int64)] * len(rows)
    with pytest.raises(UserError, match="negative counts"):
        read(rows)
