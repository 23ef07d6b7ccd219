"""The registry's state machine: what a version's decisions make of it, and what may be decided next.

Every function takes the entries of one model, by sequence number, from a log that stood up to its audit.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipeline.decisions.entry import Entry, Kind
from pipeline.decisions.keys import Reviewer, same_person
from pipeline.decisions.line import line_of, part, stood_down
from pipeline.decisions.review import Review, checked_review
from pipeline.errors import UserError, VerdictError
from pipeline.files import digest_json


class State(StrEnum):
    """Where a version stands."""

    REGISTERED = "registered"
    BLOCKED = "blocked"
    GATED = "gated"
    REVIEW_ASKED = "review asked"
    APPROVED = "approved"
    REJECTED = "rejected"
    CHAMPION = "champion"
    PREVIOUS = "previous"
    RETIRED = "retired"


JUDGED = frozenset({State.GATED, State.REVIEW_ASKED, State.APPROVED, State.REJECTED})
FROM: Mapping[Kind, frozenset[State]] = {
    Kind.GATE: frozenset(State) - {State.CHAMPION},
    Kind.REVIEW_ASKED: JUDGED,
    Kind.REVIEW: JUDGED,
    Kind.PROMOTION: frozenset({State.APPROVED}),
}
NEXT = {
    State.REGISTERED: "`segloop gate` judges it",
    State.BLOCKED: "its gate did not pass; `segloop gate --again` judges it anew once it can pass",
    State.GATED: "a reviewer decides on it, by `segloop review` or where Airflow asks",
    State.REVIEW_ASKED: "a reviewer decides on it, by `segloop review` or where Airflow asks",
    State.APPROVED: "`segloop promote` promotes it",
    State.REJECTED: "another `segloop review` may decide otherwise",
    State.CHAMPION: "it serves; `segloop rollback` takes it back",
    State.PREVIOUS: "`segloop rollback` brings it back, `segloop gate --again` judges it anew",
    State.RETIRED: "`segloop gate --again` judges it anew",
}


@dataclass(frozen=True)
class Approval:
    """What a promotion rests on.

    Attributes:
        reviewer: Who approved.
        note: Why.
        gate_digest: Of the verdict.
        model_digest: SHA-256 of the graph.
        gate_sequence: The decision that holds the verdict.
        review_sequence: The decision that holds the review.
    """

    reviewer: str
    note: str
    gate_digest: str
    model_digest: str
    gate_sequence: int
    review_sequence: int


def champion(entries: Sequence[Entry]) -> int | None:
    """The version that serves, None before the first promotion."""
    line = line_of(entries)
    return line[-1].version if line else None


def previous(entries: Sequence[Entry]) -> int | None:
    """The version that a rollback brings back: the champion before this one, of those not taken back themselves."""
    line = line_of(entries)
    return line[-2].version if len(line) > 1 else None


def state_of(entries: Sequence[Entry], version: int) -> State:
    """Where a version stands: what serves comes first, then the latest decision about it."""
    if champion(entries) == version:
        return State.CHAMPION
    left = stood_down(entries, version)
    state = State.REGISTERED
    if left:
        state = State.PREVIOUS if previous(entries) == version else State.RETIRED
    for entry in entries:
        if entry.version == version and entry.sequence > left:
            state = _after(entry, state)
    return state


def legal(entries: Sequence[Entry], kind: Kind, version: int) -> None:
    """Refuses a decision that has no place in a version's life.

    Raises:
        UserError: The message says where the version stands, and what can be done from there.
    """
    state = state_of(entries, version)
    allowed = previous(entries) == version if kind is Kind.ROLLBACK else state in FROM[kind]
    if not allowed:
        word = kind.value.replace("_", " ")
        raise UserError(f"Version {version} is {state.value}, so a {word} is not possible: {NEXT[state]}.")


def promotable(
    entries: Sequence[Entry],
    version: int,
    *,
    gate_digest: str | None,
    model_digest: str,
    reviewers: Mapping[str, Reviewer],
    promoter_keys: Sequence[str] = (),
    four_eyes_authors: Collection[str] | None,
) -> Approval:
    """Finds what a promotion rests on, or says why there is nothing.

    Args:
        entries: Of one model.
        version: The version to promote.
        gate_digest: Digest of the verdict that holds for today's champion, holdout and settings; None when none does.
        model_digest: SHA-256 of the graph's bytes as they are now.
        reviewers: The allow-list.
        promoter_keys: The promoter's public keys, by which answers given in Airflow are proven.
        four_eyes_authors: Who trained the version, by all that is known, and so may not approve it; None where that is
            allowed.

    Raises:
        UserError: A step is missing, or it is the champion already.
        VerdictError: The gate did not pass or is void, or the review does not prove an approval of exactly this.
    """
    refuse_champion(entries, version)
    gate = standing_gate(entries, version, gate_digest=gate_digest, model_digest=model_digest)
    entry, review = _latest_review(entries, version, reviewers, promoter_keys)
    _check_review(review, gate)
    if four_eyes_authors is not None:
        check_four_eyes(version, names_of(review.reviewer, reviewers), four_eyes_authors)
    return Approval(
        reviewer=review.reviewer,
        note=review.note,
        gate_digest=gate.gate_digest,
        model_digest=model_digest,
        gate_sequence=gate.sequence,
        review_sequence=entry.sequence,
    )


def refuse_champion(entries: Sequence[Entry], version: int) -> None:
    """Refuses to promote the champion, which not even an override can.

    Raises:
        UserError: The version serves already.
    """
    if champion(entries) == version:
        raise UserError(f"Version {version} is the champion already; there is nothing to promote.")


def returnable(entries: Sequence[Entry], *, across_contracts: bool = False) -> Entry:
    """Finds the promotion or rollback by which the previous version served: what a rollback repeats.

    Args:
        entries: Of one model.
        across_contracts: The form of the answers may change with the rollback.

    Raises:
        UserError: There is nothing to go back to, or its answers have another form.
    """
    line = line_of(entries)
    if len(line) < 2:  # noqa: PLR2004 - the champion and the one before
        there = f"version {line[0].version} is the only champion there was" if line else "nothing was ever promoted"
        raise UserError(f"There is no version to go back to: {there}. Promote another one.")
    now, before = line[-1], line[-2]
    ours, theirs = (part(each, "certificate").get("output_contract") for each in (now, before))
    if ours != theirs and not across_contracts:
        raise UserError(
            f"Version {before.version} answers by output contract {theirs}, the champion by {ours}: what reads the "
            "answers may break. Say that it shall be so: `segloop rollback --across-contracts`."
        )
    return before


def _after(entry: Entry, state: State) -> State:
    if entry.kind == Kind.GATE:
        return State.GATED if part(entry, "verdict").get("passed") is True else State.BLOCKED
    if entry.kind == Kind.REVIEW_ASKED and state in JUDGED:
        return State.REVIEW_ASKED
    if entry.kind == Kind.REVIEW and state in JUDGED:
        approved = part(entry, "statement").get("decision") == "approve"
        return State.APPROVED if approved else State.REJECTED
    return state


def standing_gate(entries: Sequence[Entry], version: int, *, gate_digest: str | None, model_digest: str) -> Entry:
    """The gate that an approval given now would rest on; the arguments are those of `promotable`.

    Raises:
        UserError: The version was never judged.
        VerdictError: It did not pass, or the verdict is void.
    """
    mine = [entry for entry in entries if entry.version == version and entry.kind == Kind.GATE]
    if not mine:
        raise UserError(f"Version {version} was never judged. Run `segloop gate {version}`.")
    gate = mine[-1]
    verdict = part(gate, "verdict")
    again = f"Run `segloop gate {version} --again`."
    if digest_json(verdict) != gate.gate_digest:
        raise VerdictError(f"The verdict in decision {gate.sequence} does not have the digest it is named by. {again}")
    if gate.model_digest != model_digest or _subject(verdict, "candidate").get("model_digest") != model_digest:
        raise VerdictError(f"The gate judged a model with the digest {gate.model_digest}, not {model_digest}. {again}")
    if verdict.get("passed") is not True:
        raise VerdictError(
            f"Version {version} did not pass its gate (decision {gate.sequence}): it cannot be promoted."
        )
    if verdict.get("alone") is True:
        raise VerdictError(
            f"Version {version} was judged alone, not against the champion (decision {gate.sequence}): only "
            "`segloop promote --force --note TEXT` promotes it."
        )
    then, now = _subject(verdict, "champion").get("version"), champion(entries)
    if then != now:
        raise VerdictError(
            f"The gate is void: it compared with champion {_named(then)}, today's is {_named(now)}. {again}"
        )
    if gate.sequence < (left := stood_down(entries, version)):
        raise VerdictError(
            f"The gate is void: the version stood down as champion by decision {left}, after it. {again}"
        )
    if gate.gate_digest != gate_digest:
        raise VerdictError(f"The gate is void: the champion, the holdout or the settings changed since. {again}")
    return gate


def _latest_review(
    entries: Sequence[Entry], version: int, reviewers: Mapping[str, Reviewer], promoter_keys: Sequence[str]
) -> tuple[Entry, Review]:
    mine = [entry for entry in entries if entry.version == version and entry.kind == Kind.REVIEW]
    if not mine:
        raise UserError(
            f"Version {version} has no approval: nobody has reviewed it. "
            f"Run `segloop review {version} approve --note TEXT`."
        )
    return mine[-1], checked_review(mine[-1], reviewers, promoter_keys)


def _check_review(review: Review, gate: Entry) -> None:
    if review.decision != "approve":
        who = f"'{review.reviewer}'" if review.reviewer else "The lapse of time"
        raise VerdictError(f"{who} rejected version {review.version}: {review.note}")
    again = f"Have it reviewed again: `segloop review {review.version} approve`."
    for what, signed, wanted in (
        ("model", review.model_digest, gate.model_digest),
        ("gate verdict", review.gate_digest, gate.gate_digest),
    ):
        if signed != wanted:
            raise VerdictError(f"'{review.reviewer}' approved another {what} ({signed}, not {wanted}). {again}")


def names_of(reviewer: str, reviewers: Mapping[str, Reviewer]) -> list[str]:
    """The names that a reviewer goes by: the one on the list, and the one in Airflow."""
    listed = reviewers.get(reviewer)
    return [reviewer, *([listed.airflow] if listed and listed.airflow else [])]


def check_four_eyes(version: int, names: Sequence[str], authors: Collection[str]) -> None:
    """Refuses a reviewer who trained the version.

    Args:
        version: The version.
        names: That the reviewer goes by.
        authors: Who trained it, by all that is known.

    Raises:
        VerdictError: One of the names is an author's, or no author is known.
    """
    if not any(author.strip() for author in authors):
        raise VerdictError(
            f"Nobody knows who trained version {version}, so four eyes cannot be shown. Train it in a run that names "
            "its author."
        )
    if any(same_person(name, author) for name in names for author in authors):
        raise VerdictError(f"'{names[0]}' trained version {version}: somebody else must review it.")


def _named(version: object) -> str:
    return "none" if version is None else f"version {version}"


def _subject(verdict: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = verdict.get(name)
    return found if isinstance(found, dict) else {}
