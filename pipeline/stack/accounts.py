"""Accounts and secrets of a stack: made once by the system's generator, kept in files that only their owner reads.

They lie beside the promoter's keys in the home folder and not in the checkout: to keep tasks from reading them there
would keep tasks from all that is written anew directly in the checkout, see `sandbox`.
"""

import base64
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError
from pipeline.files import read_json, sha256_bytes
from pipeline.registry_access import KEYS, key_path
from pipeline.stack.settings import Stack

# Roles of Airflow's simple auth manager. A reviewer answers approvals; the promoter only reads who did.
USERS = {"admin": "admin", "reviewer": "user", "viewer": "viewer", "promoter": "viewer"}
FOR_PEOPLE = ("admin", "reviewer", "viewer")
PASSWORD_BYTES = 18
KEY_BYTES = {"jwt": 64, "session": 64, "fernet": 32}
OTHERS = 0o077


@dataclass(frozen=True)
class Secrets:
    """What nobody but the stack's owner may know.

    Attributes:
        passwords: By user.
        jwt: Signs Airflow's tokens; the same for all of its processes.
        session: Signs the sessions of its UI.
        fernet: Encrypts connections in its database.
    """

    passwords: dict[str, str]
    jwt: str
    session: str
    fernet: str

    def values(self) -> list[str]:
        """All of them, to be struck from logs."""
        return [*self.passwords.values(), self.jwt, self.session, self.fernet]


def secrets_folder() -> Path:
    """Where the secrets of all stacks of this account are: only Airflow's web server needs to read in it."""
    return KEYS.expanduser().parent / "segloop-airflow"


def passwords_file(stack: Stack) -> Path:
    """Where the passwords are, in the form that Airflow reads."""
    return _own(stack) / "passwords.json"


def promoters_password_file(stack: Stack) -> Path:
    """Where the promoter finds the password of its account: beside its key, for each checkout another."""
    return key_path().absolute().parent / f"airflow-{_digest(stack)}.password"


def make_secrets(stack: Stack) -> bool:
    """Makes what is missing of passwords and keys, and leaves what is there.

    Returns:
        Whether a password was made: then they are to be shown, this once.

    Raises:
        UserError: A file of secrets is damaged, or open to others.
    """
    _own(stack).mkdir(mode=0o700, parents=True, exist_ok=True)
    _move_in(stack)
    made = _complete(passwords_file(stack), dict.fromkeys(USERS, PASSWORD_BYTES))
    _complete(_keys_file(stack), KEY_BYTES)
    if "promoter" not in stack.without:
        _hand_over(stack)
    return made


def read_secrets(stack: Stack) -> Secrets:
    """The secrets that `make_secrets` has made.

    Raises:
        UserError: They are missing, damaged, or open to others.
    """
    passwords, keys = _read(passwords_file(stack)), _read(_keys_file(stack))
    lacking = sorted((set(USERS) - set(passwords)) | (set(KEY_BYTES) - set(keys)))
    if lacking:
        raise UserError(f"{_own(stack)} lacks the secrets of {', '.join(lacking)}: run `segloop up`.")
    return Secrets({user: passwords[user] for user in USERS}, keys["jwt"], keys["session"], keys["fernet"])


def struck(line: str, values: Iterable[str]) -> str:
    """A line with every secret in it replaced by stars."""
    for value in values:
        line = line.replace(value, "***")
    return line


def _keys_file(stack: Stack) -> Path:
    return _own(stack) / "keys.json"


def _own(stack: Stack) -> Path:
    return secrets_folder() / _digest(stack)


def _digest(stack: Stack) -> str:
    return sha256_bytes(str(stack.root).encode())[:8]


def _move_in(stack: Stack) -> None:
    """Takes the secrets along that earlier releases kept in the checkout; what tasks may have read is made anew."""
    keys, passwords = stack.folder / "keys.json", stack.folder / "passwords.json"
    if keys.exists() and not _keys_file(stack).exists():
        _write_private(_keys_file(stack), keys.read_text(encoding="utf-8"))  # Fernet's: the database is read with it
    for old in (keys, passwords):
        old.unlink(missing_ok=True)


def _hand_over(stack: Stack) -> None:
    file, password = promoters_password_file(stack), _read(passwords_file(stack))["promoter"]
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_private(file, password + "\n")


def _complete(file: Path, wanted: dict[str, int]) -> bool:
    there = _read(file) if file.exists() else {}
    missing = {name: _new(size) for name, size in wanted.items() if name not in there}
    if missing:
        _write_private(file, json.dumps({**there, **missing}, indent=2) + "\n")
    return bool(missing)


def _new(size: int) -> str:
    # A Fernet key is 32 bytes in URL-safe base64 with its padding; the others may as well be.
    return base64.urlsafe_b64encode(secrets.token_bytes(size)).decode()


def _read(file: Path) -> dict[str, str]:
    content = read_json(file, "remove it and run `segloop up`, which makes new ones")
    if file.stat().st_mode & OTHERS:
        raise UserError(f"{file} is open to others: they may know its secrets. Remove it and run `segloop up`.")
    return {str(name): str(value) for name, value in content.items()}


def _write_private(file: Path, text: str) -> None:
    """Writes a file whole that only its owner may read, from its first moment on."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
