"""Tests of the state machine: every transition, legal and illegal, and all that a promotion may lack."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from decisions import INTRUDER, REVIEWERS, History, key_of, model_digest

from pipeline.decisions.entry import Entry, Kind
from pipeline.decisions.keys import Reviewer, public_text
from pipeline.decisions.states import (
    State,
    champion,
    legal,
    previous,
    promotable,
    refuse_champion,
    returnable,
    state_of,
)
from pipeline.errors import SegloopError, UserError, VerdictError


def at(state: State) -> History:
    """A history in which version 1 stands there."""
    history = History()
    STORIES[state](history)
    return history


def _gated(history: History) -> Entry:
    return history.gate(1)


def _champion(history: History) -> None:
    history.review(1, history.gate(1))
    history.promote(1)


def _retired(history: History) -> None:
    for version in (1, 2, 3):
        history.promote(version)
    assert previous(history.entries) == 2


STORIES: dict[State, Callable[[History], object]] = {
    State.REGISTERED: lambda history: history.gate(2),
    State.BLOCKED: lambda history: history.gate(1, passed=False),
    State.GATED: _gated,
    State.REVIEW_ASKED: lambda history: (history.gate(1), history.ask(1)),
    State.APPROVED: lambda history: history.review(1, history.gate(1)),
    State.REJECTED: lambda history: history.review(1, history.gate(1), decision="reject"),
    State.CHAMPION: _champion,
    State.PREVIOUS: lambda history: (_champion(history), history.promote(2)),
    State.RETIRED: _retired,
}
LEGAL = {
    (Kind.GATE, State.REGISTERED),
    (Kind.GATE, State.BLOCKED),
    (Kind.GATE, State.GATED),
    (Kind.GATE, State.REVIEW_ASKED),
    (Kind.GATE, State.APPROVED),
    (Kind.GATE, State.REJECTED),
    (Kind.GATE, State.PREVIOUS),
    (Kind.GATE, State.RETIRED),
    (Kind.REVIEW_ASKED, State.GATED),
    (Kind.REVIEW_ASKED, State.REVIEW_ASKED),
    (Kind.REVIEW_ASKED, State.APPROVED),
    (Kind.REVIEW_ASKED, State.REJECTED),
    (Kind.REVIEW, State.GATED),
    (Kind.REVIEW, State.REVIEW_ASKED),
    (Kind.REVIEW, State.APPROVED),
    (Kind.REVIEW, State.REJECTED),
    (Kind.PROMOTION, State.APPROVED),
    (Kind.ROLLBACK, State.PREVIOUS),
}


@pytest.mark.parametrize("state", State)
def test_each_state_is_reached(state: State) -> None:
    """Every state has a story that leads to it."""
    assert state_of(at(state).entries, 1) is state


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", Kind)
def test_a_decision_is_legal_where_it_has_its_place(kind: Kind, state: State) -> None:
    """All other decisions are refused, and the message says where the version stands."""
    entries = at(state).entries
    if (kind, state) in LEGAL:
        legal(entries, kind, 1)
        return
    with pytest.raises(UserError, match=f"Version 1 is {state.value}, so a"):
        legal(entries, kind, 1)


@pytest.mark.parametrize(
    ("state", "then", "expected"),
    [
        (State.APPROVED, lambda history: history.gate(1, salt=1), State.GATED),
        (State.REJECTED, lambda history: history.gate(1, salt=1), State.GATED),
        (State.APPROVED, lambda history: history.gate(1, passed=False), State.BLOCKED),
        (State.BLOCKED, lambda history: history.gate(1, salt=1), State.GATED),
        (State.APPROVED, lambda history: history.ask(1), State.REVIEW_ASKED),
        (State.REGISTERED, lambda history: history.ask(1), State.REGISTERED),
        (State.APPROVED, lambda history: history.gate(2), State.APPROVED),
        (State.APPROVED, lambda history: history.promote(1, scope="canary"), State.APPROVED),
        (State.PREVIOUS, lambda history: history.roll_back(1), State.CHAMPION),
        (State.RETIRED, lambda history: history.promote(1), State.CHAMPION),
        (State.RETIRED, lambda history: history.gate(1, champion=3), State.GATED),
        (State.CHAMPION, lambda history: history.promote(2), State.PREVIOUS),
        (State.CHAMPION, lambda history: history.promote(2, scope="shadow"), State.CHAMPION),
    ],
)
def test_a_decision_moves_a_version(state: State, then: Callable[[History], object], expected: State) -> None:
    """What a further decision makes of a version."""
    history = at(state)
    then(history)
    assert state_of(history.entries, 1) is expected


def test_nothing_serves_at_first() -> None:
    """Without promotions there is neither champion nor previous."""
    assert (champion([]), previous([])) == (None, None)


def test_a_rollback_takes_the_champion_off_the_line() -> None:
    """A second rollback goes further back, never forth to what was taken back."""
    history = History()
    for version in (1, 2, 3):
        history.promote(version)
    history.roll_back(2)
    assert (champion(history.entries), previous(history.entries)) == (2, 1)
    assert state_of(history.entries, 3) is State.RETIRED
    history.roll_back(1)
    assert (champion(history.entries), previous(history.entries)) == (1, None)
    history.promote(3)
    assert (champion(history.entries), previous(history.entries)) == (3, 1)


def test_a_champion_promoted_again_has_its_predecessor_behind_it() -> None:
    """A version may return by promotion, and a rollback leads to the one in between."""
    history = History()
    for version in (1, 2, 1):
        history.promote(version)
    assert (champion(history.entries), previous(history.entries)) == (1, 2)
    history.roll_back(2)
    assert (champion(history.entries), previous(history.entries)) == (2, 1)


def test_entries_of_two_models_are_a_bug() -> None:
    """The state machine never mixes models."""
    history = at(State.CHAMPION)
    with pytest.raises(ValueError, match="entries of one model"):
        champion([*history.entries, replace(history.entries[0], model_name="other")])


def test_a_rollback_repeats_how_the_previous_version_served() -> None:
    """The latest promotion or rollback to it is found."""
    history = History()
    for version in (1, 2, 3):
        history.promote(version)
    back = history.roll_back(2)
    history.promote(4)
    assert returnable(history.entries) == back


@pytest.mark.parametrize(("versions", "said"), [([], "nothing was ever promoted"), ([1], "the only champion")])
def test_without_a_previous_version_there_is_no_way_back(versions: list[int], said: str) -> None:
    """The message says why."""
    history = History()
    for version in versions:
        history.promote(version)
    with pytest.raises(UserError, match=said):
        returnable(history.entries)


def test_a_rollback_across_output_contracts_is_said_twice() -> None:
    """It is refused unless asked for."""
    history = History()
    history.promote(1, contract=1)
    history.promote(2, contract=2)
    with pytest.raises(UserError, match="output contract 1, the champion by 2"):
        returnable(history.entries)
    assert returnable(history.entries, across_contracts=True).version == 1


def ask(history: History, version: int = 1, **options: Any) -> Any:
    """Whether a version is promotable, its last gate being valid unless the options say otherwise."""
    gates = [entry for entry in history.entries if entry.version == version and entry.kind == Kind.GATE]
    given = {
        "gate_digest": gates[-1].gate_digest if gates else None,
        "model_digest": model_digest(version),
        "reviewers": REVIEWERS,
        "four_eyes_authors": {"carol"},
    }
    return promotable(history.entries, version, **{**given, **options})


def refused(history: History, error: type[SegloopError], said: str, version: int = 1, **options: Any) -> None:
    """Asserts that a promotion is refused with this error, and not another."""
    with pytest.raises(error, match=said):
        ask(history, version, **options)


def test_a_first_promotion_rests_on_gate_and_approval() -> None:
    """The approval names reviewer, verdict, graph and both decisions."""
    history = at(State.APPROVED)
    approval = ask(history)
    assert (approval.reviewer, approval.note) == ("alice", "looks right")
    assert (approval.gate_sequence, approval.review_sequence) == (1, 2)
    assert approval.model_digest == model_digest(1)
    assert approval.gate_digest == history.entries[0].gate_digest


def test_a_better_candidate_follows_the_champion() -> None:
    """A gate against today's champion and an approval of it make the next promotion."""
    history = at(State.CHAMPION)
    history.review(2, history.gate(2, champion=1), reviewer="bob")
    assert ask(history, 2).reviewer == "bob"


