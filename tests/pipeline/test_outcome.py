"""What commands tell programs."""

import json
from pathlib import Path

import pytest

from pipeline.outcome import VARIABLE, tell


def test_facts_gather_in_the_file_that_the_caller_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later facts join the earlier ones, and a name that is told again has its last value."""
    file = tmp_path / "outcome.json"
    file.touch()  # as a caller makes it
    monkeypatch.setenv(VARIABLE, str(file))
    tell(release="data/v1", new=True)
    tell(new=False, items=3)
    assert json.loads(file.read_text(encoding="utf-8")) == {"release": "data/v1", "new": False, "items": 3}


def test_nothing_is_written_when_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable a command of a person leaves no file behind."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    tell(release="data/v1")
    assert list(tmp_path.iterdir()) == []
