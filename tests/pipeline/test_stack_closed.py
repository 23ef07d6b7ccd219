"""Tests of what a running stack can no longer read in the home folder."""

from pathlib import Path

import pytest

from pipeline.stack.closed import closed_since, snapshot


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with keys, git's settings and a credentials' folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".config" / "segloop").mkdir(parents=True)
    (tmp_path / ".gitconfig").write_text("[user]")
    (tmp_path / ".aws").mkdir()
    return tmp_path


def test_a_replaced_file_is_told(home: Path) -> None:
    """Git's settings written anew, and a folder that is new, are closed; what was changed in place is not."""
    denied = [home / ".config" / "segloop"]
    before = snapshot(denied)
    assert set(before) == {str(home / ".gitconfig"), str(home / ".aws")}
    (home / ".aws" / "credentials").write_text("new, in a folder that was open")
    (home / ".gitconfig").write_text("changed in place")
    assert closed_since(before, denied) == []
    (home / ".gitconfig.lock").write_text("as git does")
    (home / ".gitconfig.lock").replace(home / ".gitconfig")
    (home / ".config" / "dvc").mkdir()
    assert closed_since(before, denied) == [str(home / ".config" / "dvc"), str(home / ".gitconfig")]
