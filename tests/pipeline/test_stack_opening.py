"""Tests of what is made before a stack starts: the promoter's key, and where it may not be."""

import shutil
import subprocess
from pathlib import Path

import pytest
from stack_case import STACK
from workspace import ROOT

from pipeline.errors import UserError
from pipeline.params import parse
from pipeline.stack import sandbox
from pipeline.stack.opening import hidden, make_folders, make_home, make_key, warn_of_git
from pipeline.stack.processes import denied_folders, sandboxed
from pipeline.stack.settings import Stack, StackParams, make_stack

PARAMS = parse(StackParams, STACK, "test")


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack of a checkout without keys, with a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "temporary"))
    monkeypatch.delenv("SEGLOOP_PROMOTER_KEY", raising=False)
    checkout = tmp_path / "checkout"
    (checkout / "data").mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", checkout / "params.yaml")
    return Stack(checkout, PARAMS)


def test_a_project_that_cannot_be_committed_is_told(stack: Stack) -> None:
    """Before a DAG fails by it; nothing is said once it can."""
    said: list[str] = []
    warn_of_git(stack, said.append)
    assert "no git repository" in said.pop()
    for words in ("init -q", "config user.name a", "config user.email a@b", "commit -q --allow-empty -m a"):
        subprocess.run(["git", *words.split()], cwd=stack.root, check=True)
    warn_of_git(stack, said.append)
    assert not said


def test_the_promoters_key_is_made_once(stack: Stack) -> None:
    """The private half in the home, the public one in the checkout; the second time both stay."""
    assert make_key(stack, print)
    files = [Path.home() / ".config" / "segloop" / "promoter.pem", stack.root / "data" / "promoter.pub"]
    first = [file.read_bytes() for file in files]
    assert make_key(stack, print)
    assert [file.read_bytes() for file in files] == first


def test_a_project_whose_promoter_is_elsewhere_goes_without(stack: Stack) -> None:
    """Only the public half is here: nothing is made, and it is said why there is no promoter."""
    make_key(stack, print)
    shutil.rmtree(Path.home())
    said: list[str] = []
    assert not make_key(stack, said.append)
    assert "data/promoter.pub" in said[0]
    assert not Path.home().exists()


@pytest.mark.parametrize("place", ["promoter.pem", "keys/promoter.pem", "../promoter.pem"])
def test_a_key_that_cannot_be_kept_from_tasks_is_refused(
    stack: Stack, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the project, below it or in the folder above it: closing that folder would close the project."""
    monkeypatch.setenv("SEGLOOP_PROMOTER_KEY", str((stack.root / place).resolve()))
    with pytest.raises(UserError, match="lie in one another"):
        make_key(stack, print)


def test_a_key_among_temporary_files_is_refused(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks could not read what they put there."""
    monkeypatch.setenv("SEGLOOP_PROMOTER_KEY", str(tmp_path / "temporary" / "keys" / "promoter.pem"))
    with pytest.raises(UserError, match="TMPDIR"):
        make_key(stack, print)


def test_a_key_with_another_name_is_refused(stack: Stack, tmp_path: Path) -> None:
    """A hard link elsewhere would be a way around the sandbox."""
    make_key(stack, print)
    (tmp_path / "copy").hardlink_to(Path.home() / ".config" / "segloop" / "promoter.pem")
    with pytest.raises(UserError, match="hard link"):
        make_key(stack, print)


@pytest.mark.skipif(not sandbox.works(), reason="this kernel has no Landlock that can be used")
@pytest.mark.parametrize("folder", [".cache", ".local/share", ".config/matplotlib"])
def test_programs_find_their_own_files_again(stack: Stack, folder: str) -> None:
    """In a fresh home a task makes a folder for weights or fonts, writes in it, and reads what it has written."""
    subprocess.run(["git", "init", "-q", str(stack.root)], check=True)
    make_folders(stack)
    made = Path.home() / folder / "of-a-program"
    command = f"mkdir -p {made} && echo w > {made}/file && cat {made}/file"
    line = [*sandboxed(denied_folders()), "sh", "-c", command]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("w\n", "")


def test_a_home_that_nobody_may_write_in_is_left_alone(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks cannot make folders there either."""
    (stack.root / "home").write_text("a file")
    monkeypatch.setenv("HOME", str(stack.root / "home"))
    make_home()
    assert (stack.root / "home").read_text() == "a file"


def test_the_password_of_postgres_is_hidden_from_logs(tmp_path: Path) -> None:
    """It is struck like those of the stack's own, as it stands in the address and as it was meant."""
    from pipeline.stack.accounts import Secrets

    secrets = Secrets({"admin": "a"}, "j", "s", "f")
    stack = make_stack(tmp_path, PARAMS, {"SEGLOOP_POSTGRES": "postgresql://u:p%40ss@h:1"})
    assert hidden(stack, secrets) == ["a", "j", "s", "f", "p%40ss", "p@ss"]