def test_an_approval_after_a_rejection_counts() -> None:
    """The latest decision counts."""
    history = at(State.REJECTED)
    history.review(1, history.entries[0], reviewer="bob")
    assert ask(history).reviewer == "bob"


def test_a_rejection_after_an_approval_counts() -> None:
    """The latest decision counts, and its note is shown."""
    history = at(State.APPROVED)
    history.review(1, history.entries[0], reviewer="bob", decision="reject", note="misses the forklift")
    refused(history, VerdictError, "'bob' rejected version 1: misses the forklift")


def test_the_champion_is_not_promoted_again() -> None:
    """It serves already, and an override has the same check."""
    history = at(State.CHAMPION)
    refused(history, UserError, "is the champion already")
    with pytest.raises(UserError, match="is the champion already"):
        refuse_champion(history.entries, 1)


def test_without_a_gate_there_is_no_promotion() -> None:
    """The message names the command."""
    refused(History(), UserError, "never judged. Run `segloop gate 1`")


def test_a_failed_gate_blocks() -> None:
    """An approval of it changes nothing."""
    history = History()
    history.review(1, history.gate(1, passed=False))
    refused(history, VerdictError, "did not pass its gate")


def test_the_latest_gate_counts() -> None:
    """A pass before a failure is over."""
    history = at(State.APPROVED)
    history.gate(1, passed=False)
    refused(history, VerdictError, "did not pass its gate")


