"""What is wrong with a decision log: entries changed, removed, reordered, inserted or cut off, and signatures."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.decisions.certificate import Certificate, check_signature, parse_certificate
from pipeline.decisions.entry import CERTIFIED, GENESIS, Entry
from pipeline.decisions.heads import Head, HeadFile, Mark
from pipeline.decisions.review import checked_witness, is_witnessed
from pipeline.errors import UserError, VerdictError


class Fault(StrEnum):
    """Kinds of findings."""

    CHANGED = "changed"
    REMOVED = "removed"
    CHAIN = "chain"
    CUT_OFF = "cut off"
    REWRITTEN = "rewritten"
    SIGNATURE = "signature"
    HEAD_FILE = "head file"
    CERTIFICATE = "certificate"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        fault: Its kind.
        sequence: The decision that it is about; None where it is about the whole log.
        what: A sentence for a person.
    """

    fault: Fault
    sequence: int | None
    what: str


@dataclass(frozen=True)
class Evidence:
    """What there is of a log, read at one time.

    Attributes:
        entries: By sequence number.
        heads: The signed heads in the database.
        file: What the head file says; None where there is none.
        has_file: Whether a head file is kept at all.
    """

    entries: Sequence[Entry]
    heads: Sequence[Head]
    file: HeadFile | None
    has_file: bool

    @property
    def last(self) -> int:
        """The last sequence number, 0 of an empty log."""
        return self.entries[-1].sequence if self.entries else 0


def structure(evidence: Evidence) -> Iterator[Finding]:
    """What shows without any key: broken hashes, a broken chain, a log shorter than its heads."""
    yield from _chain(evidence.entries)
    known = {entry.sequence: entry.hash for entry in evidence.entries}
    for head in evidence.heads:
        yield from _reached(head, known, "a head in the database")
    if not evidence.has_file:
        return
    if evidence.file is None:
        if evidence.entries:
            yield Finding(Fault.HEAD_FILE, None, "The head file is missing. Restore it from version control.")
        return
    for mark in (evidence.file.latest, evidence.file.signed):
        if mark is not None:
            yield from _reached(mark, known, "the head file")


def signatures(evidence: Evidence, public_keys: Sequence[str]) -> Iterator[Finding]:
    """What shows with the promoter's public keys: forged heads, promotions and witnessed answers."""
    in_file = [evidence.file.signed] if evidence.file and evidence.file.signed else []
    for head in dict.fromkeys([*evidence.heads, *in_file]):
        if not any(head.signed_by(public) for public in public_keys):
            text = f"The head at decision {head.sequence} is not signed by a trusted key (it names {head.key_id})."
            yield Finding(Fault.SIGNATURE, head.sequence, text)
    signed = {head.sequence for head in evidence.heads}
    for head in in_file:
        if head.sequence not in signed:
            text = f"The head at decision {head.sequence}, which the head file has, is gone from the database."
            yield Finding(Fault.CUT_OFF, head.sequence, text)
    for entry in evidence.entries:
        if needs_promoter(entry):
            yield from entitled(entry, public_keys)
            if entry.sequence not in signed:
                text = f"Decision {entry.sequence} ({entry.kind}) has no signed head: it was not made by the promoter."
                yield Finding(Fault.SIGNATURE, entry.sequence, text)


def witnesses(evidence: Evidence, certificates: Iterable[Certificate], public_keys: Sequence[str]) -> Iterator[Finding]:
    """What certificates found elsewhere (in MLflow, in what serves) say that the log should hold."""
    by_number = {entry.sequence: entry for entry in evidence.entries}
    for certificate in certificates:
        number = certificate.sequence
        entry = by_number.get(number)
        try:
            check_signature(certificate, public_keys)
        except VerdictError as error:
            yield Finding(Fault.CERTIFICATE, None, str(error))
            continue
        if entry is None:
            fault = Fault.CUT_OFF if number > evidence.last else Fault.REMOVED
            yield Finding(fault, number, f"A certificate was issued by decision {number}, which the log does not hold.")
        elif entry.kind not in CERTIFIED or _certificate_of(entry) != certificate:
            text = f"A certificate was issued by decision {number}, but the log has another decision there."
            yield Finding(Fault.REWRITTEN, number, text)


def _chain(entries: Sequence[Entry]) -> Iterator[Finding]:
    number, previous = 0, GENESIS
    for entry in entries:
        if entry.sequence != number + 1:
            gone = str(number + 1) if entry.sequence == number + 2 else f"{number + 1} to {entry.sequence - 1}"
            yield Finding(Fault.REMOVED, number + 1, f"Decision {gone} is gone from the log.")
        if not _intact(entry):
            yield Finding(Fault.CHANGED, entry.sequence, f"Decision {entry.sequence} was changed: its hash is another.")
        if entry.previous_hash != previous:
            text = f"Decision {entry.sequence} does not follow the one before it: changed, removed or reordered."
            yield Finding(Fault.CHAIN, entry.sequence, text)
        number, previous = entry.sequence, entry.hash


def _intact(entry: Entry) -> bool:
    try:
        return entry.expected_hash() == entry.hash
    except UserError:  # what stands there now could never have been written
        return False


def _reached(mark: Mark, known: dict[int, str], where: str) -> Iterator[Finding]:
    last = max(known, default=0)
    if mark.sequence > last:
        text = f"The log ends at decision {last}, but {where} knows decision {mark.sequence}: its end was cut off."
        yield Finding(Fault.CUT_OFF, mark.sequence, text)
    elif known.get(mark.sequence, GENESIS) != mark.hash:
        text = f"Decision {mark.sequence} is not the one that {where} knows: the log was rewritten."
        yield Finding(Fault.REWRITTEN, mark.sequence, text)


def needs_promoter(entry: Entry) -> bool:
    """Whether only the promoter may make such an entry."""
    return entry.kind in CERTIFIED or is_witnessed(entry)


def entitled(entry: Entry, public_keys: Sequence[str]) -> Iterator[Finding]:
    """Whether an entry that only the promoter may make carries the promoter's signature over what it says."""
    if entry.kind in CERTIFIED:
        yield from certified(entry, public_keys)
        return
    try:
        checked_witness(entry, public_keys)
    except VerdictError as error:
        yield Finding(Fault.SIGNATURE, entry.sequence, str(error))


def certified(entry: Entry, public_keys: Sequence[str]) -> Iterator[Finding]:
    """Whether a promotion or rollback carries a certificate that a trusted key signed and that says the same."""
    try:
        certificate = parse_certificate(entry.payload.get("certificate"))
        check_signature(certificate, public_keys)
    except VerdictError as error:
        text = f"Decision {entry.sequence} ({entry.kind}) has no valid certificate: {error}"
        yield Finding(Fault.CERTIFICATE, entry.sequence, text)
        return
    fields = ("model_name", "version", "model_digest", "gate_digest", "sequence", "override")
    differing = [name for name in fields if getattr(certificate, name) != getattr(entry, name)]
    if differing:
        text = f"Decision {entry.sequence} differs from its certificate in {', '.join(differing)}."
        yield Finding(Fault.CERTIFICATE, entry.sequence, text)


def _certificate_of(entry: Entry) -> Certificate | None:
    try:
        return parse_certificate(entry.payload.get("certificate"))
    except VerdictError:
        return None
