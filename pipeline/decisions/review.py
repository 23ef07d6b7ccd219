"""A reviewer's decision about one version, one graph and one verdict, at one place in the log, and its proof."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.decisions.entry import Draft, Entry, Kind
from pipeline.decisions.keys import Reviewer, Statement, key_id, public_text, sign, verified
from pipeline.errors import VerdictError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


FORGED = "whoever wrote it, the promoter did not"
NOBODY = "nobody, within the time"


class Review(BaseModel):
    """What a reviewer says, and signs where they have a key.

    Attributes:
        model_name: The registered model.
        version: Its version.
        model_digest: SHA-256 of its graph.
        gate_digest: Digest of the verdict that was looked at.
        decision: Approve or reject.
        note: Why.
        reviewer: Their name on the allow-list; empty where nobody answered in time.
        sequence: The place in the log it is made for, so that it cannot be repeated after a later decision.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model_name: str
    version: int
    model_digest: str
    gate_digest: str = Field(min_length=1)
    decision: Literal["approve", "reject"]
    note: str = Field(min_length=1)
    reviewer: str
    sequence: int = Field(ge=1)


class Witness(BaseModel):
    """What the promoter saw in Airflow: the answer that a review was given by, and to what question.

    Attributes:
        dag_id: The DAG.
        dag_run_id: Its run; one answer each is taken.
        task_id: The task that asked.
        task_instance_id: Airflow's own id of it, which a run deleted and made anew under its old name has not.
        responder: The user who answered; empty where nobody did in time.
        responded_at: When, ISO 8601.
        body_digest: SHA-256 of the text that was shown, in UTF-8.
        key_id: Of the promoter's key that signed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    dag_id: str
    dag_run_id: str = Field(min_length=1)
    task_id: str
    task_instance_id: str
    responder: str
    responded_at: str
    body_digest: str
    key_id: str


def review_draft(private: "Ed25519PrivateKey", review: Review) -> Draft:
    """The decision that records a review; append it with `expected_sequence=review.sequence`."""
    statement = review.model_dump()
    return _draft(review, {"statement": statement, "signature": sign(private, Statement.REVIEW, statement)})


def witnessed_draft(private: "Ed25519PrivateKey", review: Review, seen: Mapping[str, str]) -> Draft:
    """The decision that records an answer given in Airflow, which the promoter bears witness to.

    Args:
        private: The promoter's key.
        review: What was answered; append it with `expected_sequence=review.sequence`.
        seen: The fields of `Witness` but the key's.
    """
    witness = Witness.model_validate({**seen, "key_id": key_id(public_text(private))})
    content = {"statement": review.model_dump(), "witness": witness.model_dump()}
    return _draft(review, {**content, "signature": sign(private, Statement.WITNESS, content)})


def is_witnessed(entry: Entry) -> bool:
    """Whether an entry is, or claims to be, a review that the promoter bears witness to."""
    try:
        return entry.kind == Kind.REVIEW and "witness" in entry.payload
    except VerdictError:
        return False  # its hash gives a damaged one away


def checked_witness(entry: Entry, promoter_keys: Sequence[str]) -> tuple[Review, Witness]:
    """The answer in a witnessed entry, once it is proven that the promoter saw it, for this entry.

    Raises:
        VerdictError: It is malformed, no trusted key signed it, or the entry says something else than what was signed.
    """
    try:
        review = Review.model_validate(entry.payload.get("statement"))
        witness = Witness.model_validate(entry.payload.get("witness"))
    except ValidationError:
        raise VerdictError(f"The witnessed review in decision {entry.sequence} cannot be read: {FORGED}.") from None
    content = {"statement": review.model_dump(), "witness": witness.model_dump()}
    signature = str(entry.payload.get("signature"))
    signers = [public for public in promoter_keys if key_id(public) == witness.key_id]
    if not any(verified(public, Statement.WITNESS, content, signature) for public in signers):
        raise VerdictError(
            f"The witnessed review in decision {entry.sequence} is not signed by a trusted promoter's key (it names "
            f"{witness.key_id}): {FORGED}."
        )
    if differing := _differing(review, entry):
        raise VerdictError(
            f"Decision {entry.sequence} differs from what the promoter signed in {', '.join(differing)}: the review "
            "was copied or changed."
        )
    return review, witness


def checked_review(entry: Entry, reviewers: Mapping[str, Reviewer], promoter_keys: Sequence[str] = ()) -> Review:
    """The review in an entry, once it is proven that a reviewer on the allow-list made it, for this entry.

    Args:
        entry: Of a review, signed by the reviewer or witnessed by the promoter.
        reviewers: The allow-list.
        promoter_keys: The promoter's public keys, from configuration.

    Raises:
        VerdictError: The reviewer is not on the list, the signature is not theirs, or the entry says something else
            than what was signed.
    """
    again = "Have it reviewed again: `segloop review`."
    if is_witnessed(entry):
        return _answered(entry, reviewers, promoter_keys)
    try:
        review = Review.model_validate(entry.payload.get("statement"))
    except ValidationError:
        raise VerdictError(f"The review in decision {entry.sequence} has no readable statement. {again}") from None
    known = reviewers.get(review.reviewer)
    if known is None:
        listed = ", ".join(reviewers) or "nobody"
        raise VerdictError(
            f"The reviewer '{review.reviewer}' of decision {entry.sequence} is not on the allow-list ({listed}). "
            "Let a listed reviewer decide, or merge their key: `segloop reviewer add`."
        )
    signature = str(entry.payload.get("signature"))
    if not verified(known.public_key or "", Statement.REVIEW, review.model_dump(), signature):
        raise VerdictError(f"The signature of decision {entry.sequence} is not of '{review.reviewer}''s key. {again}")
    if differing := _differing(review, entry):
        raise VerdictError(
            f"Decision {entry.sequence} differs from what '{review.reviewer}' signed in {', '.join(differing)}: the "
            f"review was copied or changed. {again}"
        )
    return review


def _answered(entry: Entry, reviewers: Mapping[str, Reviewer], promoter_keys: Sequence[str]) -> Review:
    """The review in a witnessed entry; nobody stands behind the rejection that a lapse of time is."""
    review, witness = checked_witness(entry, promoter_keys)
    if review.decision == "reject" and not witness.responder:
        return review
    known = reviewers.get(review.reviewer)
    if known is None or known.airflow != witness.responder:
        raise VerdictError(
            f"Airflow's user '{witness.responder}' of decision {entry.sequence} is not listed as reviewer "
            f"'{review.reviewer}'. Let a listed reviewer decide, or merge the account: `segloop reviewer add NAME "
            "--airflow USER`."
        )
    return review


def _draft(review: Review, payload: dict[str, Any]) -> Draft:
    return Draft(
        kind=Kind.REVIEW,
        model_name=review.model_name,
        version=review.version,
        model_digest=review.model_digest,
        gate_digest=review.gate_digest,
        actor=review.reviewer or NOBODY,
        note=review.note,
        payload=payload,
    )


def _differing(review: Review, entry: Entry) -> list[str]:
    shared = {"model_name", "version", "model_digest", "gate_digest", "note", "sequence"}
    signed: dict[str, Any] = review.model_dump(include=shared)
    return sorted(name for name, value in signed.items() if getattr(entry, name) != value)
