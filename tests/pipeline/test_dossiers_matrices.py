"""The dossier's confusion matrices."""

import numpy as np

from pipeline.dossiers.matrices import MOST_CLASSES, confusion_table, difference_table, shares, shown_classes

NAMES = ["floor", "human", "void"]


def test_rows_are_shares_of_the_true_class() -> None:
    """Each row adds up to one; a class that the holdout lacks has none."""
    found = shares(np.array([[6, 2, 0], [1, 1, 0], [0, 0, 0]]))
    assert found[:2].sum(axis=1).tolist() == [1.0, 1.0]
    assert np.isnan(found[2]).all()


def test_the_most_frequent_mistake_is_told() -> None:
    """The table's text names the largest share beside the diagonal."""
    share = shares(np.array([[6, 2, 0], [3, 1, 0], [0, 0, 0]]))
    table = confusion_table("Candidate", share, NAMES, [0, 1, 2])
    assert table.about.endswith("Most often mistaken: human for floor, 75.0%.")
    assert [cell.text for cell in table.rows[2]] == ["\N{EN DASH}"] * 3


def test_more_is_better_on_the_diagonal_and_worse_beside_it() -> None:
    """A change is shaded by what it means, not by its sign."""
    before = np.array([[0.9, 0.1], [0.5, 0.5]])
    after = np.array([[0.7, 0.3], [0.3, 0.7]])
    table = difference_table(after, before, NAMES[:2], [0, 1])
    assert [[cell.shade for cell in row] for row in table.rows] == [["dn10", "dn10"], ["up10", "up10"]]
    assert [cell.text for cell in table.rows[0]] == ["\N{MINUS SIGN}20.0", "+20.0"]


def test_of_many_classes_the_critical_and_the_most_changed_are_shown() -> None:
    """A critical class is always among them, whatever it did."""
    count = MOST_CLASSES + 10
    before, after = np.eye(count), np.eye(count)
    after[count - 2, count - 2] = 0.5
    shown = shown_classes(after, before, [count - 1])
    assert len(shown) == MOST_CLASSES
    assert {count - 1, count - 2} <= set(shown)
