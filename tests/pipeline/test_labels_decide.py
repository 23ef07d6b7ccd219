"""Decisions about doubted items: recorded, removed, repeated without harm."""

from pathlib import Path

import pytest
from annotation_case import DATASET, DECISIONS, Case, make_case
from ingest_source import world

from pipeline import labels_decide
from pipeline.label_qa.decisions import read_decisions
from pipeline.parts import read_index


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """The workspace."""
    return make_case(tmp_path, monkeypatch)


def test_a_decision_is_recorded(case: Case) -> None:
    """Who decided what about which revision is a row, with what the mask was suspected of."""
    assert case.decide("item-004", "keep") == 0
    (row,) = read_decisions(DECISIONS).rows
    assert (row.item_id, row.revision, row.decision, row.kind, row.by, row.note) == (
        "item-004",
        1,
        "keep",
        "shifted",
        "alice",
        "looked at it",
    )


def test_an_item_on_no_list_can_be_decided_about(case: Case) -> None:
    """Without a suspicion the kind stays empty."""
    case.decide("item-000", "relabel")
    assert read_decisions(DECISIONS).rows[0].kind == ""


def test_a_removed_item_is_gone(case: Case) -> None:
    """A tombstone of a higher revision takes the item out and keeps its facts; its row names the mask as it was."""
    assert case.decide("item-004", "remove") == 0
    assert "item-004" not in case.revisions()
    rows = read_index(DATASET, tombstones=True).set_index("item_id")
    assert rows.loc["item-004", ["revision", "group", "camera"]].tolist() == [2, "g2", "c0"]
    assert str(rows.loc["item-004", "batch"]).startswith("removed-")
    assert read_decisions(DECISIONS).rows[0].revision == 1


@pytest.mark.parametrize(("decision", "told"), [("remove", True), ("keep", False)])
def test_a_removal_from_the_holdout_is_told(
    case: Case, decision: str, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A holdout with fewer items is another one, on which nothing has been judged; a kept item changes nothing."""
    ledger = Path("data/splits.csv")
    ledger.write_text(ledger.read_text().replace("g2,train", "g2,test"))
    assert case.decide("item-004", decision) == 0
    assert ("1 of these are in the holdout: its version changes" in capsys.readouterr().out) == told


def test_the_same_decision_twice_changes_nothing(case: Case) -> None:
    """A repeated command finds all done."""
    for decision in ("keep", "remove"):
        case.decide("item-004", decision)
        before = world(Path.cwd())
        assert case.decide("item-004", decision) == 0
        assert world(Path.cwd()) == before


def test_a_removal_that_was_cut_off_is_finished(case: Case) -> None:
    """Where only the decision was written, the same command writes the tombstone."""
    case.decide("item-004", "remove")
    for part in DATASET.glob("removed-*/*"):
        part.unlink()
    next(DATASET.glob("removed-*")).rmdir()
    assert "item-004" in case.revisions()
    assert case.decide("item-004", "remove") == 0
    assert "item-004" not in case.revisions()
    assert len(read_decisions(DECISIONS).rows) == 1


def test_each_removal_is_a_batch_of_its_own(case: Case) -> None:
    """Batches never change, so the second removal of a day gets the next number."""
    case.decide("item-004", "remove")
    case.decide("item-001", "remove")
    assert sorted(folder.name[-3:] for folder in DATASET.glob("removed-*")) == ["001", "002"]


def test_what_is_removed_cannot_be_kept(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """A decision about an item that is gone is a mistake, and told."""
    case.decide("item-004", "remove")
    assert case.decide("item-004", "keep") == 2
    assert "has been removed" in capsys.readouterr().err


def test_an_unknown_item_stops_everything(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped name records nothing of the others either."""
    before = world(Path.cwd())
    given = ("--decision", "remove", "--by", "alice", "--note", "x")
    assert case.call(labels_decide.main, "item-000", "item-0001", *given) == 2
    assert "no item 'item-0001'" in capsys.readouterr().err
    assert world(Path.cwd()) == before


@pytest.mark.parametrize("decision", ["keep", "remove", "relabel"])
def test_a_rehearsal_writes_nothing(case: Case, decision: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry-run` tells what would happen."""
    before = world(Path.cwd())
    assert case.decide("item-004", decision, "--dry-run") == 0
    assert f"{decision}: item-004, revision 1 (shifted)" in capsys.readouterr().out
    assert world(Path.cwd()) == before


@pytest.mark.parametrize("note", ["", "  ", "two\nlines", "a\x1b[2J"])
def test_a_note_is_one_line(case: Case, note: str) -> None:
    """What would break the list, or a terminal, is refused."""
    given = ("--decision", "keep", "--by", "alice", "--note", note)
    assert case.call(labels_decide.main, "item-000", *given) == 2
    assert not DECISIONS.exists()


def test_a_stages_own_dataset_is_not_touched(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """A tombstone in the demo's folder would be deleted by the stage that makes it."""
    Path("dvc.yaml").write_text("stages:\n  demo_data:\n    cmd: x\n    outs: [data/dataset]\n")
    assert case.decide("item-004", "remove") == 2
    assert "made by stage demo_data" in capsys.readouterr().err
    assert case.decide("item-004", "keep") == 0


def test_a_damaged_file_of_decisions_stops_the_removal(case: Case) -> None:
    """Nothing is removed that cannot be recorded."""
    DECISIONS.write_text("something else\n")
    assert case.decide("item-004", "remove") == 2
    assert "item-004" in case.revisions()
