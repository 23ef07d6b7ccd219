"""Moving groups between splits, on the record."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tiny import tiny_items

from pipeline.command import run
from pipeline.part_writer import write_batch
from pipeline.resplit import main
from pipeline.splits import Ledger, LedgerRow, append_ledger, read_ledger

LEDGER = Path("data/splits.csv")
ROWS = [LedgerRow(f"g{number}", side, "first") for number, side in enumerate(("train", "val", "test", "train"))]


def git(*words: str) -> None:
    """Runs git as Ada."""
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@localhost"]
    subprocess.run(["git", *who, *words], check=True, capture_output=True)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of four groups with a ledger in git; what g3 holds, a model selected."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.name")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Ada: of the north")
    items = [replace(item, sampling="selected" if item.group == "g3" else "uniform") for item in tiny_items(groups=4)]
    write_batch(Path("data/dataset"), "first", items, ["camera"])
    append_ledger(LEDGER, Ledger(), ROWS)
    Path("params.yaml").write_text(yaml.safe_dump({"dataset": {"path": "data/dataset", "splits": str(LEDGER)}}))
    git("init", "-q")
    git("add", "data/splits.csv")
    git("commit", "-q", "-m", "start")
    return tmp_path


def resplit(*arguments: str) -> int:
    """Runs the command and returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        run(main, list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_move_is_a_further_row_with_day_name_and_note(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The group changes side, every former row stands, and the cost for the holdout is said."""
    assert resplit("g2", "--to", "train", "--note", "the camera\nwas replaced") == 0
    ledger = read_ledger(workspace / LEDGER)
    assert list(ledger.rows[:-1]) == ROWS
    [move] = ledger.moves
    assert (move.group, move.before, move.after) == ("g2", ("test",), "train")
    assert (move.who, move.note) == ("Ada of the north", "the camera was replaced")
    assert ledger.splits["g2"] == {"train"}
    told = capsys.readouterr().out
    assert "g2: 2 items from test to train" in told
    assert "verdicts of the gate on the former one are void" in told


def test_a_second_run_does_nothing(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A group that lies there already gets no further row."""
    for _ in range(2):
        assert resplit("g2", "--to", "train", "--note", "n") == 0
    assert len(read_ledger(workspace / LEDGER).rows) == len(ROWS) + 1
    assert "nothing to do" in capsys.readouterr().out


def test_a_group_may_move_back(workspace: Path) -> None:
    """A side where the group once was is no repetition."""
    for side in ("val", "train"):
        assert resplit("g0", "--to", side, "--note", "n") == 0
    assert [move.after for move in read_ledger(workspace / LEDGER).moves] == ["val", "train"]


def test_a_rehearsal_writes_nothing(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The dry run tells the same and leaves the ledger as it was."""
    before = (workspace / LEDGER).read_bytes()
    assert resplit("g2", "--to", "train", "--note", "n", "--dry-run") == 0
    assert LEDGER.read_bytes() == before
    assert "g2: 2 items from test to train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("g0", "--to", "test", "--note", "n"), "Models have learnt from 'g0'"),
        (("g3", "--to", "test", "--note", "n", "--force"), "A model selected images of 'g3'"),
        (("g0", "nobody", "--to", "val", "--note", "n"), "The ledger has no group 'nobody'"),
        (("g0", "--to", "val", "--note", "  "), "--note is empty"),
    ],
)
def test_what_must_not_be_is_refused(
    workspace: Path, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What models have learnt from or selected enters no holdout, and nothing is written at a mistake."""
    assert resplit(*arguments) == 2
    assert words in capsys.readouterr().err
    assert list(read_ledger(workspace / LEDGER).rows) == ROWS


def test_force_moves_into_the_holdout_and_says_what_it_costs(
    capsys: pytest.CaptureFixture[str], workspace: Path
) -> None:
    """The move stands in the ledger, and the scores that flatter are named."""
    assert resplit("g0", "--to", "test", "--note", "n", "--force") == 0
    assert read_ledger(workspace / LEDGER).splits["g0"] == {"test"}
    assert "their scores flatter them" in capsys.readouterr().out


def test_a_ledger_edited_by_hand_is_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row of git's ledger that now says something else stops the move, and the message shows both."""
    LEDGER.write_text((workspace / LEDGER).read_text().replace("g2,test,first", "g2,val,first"))
    assert resplit("g0", "--to", "val", "--note", "n") == 2
    assert "line 4 was 'g2,test,first' in HEAD and is now 'g2,val,first'" in capsys.readouterr().err


def test_a_ledger_that_a_stage_makes_is_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stage would write over the move."""
    (workspace / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"made": {"cmd": "x", "outs": [str(LEDGER)]}}}))
    assert resplit("g0", "--to", "val", "--note", "n") == 2
    assert "made by stage made" in capsys.readouterr().err
