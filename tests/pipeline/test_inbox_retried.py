"""Tests of `segloop inbox` as a task that is tried again: every rejected batch is told, whichever try rejected it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from inbox_case import items, take, verdicts, write_batch, write_workspace
from ingest_source import names

from pipeline.errors import OutageError
from pipeline.inboxes.folder import FolderStore
from pipeline.inboxes.store import Entry

INBOX = Path("inbox")
ROOT = Path(__file__).resolve().parents[2]
KILLED_AFTER_THE_MOVE = """
import os, signal
from pipeline.command import run
from pipeline.inbox import main
from pipeline.inboxes.folder import FolderStore

move = FolderStore.move

def move_and_die(*arguments):
    move(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

FolderStore.move = move_and_die
run(main)
"""


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace with an empty inbox is the working folder."""
    monkeypatch.chdir(tmp_path)
    write_workspace(tmp_path)
    INBOX.mkdir()


def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, since: datetime) -> tuple[int, list[str]]:
    """Runs the command as a task does: its exit code, and the rejected batches that it tells of."""
    file = tmp_path / "told.json"
    file.unlink(missing_ok=True)
    monkeypatch.setenv("SEGLOOP_OUTCOME", str(file))
    code = take("--since", since.isoformat())
    return code, json.loads(file.read_text())["rejected"]


def test_a_batch_rejected_beside_an_outage_is_told_by_the_next_try(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first try names it, too; a later run, which begins after it, does not tell of it again."""
    begun = datetime.now(UTC)
    (write_batch(INBOX, "bad", names("g1")) / "manifest.json").write_text("no JSON at all")
    write_batch(INBOX, "good", names("g2"))
    entries = FolderStore.entries

    def stumble(store: FolderStore, batch: str) -> Iterator[Entry]:
        if batch == "good":
            message = "The share is away."
            raise OutageError(message)
        return entries(store, batch)

    with monkeypatch.context() as away:
        away.setattr(FolderStore, "entries", stumble)
        assert told(monkeypatch, tmp_path, begun) == (3, ["bad"])
    assert "rejected; the reasons are in their report.json, too: bad." in capsys.readouterr().err
    assert told(monkeypatch, tmp_path, begun) == (1, ["bad"])
    assert told(monkeypatch, tmp_path, datetime.now(UTC)) == (0, [])
    assert verdicts() == {"bad": ["rejected"], "good": ["accepted"]}


def test_a_batch_rejected_by_a_try_that_was_killed_is_told_by_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Killed between the move and its last words, the first try has told nobody."""
    begun = datetime.now(UTC)
    (write_batch(INBOX, "bad", names("g1")) / "manifest.json").write_text("no JSON at all")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SEGLOOP_OUTCOME": str(tmp_path / "first.json")}
    first = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_THE_MOVE, "--since", begun.isoformat()], env=environment, check=False
    )
    assert (first.returncode, (tmp_path / "first.json").exists()) == (-signal.SIGKILL, False)
    assert not (INBOX / "bad").exists()
    assert told(monkeypatch, tmp_path, begun) == (1, ["bad"])


@pytest.mark.parametrize("since", ["yesterday", "2026-05-01T12:00:00", ""])
def test_a_moment_that_is_none_is_the_users_mistake(since: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without its time zone it is not known which it is; nothing is taken."""
    write_batch(INBOX, "may", names("g1"))
    assert take("--since", since) == 2
    assert repr(since) in capsys.readouterr().err
    assert items() == []
