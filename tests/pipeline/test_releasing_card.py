"""The release card as text."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.releasing.card import SCHEMA, Card, card_files, markdown, parse_card, write_card
from pipeline.releasing.pointer import Pointer


@pytest.fixture
def card() -> Card:
    """A card with something in every section."""
    return Card(
        schema=SCHEMA,
        version="data/v2",
        message="May batch\nwith <b> and | in it",
        author="Ada",
        created_at="2026-05-01T12:00:00+00:00",
        parent="0" * 40,
        dataset="data/dataset",
        dvc_md5="ab.dir",
        bytes=123456,
        parts=3,
        content_digest="c" * 64,
        changes={"since": "data/v1", "added": 100, "removed": 0, "relabelled": 4, "replaced": 0, "moved": 0},
        content={
            "items": 1100,
            "groups": 50,
            "rows": 1104,
            "superseded": 4,
            "removed": 0,
            "annotators": {"ada|ben": 1100},
            "sources": {"camera": 1100},
            "sampling": {"uniform": 1100},
            "classes": [{"name": "floor", "px": 900, "share": 0.9}, {"name": "human", "px": 100, "share": 0.1}],
            "void_px": 10,
            "void_share": 0.0099,
            "splits": {"train": {"items": 1100, "groups": 50, "accepted": 1090}},
            "validation": {
                "passed": True,
                "accepted": 1090,
                "quarantined": 10,
                "acknowledged": [{"check": "groups_across_splits", "failed": 2}],
            },
            "quarantine": {"empty_mask": 10},
            "taxonomy_version": 3,
        },
    )


def test_a_card_reads_back_as_it_was_written(card: Card, tmp_path: Path) -> None:
    """JSON keeps every fact."""
    write_card(tmp_path, card)
    assert parse_card((tmp_path / card_files("data/v2")[0]).read_text()) == card


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"schema": 1}', '{"schema": 99}', "{"])
def test_what_is_no_card_is_none(text: str | None) -> None:
    """A card of another version, or a file cut short, is not guessed at."""
    assert parse_card(text) is None


def test_a_card_is_the_same_whoever_wrote_it_when(card: Card) -> None:
    """A repeated call finds its card by content, and keeps it."""
    later = replace(card, author="Ben", created_at="2027-01-01T00:00:00+00:00", parent="1" * 40)
    assert later.same_release(card)
    assert not replace(card, message="other").same_release(card)
    assert not card.same_release(None)


def test_the_page_names_what_reviewers_ask_for(card: Card) -> None:
    """Counts, shares, the acknowledged flaw, the quarantine's reason and what changed are all there."""
    page = markdown(card)
    for text in ("1,100 in 50 groups", "90.00%", "groups_across_splits (2)", "| empty_mask | 10 |", "| added | 100 |"):
        assert text in page


def test_the_page_counts_what_changed_in_the_holdout(card: Card) -> None:
    """Whoever reads it sees that verdicts on the former holdout are void."""
    page = markdown(replace(card, changes=card.changes | {"holdout": {"added": 2, "removed": 0, "relabelled": 1}}))
    assert "| added in the holdout | 2 |" in page
    assert "| relabelled in the holdout | 1 |" in page


def test_words_of_users_cannot_break_the_page(card: Card) -> None:
    """Pipes and tags in messages and names are text."""
    page = markdown(card)
    assert "<b>" not in page
    assert "ada\\|ben" in page


def test_a_pointer_reads_the_digest_from_its_own_file() -> None:
    """The .dvc file names its folder by its last name, dvc.lock by its path; anything else is no digest."""
    added, made = Pointer(Path("data/dataset"), by_stage=False), Pointer(Path("data/demo"), by_stage=True)
    assert added.md5("outs:\n- {md5: ab.dir, path: dataset}\n") == "ab.dir"
    assert made.md5("stages: {demo: {outs: [{path: data/demo, md5: cd.dir}]}}") == "cd.dir"
    assert made.md5("stages: {demo: {cmd: x}}") is None
    assert added.md5(None) is None
