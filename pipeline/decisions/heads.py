"""The log's heads: signed statements of how far it reached, and the file beside the database that remembers them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.decisions.entry import GENESIS, Entry
from pipeline.decisions.keys import Statement, key_id, public_text, sign, verified
from pipeline.errors import UserError
from pipeline.files import read_json, write_json

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class DamagedHeadFile(UserError):  # noqa: N818 - it says what is the matter
    """The head file cannot be read as one."""


class Mark(BaseModel):
    """How far the log reached: it must hold this entry ever after.

    Attributes:
        sequence: Of the last entry, 0 of an empty log.
        hash: Of the last entry, and through the chain of all before it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    sequence: int = Field(ge=0)
    hash: str


class Head(Mark):
    """A mark that the promoter's key has signed.

    Attributes:
        at: When it was signed, ISO 8601, UTC.
        key_id: Of the key.
        signature: Over all the others.
    """

    at: str
    key_id: str
    signature: str

    def signed_by(self, public: str) -> bool:
        """Whether this key has signed it as it stands."""
        content = self.model_dump(exclude={"signature"})
        return key_id(public) == self.key_id and verified(public, Statement.HEAD, content, self.signature)


class HeadFile(BaseModel):
    """What the head file holds.

    It is a lower bound: the log of several machines is ahead of each machine's file, never behind.

    Attributes:
        latest: The last entry that was seen; unsigned, since a gate or a reviewer has not the promoter's key.
        signed: The last signed head that was seen; None before the first promotion.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    latest: Mark
    signed: Head | None = None


def sign_head(private: "Ed25519PrivateKey", entry: Entry) -> Head:
    """Signs that the log reached this entry."""
    content = {
        "sequence": entry.sequence,
        "hash": entry.hash,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "key_id": key_id(public_text(private)),
    }
    return Head.model_validate({**content, "signature": sign(private, Statement.HEAD, content)})


def read_head_file(path: Path) -> HeadFile | None:
    """Reads the head file; None where there is none.

    Raises:
        DamagedHeadFile: It is none.
    """
    if not path.exists():
        return None
    remedy = "restore it from version control"
    try:
        return HeadFile.model_validate(read_json(path, remedy))
    except ValidationError:
        raise DamagedHeadFile(f"{path} is no head of a decision log: {remedy}.") from None
    except UserError as error:
        raise DamagedHeadFile(str(error)) from None


def advance_head_file(path: Path, entry: Entry | None, head: Head | None) -> None:
    """Moves the head file on to an entry and its signed head; never back, should another process have been faster.

    Without an entry it makes the file of an empty log: it is there before the first entry, so that a log without its
    head file is always one that lost it.
    """
    known = read_head_file(path)
    latest = Mark(sequence=entry.sequence, hash=entry.hash) if entry else Mark(sequence=0, hash=GENESIS)
    signed = head
    if known is not None:
        latest = max(latest, known.latest, key=lambda mark: mark.sequence)
        signed = max((each for each in (head, known.signed) if each), key=lambda each: each.sequence, default=None)
    advanced = HeadFile(latest=latest, signed=signed)
    if advanced != known:
        write_json(path, advanced.model_dump())
