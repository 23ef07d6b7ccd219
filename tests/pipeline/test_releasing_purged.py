"""Tests of the record of purges: what stands in for what, and that it only grows."""

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.releasing.purged import (
    Purge,
    PurgedItem,
    PurgedPart,
    Record,
    append_purge,
    find_losses,
    item_digest,
    read_record,
)


def act(note: str, *parts: tuple[str, str], names: tuple[str, ...] = ("a",)) -> Purge:
    """A purge of items from parts, each old and new."""
    digests = tuple(map(item_digest, names))
    return Purge(
        version=1,
        at="2026-05-02T10:00:00+00:00",
        by="Ada",
        note=note,
        items=tuple(PurgedItem(item_sha256=each, item_id=None, images=("f" * 64,), rows=1) for each in digests),
        parts=tuple(PurgedPart(old=old, new=new, items=digests) for old, new in parts),
        releases=(),
    )


def test_the_last_of_a_chain_stands_in() -> None:
    """A part rewritten twice is read from the second rewriting; one that nobody touched from itself."""
    record = Record((act("first", ("p", "q")), act("second", ("q", "r"))))
    assert [record.stand_in(md5) for md5 in ("p", "q", "r", "other")] == ["r", "r", "r", "other"]


def test_losses_count_an_item_once() -> None:
    """An item that was in two parts of a release is one item that is gone."""
    losses = find_losses(Record((act("withdrawn", ("p", "q"), ("s", "t")),)), {"x/part-0": "p", "y/part-0": "s"})
    assert losses.sentences == ("1 item was purged on 2026-05-02: withdrawn",)
    assert set(losses.parts) == {"x/part-0", "y/part-0"}
    assert losses.items == {item_digest("a"): "purged on 2026-05-02: withdrawn"}


def test_a_release_that_was_not_touched_lost_nothing() -> None:
    """Parts that the record does not name are whole."""
    assert find_losses(Record((act("withdrawn", ("p", "q")),)), {"x/part-0": "z"}).sentences == ()


def test_the_record_only_grows(tmp_path: Path) -> None:
    """A line is added behind the others, which stay to the byte, and is read again."""
    file = tmp_path / "purged.jsonl"
    append_purge(file, act("first", ("p", "q")))
    before = file.read_bytes()
    append_purge(file, act("second", ("q", "r"), names=("b", "c")))
    assert file.read_bytes().startswith(before)
    assert [purge.note for purge in read_record(file).purges] == ["first", "second"]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    """The error says which line is none."""
    file = tmp_path / "purged.jsonl"
    append_purge(file, act("first", ("p", "q")))
    file.write_text(file.read_text() + "{}\n")
    with pytest.raises(UserError, match="line 2"):
        read_record(file)
