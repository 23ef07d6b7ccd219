"""Tests of the keys, and of the list of those whose keys count."""

import base64
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from decisions import INTRUDER, PROMOTER, REVIEWER_KEYS

from pipeline.decisions.keys import (
    Statement,
    add_reviewer,
    canonical,
    is_public,
    key_id,
    load_private,
    new_key,
    public_text,
    read_public_keys,
    read_reviewers,
    sign,
    verified,
)
from pipeline.errors import UserError

ALICE, BOB = (public_text(key) for key in REVIEWER_KEYS.values())
PAYLOAD = {"version": 3, "note": "schön"}


def test_a_new_key_is_its_owners_alone(tmp_path: Path) -> None:
    """The file is readable by its owner only, and its new folder too, however lax the umask is."""
    before = os.umask(0)
    try:
        key = new_key(tmp_path / "keys" / "alice.pem")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "keys" / "alice.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert public_text(load_private(tmp_path / "keys" / "alice.pem")) == public_text(key)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """Making a key where one lies is refused, and the old one stays."""
    new_key(tmp_path / "alice.pem")
    before = (tmp_path / "alice.pem").read_bytes()
    with pytest.raises(UserError, match="never overwritten"):
        new_key(tmp_path / "alice.pem")
    assert (tmp_path / "alice.pem").read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """A key that group or world may read or write is not used, and the message gives its mode."""
    path = tmp_path / "alice.pem"
    new_key(path)
    path.chmod(mode)
    with pytest.raises(UserError, match=f"mode {mode:04o}"):
        load_private(path)


def _rsa() -> bytes:
    key = generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _locked() -> bytes:
    return PROMOTER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "no private key"), (b"\xff\x00", "no private key"), (_rsa(), "Ed25519"), (_locked(), "without a pass")],
)
def test_what_is_no_usable_key_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    """An empty file, rubbish, a key of another kind and one with a passphrase each get a clear error."""
    path = tmp_path / "some.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UserError, match=said):
        load_private(path)


def test_a_missing_key_is_told(tmp_path: Path) -> None:
    """A missing file is the user's mistake, named by its path."""
    with pytest.raises(UserError, match=r"none\.pem cannot be read"):
        load_private(tmp_path / "none.pem")


def test_a_signature_holds_for_its_key_statement_and_payload_only() -> None:
    """Another key, another kind of statement, another payload or another signature does not verify."""
    public, signature = public_text(PROMOTER), sign(PROMOTER, Statement.REVIEW, PAYLOAD)
    assert verified(public, Statement.REVIEW, dict(reversed(PAYLOAD.items())), signature)
    assert not verified(public_text(INTRUDER), Statement.REVIEW, PAYLOAD, signature)
    assert not verified(public, Statement.CERTIFICATE, PAYLOAD, signature)
    assert not verified(public, Statement.REVIEW, {**PAYLOAD, "version": 4}, signature)
    assert not verified(public, Statement.REVIEW, PAYLOAD, sign(INTRUDER, Statement.REVIEW, PAYLOAD))


@pytest.mark.parametrize("signature", ["", "?", "AAAA", "ä", base64.b64encode(bytes(64)).decode()])
def test_rubbish_is_no_signature(signature: str) -> None:
    """What is no base64 of a signature is refused, not raised."""
    assert not verified(public_text(PROMOTER), Statement.HEAD, PAYLOAD, signature)


def test_rubbish_is_no_public_key() -> None:
    """A malformed public key verifies nothing."""
    assert not verified("rubbish", Statement.HEAD, PAYLOAD, sign(PROMOTER, Statement.HEAD, PAYLOAD))


def test_a_public_key_has_one_spelling() -> None:
    """Base64 lets the last bits vary; only the canonical form counts, or one key could be listed twice."""
    last = {"A": "B", "E": "F", "I": "J", "M": "N", "Q": "R", "U": "V", "Y": "Z", "c": "d", "g": "h"}
    last |= {"k": "l", "o": "p", "s": "t", "w": "x", "0": "1", "4": "5", "8": "9"}
    other = ALICE[:-2] + last[ALICE[-2]] + "="
    assert base64.b64decode(other) == base64.b64decode(ALICE)
    assert is_public(ALICE)
    assert not is_public(other)


def test_a_key_id_is_short_and_its_keys_own() -> None:
    """Sixteen hexadecimal digits, different for different keys."""
    assert len(key_id(ALICE)) == 16
    assert key_id(ALICE) != key_id(BOB)


@pytest.mark.parametrize("value", [float("nan"), Path("x"), "\ud800"])
def test_what_json_cannot_say_is_not_signed(value: object) -> None:
    """NaN, objects and half characters are the user's mistake."""
    with pytest.raises(UserError, match="cannot be written down"):
        canonical({"value": value})


def test_a_reviewer_is_added_and_read_back(tmp_path: Path) -> None:
    """The list keeps its order and its keys; a missing file lists nobody."""
    path = tmp_path / "reviewers.yaml"
    assert read_reviewers(path) == {}
    add_reviewer(path, "alice", ALICE)
    add_reviewer(path, "Jürgen B.", BOB)
    assert {name: each.public_key for name, each in read_reviewers(path).items()} == {"alice": ALICE, "Jürgen B.": BOB}


@pytest.mark.parametrize(
    ("name", "public", "said"),
    [
        ("alice", BOB, "lists 'alice' already"),
        ("Alice", BOB, "lists 'alice' already"),
        ("bob", ALICE, "one key, one person"),
        ("bob", "rubbish", "must be base64"),
        (" bob", BOB, "printable"),
        ("", BOB, "printable"),
        ("b\nob", BOB, "printable"),
    ],
)
def test_a_reviewer_needs_a_name_and_a_key_of_their_own(tmp_path: Path, name: str, public: str, said: str) -> None:
    """A taken or malformed name or key is refused, and the list stays as it was."""
    path = tmp_path / "reviewers.yaml"
    add_reviewer(path, "alice", ALICE)
    before = path.read_text()
    with pytest.raises(UserError, match=said):
        add_reviewer(path, name, public)
    assert path.read_text() == before


def _row(name: str, public: str) -> str:
    return f"{name}: {{public_key: {public}, added_at: '2026-01-01'}}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_row("alice", ALICE) + _row("alice", BOB), "more than once"),
        (_row("alice", ALICE) + _row("bob", ALICE), "one key, one person"),
        (_row("alice", "rubbish"), "must be base64"),
        ("alice: {public_key: 3}\n", "added_at"),
        ("- alice\n", "must hold a mapping"),
    ],
)
def test_a_doubtful_list_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """A name twice (YAML would take the last without a word), a key twice, or a malformed entry is told."""
    path = tmp_path / "reviewers.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        read_reviewers(path)


def test_public_keys_are_read_one_a_line(tmp_path: Path) -> None:
    """Comments and blank lines are skipped, the order is kept."""
    path = tmp_path / "promoter.pub"
    path.write_text(f"# the promoter\n{ALICE}\n\n{BOB}  # until the first of May\n")
    assert read_public_keys(path) == [ALICE, BOB]


def test_a_malformed_public_key_is_told_by_its_line(tmp_path: Path) -> None:
    """The message names the line."""
    path = tmp_path / "promoter.pub"
    path.write_text(f"{ALICE}\nrubbish\n")
    with pytest.raises(UserError, match=r"promoter\.pub, line 2"):
        read_public_keys(path)


def test_missing_public_keys_are_told(tmp_path: Path) -> None:
    """A missing file is the user's mistake."""
    with pytest.raises(UserError, match="no file of public keys"):
        read_public_keys(tmp_path / "promoter.pub")
