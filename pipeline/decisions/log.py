"""The decision log: an append-only table that is the truth about which version was judged, approved and promoted."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipeline.decisions.audit import (
    Evidence,
    Fault,
    Finding,
    entitled,
    needs_promoter,
    signatures,
    structure,
    witnesses,
)
from pipeline.decisions.certificate import Certificate
from pipeline.decisions.entry import GENESIS, Draft, Entry, Kind
from pipeline.decisions.heads import DamagedHeadFile, Head, advance_head_file, read_head_file, sign_head
from pipeline.decisions.keys import key_id, public_text
from pipeline.decisions.tables import Database, decisions, heads
from pipeline.errors import UserError, VerdictError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ATTEMPTS = 20  # for an entry that takes whatever number is free


class Conflict(UserError):  # noqa: N818 - it says what happened
    """Another decision took the sequence number."""


class DecisionLog:
    """A log in a database, with the file that remembers how far it reached.

    Args:
        url: SQLAlchemy's URL: `sqlite:///decisions.db`, `postgresql+psycopg://...`.
        head_file: Where its head is kept beside the database; None to keep none.
        key: The promoter's private key, where it is at hand: promotions need it, gates and reviews do not.
        trusted: The promoter's public keys; that of `key` when empty.

    Raises:
        UserError: The key is not among the trusted ones.
    """

    def __init__(
        self,
        url: str,
        *,
        head_file: Path | None = None,
        key: "Ed25519PrivateKey | None" = None,
        trusted: Sequence[str] = (),
    ) -> None:
        own = public_text(key) if key else None
        self._database = Database(url)
        self._head_file = head_file
        self._key = key
        self._trusted = tuple(trusted) or ((own,) if own else ())
        if own is not None and own not in self._trusted:
            known = ", ".join(key_id(each) for each in self._trusted)
            raise UserError(
                f"The private key {key_id(own)} is not the promoter's; trusted: {known}. Name the right one."
            )

    @property
    def title(self) -> str:
        """Where it is, without a password."""
        return self._database.title

    def entries(self, model_name: str | None = None) -> list[Entry]:
        """The entries by sequence number: of one model, or all.

        They are what the database says; `audit` says whether to believe it.

        Raises:
            OutageError: The database is away.
        """
        found = self.read()[0]
        return [entry for entry in found if model_name in (None, entry.model_name)]

    def head(self) -> Entry | None:
        """The last entry, None of an empty log.

        Raises:
            OutageError: The database is away.
        """
        found = self.entries()
        return found[-1] if found else None

    def next_sequence(self) -> int:
        """The number that the next entry gets, unless another process is faster.

        Raises:
            OutageError: The database is away.
        """
        last = self.head()
        return last.sequence + 1 if last else 1

    def evidence(self, head_file: Path | None = None) -> Evidence:
        """All that there is of the log.

        Args:
            head_file: Another head file than the log's own.

        Raises:
            OutageError: The database is away.
            UserError: The head file or a head in the database is damaged.
        """
        path = head_file or self._head_file
        file = read_head_file(path) if path else None  # before the entries: the log may only be ahead of it
        found, signed = self.read()
        if path and file is None and found:  # somebody may have made both in between
            file = read_head_file(path)
            found, signed = self.read()
        return Evidence(found, signed, file, has_file=path is not None)

    def append(self, draft: Draft, *, expected_sequence: int | None = None) -> Entry:
        """Appends a decision, and signs the head where the promoter's key is at hand.

        A log that does not stand up to its audit takes nothing: its next head would cover the damage up.

        Args:
            draft: The decision.
            expected_sequence: The number it must get, since its certificate or its review names it.

        Raises:
            Conflict: Another decision took the number.
            VerdictError: The log was tampered with.
            UserError: A promotion or rollback has no valid certificate, or a witnessed review no valid signature, or
                the promoter's key is not at hand.
            OutageError: The database is away.
        """
        for _ in range(ATTEMPTS if expected_sequence is None else 1):
            evidence = self._sound()
            previous = evidence.entries[-1].hash if evidence.entries else GENESIS
            entry = draft.placed(evidence.last + 1, datetime.now(UTC).isoformat(timespec="seconds"), previous)
            if expected_sequence not in (None, entry.sequence):
                raise self._conflict(expected_sequence)
            self._entitled(entry)
            if not evidence.entries:
                self._remember(None, None)
            head = sign_head(self._key, entry) if self._key else None
            if self._insert(entry, head):
                self._remember(entry, head)
                return entry
        raise self._conflict(expected_sequence)

    def check(self) -> None:
        """Makes sure that the log stands up to its audit.

        Raises:
            VerdictError: It was tampered with.
            OutageError: The database is away.
        """
        self._sound()

    def seal(self) -> Entry | None:
        """Brings the head file, and with the promoter's key the signed head, up to the last entry; twice is once.

        Returns:
            The last entry, None of an empty log.

        Raises:
            VerdictError: The log was tampered with.
            OutageError: The database is away.
        """
        evidence = self._sound()
        if not evidence.entries:
            return None
        last = evidence.entries[-1]
        head = next((each for each in evidence.heads if each.sequence == last.sequence), None)
        if head is None and self._key:
            head = sign_head(self._key, last)
            self._insert(None, head)
        self._remember(last, head)
        return last

    def read(self) -> tuple[list[Entry], list[Head]]:
        """The entries and the signed heads by sequence number, of one moment.

        Raises:
            OutageError: The database is away.
            UserError: It is damaged.
        """
        from sqlalchemy import select

        with self._database.reading() as connection:
            if connection is None:
                return [], []
            columns = [decisions().c[each.name] for each in fields(Entry)]
            rows = connection.execute(select(*columns).order_by(decisions().c.sequence)).all()
            signed = connection.execute(select(heads()).order_by(heads().c.sequence)).mappings().all()
        try:
            return [Entry(*row) for row in rows], [Head.model_validate(dict(each)) for each in signed]
        except ValidationError as error:
            raise UserError(f"The decision log {self.title} has a damaged head: {error}. Restore a backup.") from None

    def _sound(self) -> Evidence:
        evidence = self.evidence()
        findings = [*structure(evidence), *(signatures(evidence, self._trusted) if self._trusted else ())]
        if findings:
            raise VerdictError(
                f"The decision log {self.title} does not stand up to its audit ({findings[0].what}), so nothing is "
                "built on it. Run `segloop audit verify`, then restore the log, or point to the right one."
            )
        return evidence

    def _entitled(self, entry: Entry) -> None:
        if not needs_promoter(entry):
            return
        if self._key is None:
            what = "witnessed review" if entry.kind == Kind.REVIEW else entry.kind
            raise UserError(f"A {what} needs the promoter's private key, which is not at hand.")
        for finding in entitled(entry, self._trusted):
            raise UserError(finding.what)

    def _insert(self, entry: Entry | None, head: Head | None) -> bool:
        """Writes both or neither; whether the number was free."""
        from sqlalchemy import insert
        from sqlalchemy.exc import IntegrityError

        try:
            with self._database.writing() as connection:
                if entry is not None:
                    connection.execute(insert(decisions()).values(**asdict(entry)))
                if head is not None:
                    connection.execute(insert(heads()).values(**head.model_dump()))
        except IntegrityError:
            return False
        return True

    def _remember(self, entry: Entry | None, head: Head | None) -> None:
        if self._head_file is None:
            return
        try:
            advance_head_file(self._head_file, entry, head)
        except OSError as error:
            said = f"Decision {entry.sequence} holds" if entry else "Nothing was written"
            raise UserError(
                f"{said}, but the log's head could not be kept in {self._head_file}: {error}. Mend that, then run "
                "`segloop registry reconcile`."
            ) from None

    def _conflict(self, number: int | None) -> Conflict:
        wanted = "a free number" if number is None else f"number {number}"
        return Conflict(
            f"Another decision was faster: {wanted} was not to be had in {self.title}. Nothing was changed; look at "
            "`segloop versions`, then run the command again if it still makes sense."
        )


def audit(
    log: DecisionLog,
    public_keys: Sequence[str],
    head_file: Path | None,
    known_certificates: Iterable[Certificate] = (),
) -> list[Finding]:
    """Everything that is wrong with a log; nothing means that it can be believed.

    It sees each change that was made without the promoter's key, with two limits. Entries after the last signed head
    are guarded by the head file alone. And whoever also takes the head file back to an earlier one shows only by a
    certificate that was issued since, or by the version control that the head file is kept in.

    Args:
        log: The log.
        public_keys: Of the promoter, from configuration.
        head_file: The head file; None for the log's own.
        known_certificates: Certificates found elsewhere, which the log must hold.

    Raises:
        OutageError: The database is away.
        UserError: The database is damaged beyond reading.
    """
    found: list[Finding] = []
    try:
        evidence = log.evidence(head_file)
    except DamagedHeadFile as error:
        found.append(Finding(Fault.HEAD_FILE, None, str(error)))
        evidence = Evidence(*log.read(), file=None, has_file=False)
    found += [*structure(evidence), *signatures(evidence, public_keys)]
    found += witnesses(evidence, known_certificates, public_keys)
    return list(dict.fromkeys(found))
