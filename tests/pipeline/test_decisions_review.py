"""Tests of reviews that the promoter bears witness to: who may, what holds, and every forgery of one."""

from dataclasses import replace
from typing import Any

import pytest
from decisions import INTRUDER, PROMOTER, REVIEWERS, History, gate_draft, review_of

from pipeline.decisions.audit import Evidence, Fault, signatures
from pipeline.decisions.entry import Entry
from pipeline.decisions.keys import Reviewer, Statement, key_id, public_text, sign
from pipeline.decisions.review import Witness, checked_review, is_witnessed, witnessed_draft
from pipeline.decisions.states import State, promotable, state_of
from pipeline.errors import VerdictError

KEYS = [public_text(PROMOTER)]
LISTED = {"alice": Reviewer(airflow="alice", added_at="2026-01-01")}
SEEN = {
    "dag_id": "promotion",
    "dag_run_id": "run 1",
    "task_id": "approve",
    "task_instance_id": "an id",
    "responder": "alice",
    "responded_at": "2026-01-01T00:00:00+00:00",
    "body_digest": "0" * 64,
}


def witnessed(history: History, key: Any = PROMOTER, **options: Any) -> Entry:
    """Version 1, judged, with an answer by alice that a key bears witness to."""
    gate = history.add(gate_draft(1))
    seen = {**SEEN, **{name: options.pop(name) for name in SEEN if name in options}}
    return history.add(witnessed_draft(key, review_of(1, gate.gate_digest, history.next, **options), seen))


def with_payload(entry: Entry, **changes: Any) -> Entry:
    """An entry whose payload somebody has changed."""
    from pipeline.decisions.keys import canonical

    return replace(entry, payload_json=canonical({**entry.payload, **changes}).decode())


def test_a_witnessed_approval_promotes() -> None:
    """It moves the version, is believed by the promoter's public key, and carries the reviewer's name."""
    history = History()
    entry = witnessed(history)
    assert is_witnessed(entry)
    assert state_of(history.entries, 1) is State.APPROVED
    approval = promotable(
        history.entries,
        1,
        gate_digest=entry.gate_digest,
        model_digest=entry.model_digest,
        reviewers=LISTED,
        promoter_keys=KEYS,
        four_eyes_authors={"ada"},
    )
    assert (approval.reviewer, approval.review_sequence) == ("alice", 2)


@pytest.mark.parametrize("author", ["alice", "ALICE ", "al1ce"])
def test_four_eyes_see_the_account_as_well(author: str) -> None:
    """Who trained it under the name of their account may not approve it under the name on the list."""
    history = History()
    entry = witnessed(history, responder="al1ce")
    reviewers = {"alice": Reviewer(airflow="al1ce", added_at="2026-01-01")}
    with pytest.raises(VerdictError, match="'alice' trained version 1"):
        promotable(
            history.entries,
            1,
            gate_digest=entry.gate_digest,
            model_digest=entry.model_digest,
            reviewers=reviewers,
            promoter_keys=KEYS,
            four_eyes_authors={author},
        )


def test_only_the_promoters_key_bears_witness() -> None:
    """Another key, no trusted key, another key that names the promoter's: all are told apart from it."""
    forged = witnessed(History(), INTRUDER)
    content = {name: witnessed(History()).payload[name] for name in ("statement", "witness")}
    named = with_payload(witnessed(History()), signature=sign(INTRUDER, Statement.WITNESS, content))
    for entry, keys in ((forged, KEYS), (witnessed(History()), []), (named, KEYS)):
        with pytest.raises(VerdictError, match="not signed by a trusted promoter's key"):
            checked_review(entry, LISTED, keys)


def test_a_signature_for_another_statement_bears_no_witness() -> None:
    """What the promoter signed as a certificate, say, does not pass for a witness."""
    entry = witnessed(History())
    content = {name: entry.payload[name] for name in ("statement", "witness")}
    other = with_payload(entry, signature=sign(PROMOTER, Statement.CERTIFICATE, content))
    with pytest.raises(VerdictError, match="not signed by a trusted promoter's key"):
        checked_review(other, LISTED, KEYS)


