"""One decision as the log keeps it, chained to the one before it by its hash."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from pipeline.decisions.keys import canonical
from pipeline.errors import UserError, VerdictError

GENESIS = "0" * 64  # what the first entry follows


class Kind(StrEnum):
    """What was decided or asked."""

    GATE = "gate"
    REVIEW_ASKED = "review_asked"
    REVIEW = "review"
    PROMOTION = "promotion"
    ROLLBACK = "rollback"


CERTIFIED = (Kind.PROMOTION, Kind.ROLLBACK)  # these change what serves, and carry a certificate


@dataclass(frozen=True)
class Draft:
    """A decision before it has its place in the log.

    Attributes:
        kind: What it is.
        model_name: The registered model.
        version: The version that it is about; of a rollback the one that comes back.
        model_digest: SHA-256 of the version's graph.
        actor: Who acts, as they call themselves; proof is in the payload's signatures.
        gate_digest: Digest of the verdict it rests on; empty without one.
        note: Why, in a person's words.
        override: A rule was broken on purpose.
        payload: What belongs to its kind: `verdict`; `statement` with its `signature`; `certificate`.
    """

    kind: Kind
    model_name: str
    version: int
    model_digest: str
    actor: str
    gate_digest: str = ""
    note: str = ""
    override: bool = False
    payload: Mapping[str, Any] = field(default_factory=dict)

    def placed(self, sequence: int, at: str, previous_hash: str) -> "Entry":
        """The entry that this becomes at a place in the log.

        Raises:
            UserError: A text holds what a database cannot keep, or the payload is no JSON.
        """
        words = asdict(self)
        for name, text in words.items():
            if isinstance(text, str) and "\0" in text:
                raise UserError(f"The {name} of a decision holds a NUL character, received {text!r}. Leave it out.")
        words |= {"kind": self.kind.value, "payload_json": canonical(words.pop("payload")).decode()}
        content = {"sequence": sequence, "at": at, **words, "previous_hash": previous_hash}
        return Entry(**content, hash=digest(content))


@dataclass(frozen=True)
class Entry:
    """A decision in the log; what each word means, see `Draft`.

    Attributes:
        sequence: Its number, from 1 on without a gap.
        at: When, ISO 8601, UTC.
        payload_json: The payload as it was hashed.
        previous_hash: Hash of the entry before it.
        hash: SHA-256 over the canonical JSON of all the others.
    """

    sequence: int
    at: str
    kind: str
    model_name: str
    version: int
    model_digest: str
    gate_digest: str
    actor: str
    note: str
    override: bool
    payload_json: str
    previous_hash: str
    hash: str

    @property
    def payload(self) -> dict[str, Any]:
        """What belongs to its kind.

        Raises:
            VerdictError: It was changed into something that is no JSON object.
        """
        try:
            content = json.loads(self.payload_json)
        except (TypeError, ValueError):
            content = None
        if not isinstance(content, dict):
            raise VerdictError(f"Decision {self.sequence} has a damaged payload. Run `segloop audit verify`.")
        return content

    def expected_hash(self) -> str:
        """The hash that its content calls for."""
        content = asdict(self)
        del content["hash"]
        return digest(content)


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of an entry without its hash."""
    return hashlib.sha256(canonical(content)).hexdigest()
