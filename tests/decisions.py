"""Builders of decisions for the tests of the registry: a promoter, two reviewers, a log in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.decisions.audit import Finding
from pipeline.decisions.certificate import Certificate, Grant, Scope, issue
from pipeline.decisions.entry import Draft, Entry, Kind
from pipeline.decisions.keys import Reviewer, public_text
from pipeline.decisions.log import DecisionLog, audit
from pipeline.decisions.review import Review, review_draft
from pipeline.files import digest_json

MODEL = "segmenter"


def key_of(seed: int) -> Ed25519PrivateKey:
    """The same key for the same seed."""
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


PROMOTER, INTRUDER = key_of(1), key_of(9)
REVIEWER_KEYS = {"alice": key_of(2), "bob": key_of(3)}
REVIEWERS = {
    name: Reviewer(public_key=public_text(key), added_at="2026-01-01T00:00:00+00:00")
    for name, key in REVIEWER_KEYS.items()
}


def model_digest(version: int) -> str:
    """The digest of a version's graph."""
    return f"{version:064x}"


def verdict(version: int, *, champion: int | None = None, passed: bool = True, salt: int = 0) -> dict[str, Any]:
    """What of a verdict the state machine looks at."""
    against = None if champion is None else {"version": champion, "model_digest": model_digest(champion)}
    candidate = {"version": version, "model_digest": model_digest(version)}
    return {"passed": passed, "candidate": candidate, "champion": against, "salt": salt}


def gate_draft(version: int, **options: Any) -> Draft:
    """A gate; the options are those of `verdict`."""
    content = verdict(version, **options)
    digest = digest_json(content)
    return Draft(Kind.GATE, MODEL, version, model_digest(version), "ci", digest, payload={"verdict": content})


def review_of(version: int, gate_digest: str, sequence: int, **options: Any) -> Review:
    """A review, alice's approval unless the options say otherwise."""
    content = {"reviewer": "alice", "decision": "approve", "note": "looks right", **options}
    return Review(
        model_name=MODEL,
        version=version,
        gate_digest=gate_digest,
        sequence=sequence,
        **{"model_digest": model_digest(version), **content},
    )


def grant_of(version: int, sequence: int, /, **options: Any) -> Grant:
    """A grant to serve as champion unless the options say otherwise."""
    content: dict[str, Any] = {
        "model_name": MODEL,
        "version": version,
        "model_digest": model_digest(version),
        "gate_digest": "",
        "scope": "champion",
        "sequence": sequence,
        "reviewer": "alice",
        "override": False,
        "output_contract": 1,
    }
    return Grant(**{**content, **options})


def certified_draft(kind: Kind, certificate: Certificate) -> Draft:
    """A promotion or rollback with its certificate."""
    return Draft(
        kind,
        certificate.model_name,
        certificate.version,
        certificate.model_digest,
        "promoter",
        certificate.gate_digest,
        override=certificate.override,
        payload={"certificate": certificate.model_dump()},
    )


@dataclass
class History:
    """Entries as a log would hold them, without a database."""

    entries: list[Entry] = field(default_factory=list)

    @property
    def next(self) -> int:
        """The next sequence number."""
        return len(self.entries) + 1

    def add(self, draft: Draft) -> Entry:
        """Appends a decision."""
        previous = self.entries[-1].hash if self.entries else "0" * 64
        self.entries.append(draft.placed(self.next, "2026-01-01T00:00:00+00:00", previous))
        return self.entries[-1]

    def gate(self, version: int, **options: Any) -> Entry:
        """A gate."""
        return self.add(gate_draft(version, **options))

    def ask(self, version: int) -> Entry:
        """A request for a review."""
        return self.add(Draft(Kind.REVIEW_ASKED, MODEL, version, model_digest(version), "carol"))

    def review(self, version: int, gate: Entry, key: Ed25519PrivateKey | None = None, **options: Any) -> Entry:
        """A review, signed with its reviewer's key or another."""
        review = review_of(version, gate.gate_digest, self.next, **options)
        return self.add(review_draft(key or REVIEWER_KEYS[review.reviewer], review))

    def promote(self, version: int, *, scope: Scope = "champion", contract: int = 1) -> Entry:
        """A promotion."""
        grant = grant_of(version, self.next, scope=scope, output_contract=contract)
        return self.add(certified_draft(Kind.PROMOTION, issue(PROMOTER, grant)))

    def roll_back(self, version: int) -> Entry:
        """A rollback to a version."""
        return self.add(certified_draft(Kind.ROLLBACK, issue(PROMOTER, grant_of(version, self.next))))


@dataclass(frozen=True)
class Place:
    """A log in a folder."""

    folder: Path

    @property
    def database(self) -> Path:
        """Its SQLite file."""
        return self.folder / "decisions.db"

    @property
    def head_file(self) -> Path:
        """Its head file."""
        return self.folder / "decisions.head"

    def log(self, key: Ed25519PrivateKey | None = PROMOTER) -> DecisionLog:
        """The log, opened with a key or without."""
        trusted = [public_text(key or PROMOTER)]
        return DecisionLog(f"sqlite:///{self.database}", head_file=self.head_file, key=key, trusted=trusted)

    def audit(self, certificates: Sequence[Certificate] = ()) -> list[Finding]:
        """What is wrong with it, by the promoter's public key."""
        return audit(self.log(), [public_text(PROMOTER)], self.head_file, certificates)


def promote(log: DecisionLog, version: int, key: Ed25519PrivateKey = PROMOTER) -> Certificate:
    """Promotes a version in a log."""
    number = log.next_sequence()
    certificate = issue(key, grant_of(version, number))
    log.append(certified_draft(Kind.PROMOTION, certificate), expected_sequence=number)
    return certificate


def fill(log: DecisionLog, key: Ed25519PrivateKey = PROMOTER) -> list[Certificate]:
    """Five decisions: two gates with a promotion each, and a gate after them."""
    log.append(gate_draft(1))
    first = promote(log, 1, key)
    log.append(gate_draft(2, champion=1))
    second = promote(log, 2, key)
    log.append(gate_draft(3, champion=2))
    return [first, second]
