"""Tests of a stack's secrets: made once, kept to their owner, and struck from what is shown."""

import base64
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from stack_case import STACK

from pipeline.errors import UserError
from pipeline.params import parse
from pipeline.stack.accounts import make_secrets, passwords_file, promoters_password_file, read_secrets, struck
from pipeline.stack.settings import Stack, StackParams


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack in an empty checkout, with a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SEGLOOP_PROMOTER_KEY", raising=False)
    return Stack(tmp_path / "checkout", parse(StackParams, STACK, "test"))


def test_secrets_are_made_once(stack: Stack) -> None:
    """The second time everything is as it was, and nothing is to be shown."""
    assert make_secrets(stack)
    first = read_secrets(stack)
    assert not make_secrets(stack)
    assert read_secrets(stack) == first
    assert len(set(first.values())) == len(first.values()) == 7


def test_keys_have_the_sizes_that_airflow_wants(stack: Stack) -> None:
    """64 bytes for signatures, 32 for Fernet."""
    make_secrets(stack)
    secrets = read_secrets(stack)
    assert [len(base64.urlsafe_b64decode(each)) for each in (secrets.jwt, secrets.session, secrets.fernet)] == [
        64,
        64,
        32,
    ]


def test_only_the_owner_reads_the_files(stack: Stack) -> None:
    """Files have mode 600, the promoter's password lies beside its key, and a file that was opened is refused."""
    make_secrets(stack)
    handed = promoters_password_file(stack)
    for file in (passwords_file(stack), passwords_file(stack).with_name("keys.json"), handed):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert handed.parent == Path.home() / ".config" / "segloop"
    assert handed.read_text().strip() == read_secrets(stack).passwords["promoter"]
    passwords_file(stack).chmod(0o644)
    with pytest.raises(UserError, match="open to others"):
        read_secrets(stack)


def test_a_password_that_is_missing_is_made_and_the_rest_kept(stack: Stack) -> None:
    """A user that a later version adds gets a password; one that was changed by hand stays."""
    make_secrets(stack)
    file = passwords_file(stack)
    file.write_text(json.dumps({"admin": "my own"}))
    with pytest.raises(UserError, match="promoter, reviewer, viewer"):
        read_secrets(stack)
    assert make_secrets(stack)
    assert read_secrets(stack).passwords["admin"] == "my own"
    assert all(read_secrets(stack).passwords.values())


def test_secrets_that_lay_in_the_checkout_move_out(stack: Stack) -> None:
    """Keys are kept, since the database is read with them; passwords that tasks may have read are made anew."""
    make_secrets(stack)
    before = read_secrets(stack)
    stack.folder.mkdir(parents=True)
    for name in ("passwords.json", "keys.json"):
        passwords_file(stack).with_name(name).rename(stack.folder / name)
    assert make_secrets(stack)
    after = read_secrets(stack)
    assert list(stack.folder.iterdir()) == []
    assert (after.fernet, after.jwt) == (before.fernet, before.jwt)
    assert set(after.passwords.values()) & set(before.passwords.values()) == set()


def test_two_checkouts_have_secrets_of_their_own(stack: Stack) -> None:
    """Both lie in one folder of the home."""
    other = replace(stack, root=stack.root.with_name("other"))
    assert make_secrets(stack)
    assert make_secrets(other)
    assert set(read_secrets(stack).values()) & set(read_secrets(other).values()) == set()


def test_a_damaged_file_is_told(stack: Stack) -> None:
    """The message says what to do."""
    make_secrets(stack)
    passwords_file(stack).write_text("{")
    with pytest.raises(UserError, match="remove it and run `segloop up`"):
        read_secrets(stack)


def test_secrets_are_struck_from_a_line() -> None:
    """Every one, wherever it stands."""
    assert struck("a=one b=two one", ["one", "two"]) == "a=*** b=*** ***"
