"""Ed25519 keys: made, kept, allow-listed by name, and used to sign statements and to check them."""

import base64
import binascii
import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml
from pydantic import Field, field_validator, model_validator

from pipeline.errors import UserError
from pipeline.files import write_atomic
from pipeline.params import Section, parse, read_yaml

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

OTHERS = stat.S_IRWXG | stat.S_IRWXO
PUBLIC_BYTES = 32
NAME_BYTES = 100


class Statement(StrEnum):
    """What kind of statement a signature is for: one made for a review never passes for a certificate."""

    REVIEW = "review"
    WITNESS = "witness"
    CERTIFICATE = "certificate"
    HEAD = "head"


class Reviewer(Section):
    """Someone who may approve versions: by a key of their own, by answering in Airflow, or by either.

    Attributes:
        public_key: Base64 of the 32 raw bytes; None for who only answers in Airflow.
        airflow: Their user name in Airflow; None for who only signs.
        added_at: ISO 8601, UTC.
    """

    public_key: str | None = None
    airflow: str | None = Field(default=None, min_length=1)
    added_at: str = Field(min_length=1)

    @field_validator("public_key")
    @classmethod
    def _is_a_key(cls, text: str | None) -> str | None:
        if text is not None and not is_public(text):
            raise ValueError(f"must be base64 of the {PUBLIC_BYTES} bytes of an Ed25519 public key")
        return text

    @model_validator(mode="after")
    def _can_be_known(self) -> Self:
        if self.public_key is None and self.airflow is None:
            raise ValueError("needs a public_key, the name of an account in Airflow, or both")
        return self


def new_key(path: Path) -> "Ed25519PrivateKey":
    """Makes a private key and writes it as PEM (PKCS 8, no passphrase) that only its owner may read.

    Raises:
        UserError: The file exists: a key is never overwritten, since what it signed would lose its proof.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        # Exclusive, where a rename would overwrite; private from the first moment, whatever the umask.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UserError(f"There is a file {path} already; a key is never overwritten. Name another file.") from None
    try:
        with os.fdopen(file, "wb") as stream:
            os.fchmod(stream.fileno(), 0o600)
            stream.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        path.unlink()
        raise
    return key


def load_private(path: Path) -> "Ed25519PrivateKey":
    """Reads a private key.

    Raises:
        UserError: It is missing, others may read or write it, or it is no Ed25519 key in PEM without a passphrase.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)  # of the very file that is read
            content = stream.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise UserError(
            f"The private key {path} cannot be read: {error.strerror}. Name the file of your key."
        ) from None
    if mode & OTHERS:
        raise UserError(
            f"The private key {path} is open to others (mode {mode:04o}): it may have leaked. Make a new one, or, if "
            f"nobody else had access: chmod 600 {path}"
        )
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UserError(f"{path} is no private key in PEM without a passphrase: {error}.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(f"{path} holds a key of type {type(key).__name__}; an Ed25519 key is needed.")
    return key


def public_text(key: "Ed25519PrivateKey") -> str:
    """The public half of a key: base64 of its 32 raw bytes."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def key_id(public: str) -> str:
    """A short name of a public key: the first 16 hexadecimal digits of the SHA-256 of its raw bytes."""
    return hashlib.sha256(base64.b64decode(public)).hexdigest()[:16]


def is_public(text: str) -> bool:
    """Whether a text is the one base64 form of 32 bytes (a key spelt in two ways would be listed twice)."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) == PUBLIC_BYTES and base64.b64encode(raw).decode() == text


def canonical(payload: Mapping[str, Any]) -> bytes:
    """Canonical JSON: sorted keys, no blanks, UTF-8.

    Raises:
        UserError: It holds what JSON or UTF-8 cannot say (NaN, a path object, half a character).
    """
    try:
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (TypeError, ValueError) as error:  # an encoding error is a value error
        raise UserError(f"A statement cannot be written down to be signed: {error}. Mend the text or number.") from None


def sign(private: "Ed25519PrivateKey", statement: Statement, payload: Mapping[str, Any]) -> str:
    """Signs a payload as a statement of one kind; base64 of 64 bytes."""
    return base64.b64encode(private.sign(_message(statement, payload))).decode()


def verified(public: str, statement: Statement, payload: Mapping[str, Any], signature: str) -> bool:
    """Whether the signature is the key's own, over this payload, as a statement of this kind."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not is_public(public):
        return False
    with contextlib.suppress(binascii.Error, ValueError, UserError, InvalidSignature):
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public))
        key.verify(base64.b64decode(signature, validate=True), _message(statement, payload))
        return True
    return False


def read_public_keys(path: Path) -> list[str]:
    """Public keys of whoever promotes, one a line, comments after `#`; several while a key is being replaced.

    Raises:
        UserError: The file is missing, or a line is no key.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError):
        raise UserError(f"There is no file of public keys {path}. Make the promoter's key first.") from None
    found = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, start=1)]
    keys = [(number, text) for number, text in found if text]
    for number, text in keys:
        if not is_public(text):
            raise UserError(f"{path}, line {number}: expected an Ed25519 public key in base64, received {text!r}.")
    return [text for _, text in keys]


