"""Tests of the split ledger."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.splits import (
    Ledger,
    LedgerRow,
    Move,
    SplitParams,
    append_ledger,
    assign,
    check_appended,
    moved_row,
    place,
    read_ledger,
    straddling,
)

PARAMS = SplitParams(val=0.15, test=0.25, salt="tests")


def test_the_ledger_survives_the_file(tmp_path: Path) -> None:
    """What is appended is read back, in order, and nothing is repeated."""
    path = tmp_path / "splits.csv"
    rows = [LedgerRow("a,b", "train", "may"), LedgerRow("c", "test", "june")]
    grown = append_ledger(path, append_ledger(path, Ledger(), rows[:1]), rows)
    assert read_ledger(path) == grown == Ledger(tuple(rows))


def test_a_straddling_group_is_resolved_by_the_items_own_split() -> None:
    """A group in two splits follows the split that its item came with, and nothing else settles it."""
    ledger = Ledger((LedgerRow("s", "train", "b"), LedgerRow("s", "val", "b")))
    assert ledger.split_of("s", "val") == "val"
    assert ledger.split_of("s", None) is None
    assert ledger.split_of("s", "test") is None
    assert ledger.split_of("unknown", "val") is None


def test_straddling_groups_are_named_by_their_sides() -> None:
    """Each set of splits has a line with its groups, the first ten by name; a group in one split has none."""
    assert straddling({"b": {"test", "train"}, "a": ["train", "test"], "c": {"val"}, "d": {"val", "test"}}) == [
        "straddles train and test: a, b",
        "straddles val and test: d",
    ]
    (line,) = straddling({f"g{n:02}": {"train", "val"} for n in range(12)})
    assert line.endswith("g08, g09 and 2 more")


def test_a_settled_group_ignores_the_split_an_item_claims() -> None:
    """A later batch never chooses its own split."""
    assert Ledger((LedgerRow("s", "train", "b"),)).split_of("s", "test") == "train"


@pytest.mark.parametrize("text", ["group,split\n", "group,split,since\na,holdout,b\n", "group,split,since\na,train\n"])
def test_a_malformed_ledger_is_the_users_mistake(tmp_path: Path, text: str) -> None:
    """The message names the file and shows what stood there."""
    path = tmp_path / "splits.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"splits.csv.*received"):
        read_ledger(path)


def test_the_first_assignment_balances_classes_and_sizes() -> None:
    """Items and every class, the rare one too, are shared out as asked within three points."""
    rng = np.random.default_rng(0)
    groups = [f"g{number}" for number in range(120)]
    rare = rng.integers(0, 900, 120) * (rng.random(120) < 0.4)
    class_px = {name: np.array([rng.integers(9000, 30000), rare[i]]) for i, name in enumerate(groups)}
    sizes = {name: int(rng.integers(1, 6)) for name in groups}
    placed = assign(class_px, sizes, PARAMS)
    for split, share in {"train": 0.6, "val": 0.15, "test": 0.25}.items():
        members = [name for name in groups if placed[name] == split]
        content = np.array([[sizes[name], *class_px[name]] for name in groups]).sum(axis=0)
        got = np.array([[sizes[name], *class_px[name]] for name in members]).sum(axis=0) / content
        assert np.abs(got - share).max() < 0.03


@given(st.integers(0, 5), st.integers(0, 2**16))
def test_the_first_assignment_places_each_group_once_whatever_their_order(count: int, seed: int) -> None:
    """The outcome depends on the groups, not on the order in which they are given."""
    rng = np.random.default_rng(seed)
    class_px = {f"g{i}": rng.integers(0, 50, 3) for i in range(count)}
    sizes = dict.fromkeys(class_px, 1)
    backwards = dict(reversed(class_px.items()))
    assert assign(class_px, sizes, PARAMS) == assign(backwards, sizes, PARAMS)
    assert set(assign(class_px, sizes, PARAMS)) == set(class_px)


def test_later_groups_are_placed_by_a_hash_with_the_shares_asked() -> None:
    """The shares hold over many groups, and a group's place depends on its name and the salt only."""
    placed = [place(f"g{number}", "uniform", PARAMS) for number in range(4000)]
    assert abs(placed.count("test") / 4000 - 0.25) < 0.03
    assert abs(placed.count("val") / 4000 - 0.15) < 0.03
    assert placed[7] == place("g7", "uniform", PARAMS)


def test_selected_samples_never_enter_the_holdout() -> None:
    """What a model chose would bias the holdout."""
    assert "test" not in {place(f"g{number}", "selected", PARAMS) for number in range(500)}


@pytest.mark.parametrize(("val", "test"), [(0.8, 0.4), (0.5, 0.5), (9, -3)])
def test_shares_that_leave_nothing_to_train_are_refused(val: float, test: float) -> None:
    """The message shows what was received."""
    with pytest.raises(ValueError, match=r"received|input_value"):
        SplitParams(val=val, test=test, salt="")


def test_a_ledger_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are the user's to mend, and named."""
    ledger = tmp_path / "splits.csv"
    ledger.write_bytes(b"group,split,since\n\xff,train,b\n")
    with pytest.raises(UserError, match="no UTF-8"):
        read_ledger(ledger)


def test_a_move_supersedes_where_the_group_was(tmp_path: Path) -> None:
    """A moved group lies on one side, a straddling one too, and the file gives back who moved it, when and why."""
    rows = [LedgerRow("s", "train", "b"), LedgerRow("s", "val", "b"), LedgerRow("t", "test", "b")]
    move = moved_row("s", "train", "2026-05-01", "Ada: L", "one\nside")
    ledger = append_ledger(tmp_path / "splits.csv", Ledger(tuple(rows)), [move])
    assert read_ledger(tmp_path / "splits.csv") == ledger
    assert ledger.splits == {"s": {"train"}, "t": {"test"}}
    assert ledger.moves == [Move("s", ("train", "val"), "train", "2026-05-01", "Ada L", "one side")]


def test_an_assignment_repeated_after_a_move_is_not_written_again(tmp_path: Path) -> None:
    """A batch that is ingested again does not undo a move."""
    row = LedgerRow("s", "test", "b")
    ledger = append_ledger(tmp_path / "s.csv", Ledger((row,)), [moved_row("s", "train", "2026-05-01", "Ada", "n")])
    assert append_ledger(tmp_path / "s.csv", ledger, [row]).splits == {"s": {"train"}}


def test_a_side_added_by_hand_after_a_move_straddles() -> None:
    """A row that is no move leaves the group on both sides, which validation fails."""
    move = moved_row("s", "train", "2026-05-01", "Ada", "n")
    assert Ledger((LedgerRow("s", "test", "b"), move, LedgerRow("s", "test", "c"))).splits == {"s": {"train", "test"}}


@pytest.mark.parametrize("rows", [[], [LedgerRow("s", "val", "b")], [LedgerRow("t", "train", "c")]])
def test_rows_that_are_gone_or_changed_are_refused(rows: list[LedgerRow]) -> None:
    """The ledger is append-only: what an earlier state says, a later one says too, in the same place."""
    before = Ledger((LedgerRow("s", "train", "b"),))
    check_appended(before, Ledger((*before.rows, LedgerRow("t", "val", "c"))), "HEAD")
    with pytest.raises(UserError, match="append-only, but line 2 was 's,train,b' in HEAD"):
        check_appended(before, Ledger(tuple(rows)), "HEAD")