@pytest.mark.parametrize("name", list(SEEN))
def test_no_word_of_what_was_seen_can_be_changed(name: str) -> None:
    """The signature covers the run, the task, the person, the time and the text."""
    entry = witnessed(History())
    changed = with_payload(entry, witness={**entry.payload["witness"], name: "another"})
    with pytest.raises(VerdictError, match="not signed by a trusted promoter's key"):
        checked_review(changed, LISTED, KEYS)


@pytest.mark.parametrize(
    "changes", [{"version": 2}, {"gate_digest": "f" * 64}, {"model_digest": "f" * 64}, {"sequence": 9}, {"note": "x"}]
)
def test_a_witness_holds_for_its_own_entry_only(changes: dict[str, Any]) -> None:
    """Copied to another version, verdict, graph or place, it proves nothing."""
    with pytest.raises(VerdictError, match=f"differs from what the promoter signed in {next(iter(changes))}"):
        checked_review(replace(witnessed(History()), **changes), LISTED, KEYS)


@pytest.mark.parametrize(
    "reviewers",
    [
        {},
        REVIEWERS,
        {"alice": Reviewer(airflow="eve", added_at="2026-01-01")},
        {"eve": Reviewer(airflow="alice", added_at="2026-01-01")},
    ],
)
def test_a_witnessed_approval_needs_a_listed_account(reviewers: dict[str, Reviewer]) -> None:
    """Who is not listed any more, or by a key or another account alone, has approved nothing."""
    with pytest.raises(VerdictError, match="is not listed as reviewer 'alice'"):
        checked_review(witnessed(History()), reviewers, KEYS)


def test_an_account_is_no_key() -> None:
    """Who is listed by an account alone cannot have signed a review."""
    history = History()
    signed = history.review(1, history.gate(1))
    with pytest.raises(VerdictError, match="is not of 'alice''s key"):
        checked_review(signed, LISTED, KEYS)


def test_the_lapse_of_time_rejects_and_never_approves() -> None:
    """Nobody stands behind it, so nobody need be listed; an approval by nobody is none."""
    rejected = witnessed(History(), responder="", reviewer="", decision="reject")
    assert checked_review(rejected, {}, KEYS).decision == "reject"
    approved = witnessed(History(), responder="", reviewer="")
    with pytest.raises(VerdictError, match="is not listed as reviewer ''"):
        checked_review(approved, LISTED, KEYS)


@pytest.mark.parametrize("witness", [None, "text", {}, {**SEEN, "key_id": "x", "more": 1}, {**SEEN, "key_id": 3}])
def test_a_malformed_witness_is_refused(witness: object) -> None:
    """It is not taken for an ordinary review either."""
    entry = with_payload(witnessed(History()), witness=witness)
    with pytest.raises(VerdictError, match="cannot be read"):
        checked_review(entry, REVIEWERS, KEYS)


def test_the_audit_finds_a_forged_witness() -> None:
    """One that no trusted key signed, and one without a signed head: the promoter signs each head that it makes."""
    history = History()
    witnessed(history, INTRUDER)
    found = list(signatures(Evidence(history.entries, [], None, has_file=False), KEYS))
    assert [(each.fault, each.sequence) for each in found] == [(Fault.SIGNATURE, 2), (Fault.SIGNATURE, 2)]
    assert "the promoter did not" in found[0].what
    assert "no signed head" in found[1].what


def test_a_witness_names_the_key_that_signed() -> None:
    """So that a key which is being replaced is found among several."""
    entry = witnessed(History())
    assert Witness.model_validate(entry.payload["witness"]).key_id == key_id(KEYS[0])
    assert checked_review(entry, LISTED, [public_text(INTRUDER), *KEYS]).reviewer == "alice"