def read_reviewers(path: Path) -> dict[str, Reviewer]:
    """The allow-list of reviewers by name; a missing file lists nobody.

    Raises:
        UserError: The file is malformed, or lists a name or a key twice.
    """
    if not path.exists():
        return {}
    content = read_yaml(path)
    _refuse_repeated(path)
    found: dict[str, Reviewer] = {}
    for name, entry in content.items():
        reviewer = parse(Reviewer, entry, f"{path}, reviewer '{name}'")
        _refuse_taken(path, found, str(name), reviewer)
        found[str(name)] = reviewer
    return found


def add_reviewer(path: Path, name: str, public: str | None = None, *, airflow: str | None = None) -> Reviewer:
    """Puts a reviewer on the allow-list, which counts once it is merged like any change of the repository.

    Who is listed with a key may get an account of Airflow beside it, and the other way round; nothing that is listed
    is replaced.

    Args:
        path: The list.
        name: The reviewer.
        public: Their public key.
        airflow: Their user name in Airflow.

    Raises:
        UserError: The name, the key or the account is taken or malformed.
    """
    check_name(name)
    known = read_reviewers(path)
    given = {key: text for key, text in (("public_key", public), ("airflow", airflow)) if text is not None}
    listed = known.get(name)
    before = listed.model_dump(exclude_none=True) if listed else {}
    if set(before) & set(given):
        raise UserError(f"{path} lists '{name}' already. Choose another name, or remove the old entry first.")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    added = parse(Reviewer, {"added_at": now, **before, **given}, f"reviewer '{name}'")
    _refuse_taken(path, {other: each for other, each in known.items() if other != name}, name, added)
    rows = {each: reviewer.model_dump(exclude_none=True) for each, reviewer in {**known, name: added}.items()}
    write_atomic(path, yaml.safe_dump(rows, sort_keys=False, allow_unicode=True))
    return added


def check_name(name: str) -> None:
    """Refuses a reviewer's name that no list can hold or that would lead a file elsewhere.

    Raises:
        UserError: It is empty, long, unprintable, begins with a dot or holds a slash.
    """
    path = name.startswith(".") or "/" in name or "\\" in name
    if path or name != name.strip() or not name.isprintable() or not 0 < len(name.encode()) <= NAME_BYTES:
        raise UserError(
            f"A reviewer's name has 1 to {NAME_BYTES} bytes of printable characters, no slash and no dot in front, "
            f"received {name[:NAME_BYTES]!r}."
        )


def same_person(one: str, other: str) -> bool:
    """Whether two names are the same but for case and blanks."""
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


def _message(statement: Statement, payload: Mapping[str, Any]) -> bytes:
    return f"segloop {statement.value} v1\n".encode() + canonical(payload)


def _refuse_taken(path: Path, known: Mapping[str, Reviewer], name: str, new: Reviewer) -> None:
    for other, reviewer in known.items():
        if same_person(name, other):
            raise UserError(f"{path} lists '{other}' already; remove that entry first, received '{name}'.")
        if new.public_key is not None and reviewer.public_key == new.public_key:
            raise UserError(f"{path} lists the key of '{name}' already, as that of '{other}': one key, one person.")
        if new.airflow is not None and reviewer.airflow is not None and same_person(new.airflow, reviewer.airflow):
            raise UserError(
                f"{path} lists Airflow's user '{new.airflow}' already, as '{other}': one account, one person."
            )


def _refuse_repeated(path: Path) -> None:
    """YAML's reader takes the last of two equal names without a word: a key could be replaced unseen."""
    node = yaml.compose(path.read_text(encoding="utf-8"))
    assert node is not None  # it was read as a mapping
    names = [key.value for key, _ in node.value]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"{path} lists {repeated} more than once. Keep one entry for each.")