def test_a_gate_is_void_when_the_champion_changed() -> None:
    """A verdict against another champion says nothing about today's."""
    history = at(State.APPROVED)
    history.promote(2)
    refused(history, VerdictError, "compared with champion none, today's is version 2")


@pytest.mark.parametrize("gate_digest", [None, "f" * 64])
def test_a_gate_is_void_when_holdout_or_settings_changed(gate_digest: str | None) -> None:
    """The caller knows today's and finds no verdict, or another."""
    refused(at(State.APPROVED), VerdictError, "the holdout or the settings changed", gate_digest=gate_digest)


def test_a_gate_of_other_bytes_is_refused() -> None:
    """The graph was changed after the gate."""
    refused(at(State.APPROVED), VerdictError, "The gate judged a model", model_digest="f" * 64)


def test_a_verdict_changed_under_its_digest_is_refused() -> None:
    """A failure turned into a pass has not the digest that it is named by."""
    history = History()
    gate = history.gate(1, passed=False)
    history.entries[0] = replace(gate, payload_json=gate.payload_json.replace("false", "true"))
    history.review(1, gate)
    refused(history, VerdictError, "does not have the digest")


def test_without_a_review_there_is_no_promotion() -> None:
    """A request for a review decides nothing."""
    refused(at(State.GATED), UserError, "has no approval")
    refused(at(State.REVIEW_ASKED), UserError, "has no approval")


def test_an_approval_of_another_verdict_is_refused() -> None:
    """A new gate needs a new review."""
    history = at(State.APPROVED)
    history.gate(1, salt=1)
    refused(history, VerdictError, "approved another gate verdict")


def test_an_approval_of_other_bytes_is_refused() -> None:
    """The reviewer looked at another graph."""
    history = History()
    history.review(1, history.gate(1), model_digest="f" * 64)
    refused(history, VerdictError, "approved another model")


