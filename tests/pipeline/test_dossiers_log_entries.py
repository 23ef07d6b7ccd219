"""What the decision log tells a reviewer about a version, and what is an alarm."""

import pytest
from decisions import PROMOTER, History, certified_draft, grant_of

from pipeline.decisions.certificate import issue
from pipeline.decisions.entry import Kind
from pipeline.dossiers.log_entries import log_entries


@pytest.fixture
def history() -> History:
    """An empty log."""
    return History()


def force(history: History, version: int, kind: Kind = Kind.PROMOTION) -> None:
    """Appends a promotion, or a rollback, that breaks the rules."""
    history.add(certified_draft(kind, issue(PROMOTER, grant_of(version, history.next, override=True, reviewer=""))))


def test_an_ordinary_life_raises_no_alarm(history: History) -> None:
    """Gate, review and promotion are told in words, each with its outcome."""
    history.review(1, history.gate(1))
    history.ask(1)
    history.promote(1)
    found = log_entries(history.entries, 1)
    assert [each.what for each in found] == ["gate", "review: approve", "review asked", "promotion as champion"]
    assert not any(each.alarm for each in found)


def test_decisions_about_other_versions_are_left_out(history: History) -> None:
    """A version's page tells of that version."""
    history.gate(1)
    history.gate(2)
    assert len(log_entries(history.entries, 2)) == 1


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ([], "No gate had judged it."),
        (["gate"], "nobody had reviewed it."),
        (["blocked"], "The gate had blocked it."),
        (["gate", "reject"], "A reviewer had rejected it."),
        (["gate", "approve"], "It was approved, but"),
    ],
)
def test_an_override_says_which_step_was_missing(history: History, before: list[str], words: str) -> None:
    """Where the version stood when it was forced is part of the alarm."""
    for step in before:
        if step in {"gate", "blocked"}:
            gate = history.gate(1, passed=step == "gate")
        else:
            history.review(1, gate, decision=step)
    force(history, 1)
    alarm = log_entries(history.entries, 1)[-1].alarm
    assert alarm.startswith("Override: promoted as champion by force. ")
    assert words in alarm


def test_an_override_stays_an_alarm(history: History) -> None:
    """Ordinary decisions that follow do not take it away."""
    force(history, 1)
    history.promote(2)
    history.review(1, history.gate(1))
    found = log_entries(history.entries, 1)
    assert [bool(each.alarm) for each in found] == [True, False, False]


def test_a_rollback_is_an_alarm_of_the_version_that_failed(history: History) -> None:
    """It is told with the version that took the place; for the one that came back it is ordinary."""
    history.promote(1)
    history.promote(2)
    history.roll_back(1)
    left = log_entries(history.entries, 2)[-1]
    assert (left.what, left.alarm) == ("rollback to version 1", "Rolled back: version 1 took its place.")
    assert [each.alarm for each in log_entries(history.entries, 1)] == ["", ""]


def test_a_version_that_comes_back_by_an_override_is_an_alarm(history: History) -> None:
    """A rollback to a version that was once forced says so."""
    force(history, 1)
    history.promote(2)
    force(history, 1, Kind.ROLLBACK)
    assert log_entries(history.entries, 1)[-1].alarm.startswith("Override: it serves again")
