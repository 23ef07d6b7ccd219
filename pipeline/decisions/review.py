"""A reviewer's signed decision about one version, one graph and one verdict, at one place in the log."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.decisions.entry import Draft, Entry, Kind
from pipeline.decisions.keys import Reviewer, Statement, sign, verified
from pipeline.errors import VerdictError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Review(BaseModel):
    """What a reviewer signs.

    Attributes:
        model_name: The registered model.
        version: Its version.
        model_digest: SHA-256 of its graph.
        gate_digest: Digest of the verdict that was looked at.
        decision: Approve or reject.
        note: Why.
        reviewer: Their name on the allow-list.
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


def review_draft(private: "Ed25519PrivateKey", review: Review) -> Draft:
    """The decision that records a review; append it with `expected_sequence=review.sequence`."""
    statement = review.model_dump()
    return Draft(
        kind=Kind.REVIEW,
        model_name=review.model_name,
        version=review.version,
        model_digest=review.model_digest,
        gate_digest=review.gate_digest,
        actor=review.reviewer,
        note=review.note,
        payload={"statement": statement, "signature": sign(private, Statement.REVIEW, statement)},
    )


def checked_review(entry: Entry, reviewers: Mapping[str, Reviewer]) -> Review:
    """The review in an entry, once it is proven that a reviewer on the allow-list made it, for this entry.

    Raises:
        VerdictError: The reviewer is not on the list, the signature is not theirs, or the entry says something else
            than what was signed.
    """
    again = "Have it reviewed again: `segloop review`."
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
    if not verified(known.public_key, Statement.REVIEW, review.model_dump(), signature):
        raise VerdictError(f"The signature of decision {entry.sequence} is not of '{review.reviewer}''s key. {again}")
    if differing := _differing(review, entry):
        raise VerdictError(
            f"Decision {entry.sequence} differs from what '{review.reviewer}' signed in {', '.join(differing)}: the "
            f"review was copied or changed. {again}"
        )
    return review


def _differing(review: Review, entry: Entry) -> list[str]:
    shared = {"model_name", "version", "model_digest", "gate_digest", "note", "sequence"}
    signed: dict[str, Any] = review.model_dump(include=shared)
    return sorted(name for name, value in signed.items() if getattr(entry, name) != value)