def test_a_reviewer_who_is_not_listed_is_refused() -> None:
    """A good signature of a key that nobody allowed is none."""
    history = History()
    history.review(1, history.gate(1), INTRUDER, reviewer="mallory")
    refused(history, VerdictError, "'mallory' of decision 2 is not on the allow-list")


def test_a_review_in_the_name_of_another_is_refused() -> None:
    """Signed with another key than the named reviewer's."""
    history = History()
    history.review(1, history.gate(1), INTRUDER)
    refused(history, VerdictError, "is not of 'alice''s key")


def test_a_review_by_a_key_that_was_replaced_is_refused() -> None:
    """The key that is listed now counts."""
    listed = {"alice": Reviewer(public_key=public_text(key_of(7)), added_at="2026-02-02")}
    refused(at(State.APPROVED), VerdictError, "is not of 'alice''s key", reviewers=listed)


def test_a_rejection_turned_into_an_approval_is_refused() -> None:
    """The decision is under the signature."""
    history = at(State.REJECTED)
    entry = history.entries[1]
    history.entries[1] = replace(entry, payload_json=entry.payload_json.replace('"reject"', '"approve"'))
    refused(history, VerdictError, "is not of 'alice''s key")


def test_an_approval_copied_after_a_rejection_is_refused() -> None:
    """A genuine approval stands for its own place in the log only."""
    history = at(State.APPROVED)
    copied = history.entries[1]
    history.review(1, history.entries[0], reviewer="bob", decision="reject")
    history.entries.append(replace(copied, sequence=4))
    refused(history, VerdictError, "differs from what 'alice' signed in sequence")


def test_an_approval_copied_to_another_version_is_refused() -> None:
    """A genuine approval stands for its own version only."""
    history = at(State.APPROVED)
    gate = history.gate(2)
    history.entries.append(replace(history.entries[1], version=2, sequence=4, gate_digest=gate.gate_digest))
    refused(history, VerdictError, "differs from what 'alice' signed", version=2)


def test_a_review_without_a_statement_is_refused() -> None:
    """A note alone, or a tag taken over from elsewhere, proves nothing."""
    history = at(State.APPROVED)
    history.entries[1] = replace(history.entries[1], payload_json="{}")
    refused(history, VerdictError, "has no readable statement")


@pytest.mark.parametrize("payload", ["", "[]", "rubbish"])
def test_a_damaged_payload_is_refused(payload: str) -> None:
    """What is no JSON object sends to the audit."""
    history = at(State.APPROVED)
    history.entries[1] = replace(history.entries[1], payload_json=payload)
    refused(history, VerdictError, "damaged payload")


@pytest.mark.parametrize("author", ["alice", "Alice", " alice "])
def test_the_author_does_not_approve_their_own_version(author: str) -> None:
    """Four eyes, however the name is written."""
    refused(at(State.APPROVED), VerdictError, "'alice' trained version 1", four_eyes_authors={"carol", author})


def test_four_eyes_need_a_known_author() -> None:
    """Who is unknown might be the reviewer."""
    refused(at(State.APPROVED), VerdictError, "Nobody knows who trained", four_eyes_authors={""})


def test_without_four_eyes_the_author_may_approve() -> None:
    """It is a setting."""
    assert ask(at(State.APPROVED), four_eyes_authors=None).reviewer == "alice"


def test_a_version_that_was_rolled_back_needs_gate_and_review_anew() -> None:
    """Its verdict and approval were from before it failed, though champion, holdout and settings are as they were."""
    history = at(State.CHAMPION)
    gate = history.gate(2, champion=1)
    history.review(2, gate)
    history.promote(2)
    history.roll_back(1)
    refused(history, VerdictError, "stood down as champion by decision 7", version=2)
    history.review(2, history.gate(2, champion=1, salt=1))
    assert ask(history, 2).review_sequence == 9
