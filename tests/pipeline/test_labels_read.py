"""Answers read back: changed masks are new revisions, unchanged ones are kept, the rest is told."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_case import DATASET, DECISIONS, LIMITS, Case, annotation, answered, brush, doubt, make_case
from defusedxml import ElementTree
from ingest_source import world

from pipeline import labels_read
from pipeline.images import decode_mask
from pipeline.label_qa.decisions import read_decisions, settled
from pipeline.parts import Item, read_index

# By Label Studio 1.23.2, of the three tasks of this workspace: the first taken over as it is, the second with the upper
# left quarter drawn over as `human`, the third skipped.
EXPORTED = Path(__file__).parent.parent / "data" / "label_studio_export.json"
CVAT_ANSWER, STUDIO_ANSWER = Path("answer.xml"), Path("answer.json")
CORNER = '<mask label="human" rle="0, 120" left="0" top="0" width="12" height="10" z_order="3"></mask>'


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """The workspace."""
    return make_case(tmp_path, monkeypatch)


def cvat_answer(
    draw: dict[int, str], change: Callable[[str], str] = str, at: str = "", marked: tuple[int, ...] = ()
) -> Path:
    """What CVAT would export after shapes were added to some images, by number, and marks deleted but of some."""
    root = ElementTree.parse("review/annotations.xml").getroot()
    for number, image in enumerate(root.findall("image")):
        for mark in image.findall("*[@label='review']") if number not in marked else []:
            image.remove(mark)
        image.extend(ElementTree.fromstring(f"<x>{draw.get(number, '')}</x>"))
    text = ElementTree.tostring(root, encoding="unicode").replace("<size>", f"<updated>{at}</updated><size>")
    CVAT_ANSWER.write_text(change(text.replace("<version>", "<dumped>2026</dumped><version>")))
    return CVAT_ANSWER


def studio_answer(draw: dict[int, list[dict[str, Any]]]) -> Path:
    """What Label Studio would export after results were added to some tasks, by number."""
    tasks = answered(json.loads(Path("review/tasks.json").read_text()))
    for number, results in draw.items():
        tasks[number]["annotations"][0]["result"].extend(results)
    STUDIO_ANSWER.write_text(json.dumps(tasks))
    return STUDIO_ANSWER


def corner(case: Case, item: str) -> np.ndarray:
    """The mask of an item with the upper left quarter drawn over."""
    mask = decode_mask(case.items[item].mask, LIMITS).copy()
    mask[:10, :12] = 3
    return mask


def region(label: str = "human") -> dict[str, Any]:
    """The upper left quarter as Label Studio has it."""
    drawn = np.zeros((20, 24), bool)
    drawn[:10, :12] = True
    return brush(drawn, label)


def kept() -> dict[str, tuple[int, str]]:
    """What is recorded as kept: revision and kind by item."""
    return {row.item_id: (row.revision, row.kind) for row in read_decisions(DECISIONS).rows if row.decision == "keep"}


@pytest.mark.parametrize("tool", ["cvat", "label-studio"])
def test_a_changed_mask_is_a_new_revision(case: Case, tool: str) -> None:
    """What was drawn over is in the dataset pixel by pixel; every other item is as it was."""
    case.export(tool)
    file = cvat_answer({1: CORNER}) if tool == "cvat" else studio_answer({1: [region()]})
    assert case.read(file, tool) == 0
    assert case.revisions() == {item: 1 + (item == "item-001") for item in case.items}
    for item, mask in case.masks().items():
        expected = corner(case, item) if item == "item-001" else decode_mask(case.items[item].mask, LIMITS)
        assert np.array_equal(mask, expected)


@pytest.mark.parametrize("tool", ["cvat", "label-studio"])
def test_an_unchanged_mask_is_kept(case: Case, tool: str) -> None:
    """What came back as it was is settled, so that nobody is asked again; the changed one is asked anew if need be."""
    case.export(tool)
    case.read(cvat_answer({1: CORNER}) if tool == "cvat" else studio_answer({1: [region()]}), tool)
    assert kept() == {"item-004": (1, "shifted"), "item-002": (1, "shifted")}
    case.suspect(doubt("item-004"), doubt("item-001", revision=2), doubt("item-002"))
    asked = case.export("cvat", out="second")
    assert [each["suspect"]["item_id"] for each in asked["tasks"]] == ["item-001"]


def test_a_changed_mask_of_the_holdout_is_told(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """A holdout with another mask is another one, on which nothing has been judged."""
    ledger = Path("data/splits.csv")
    ledger.write_text(ledger.read_text().replace("g0,train", "g0,test"))
    case.export("cvat")
    case.read(cvat_answer({1: CORNER}), "cvat")
    assert "1 of these are in the holdout: its version changes" in capsys.readouterr().out


def test_a_new_revision_keeps_what_is_known(case: Case) -> None:
    """Group, place and slices stay; the annotator is who annotated."""
    case.export("cvat")
    case.read(cvat_answer({1: CORNER}), "cvat", "--by", "ada")
    row = read_index(DATASET).set_index("item_id").loc["item-001"]
    assert row[["group", "sequence_index", "camera", "annotator", "batch"]].tolist() == ["g0", 1, "c1", "ada", "again"]
    assert row["sha256"] == case.items["item-001"].sha256


def test_a_new_revision_has_no_time_of_the_former_annotator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long somebody drew an earlier mask says nothing of the one who changed it."""

    def timed(items: list[Item]) -> list[Item]:
        return [replace(each, slices=each.slices | {"annotation_s": "40"}) for each in items]

    monkeypatch.setattr("annotation_case.SLICES", ["camera", "annotation_s"])
    (tmp_path / "timed").mkdir()
    case = make_case(tmp_path / "timed", monkeypatch, change=timed)
    case.export("cvat")
    case.read(cvat_answer({1: CORNER}), "cvat", "--by", "ada")
    rows = read_index(DATASET).set_index("item_id")
    assert rows["annotation_s"].isna().to_dict() == {item: item == "item-001" for item in case.items}
    assert rows.loc["item-001", "camera"] == "c1"


def test_a_rehearsal_tells_what_changed_in_each_mask(
    case: Case, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row a mask: its changed pixels, how many became void, and from which class to which."""
    monkeypatch.setenv("COLUMNS", "200")
    case.export("cvat")
    file = cvat_answer({1: CORNER})
    before, after = decode_mask(case.items["item-001"].mask, LIMITS), corner(case, "item-001")
    capsys.readouterr()
    case.read(file, "cvat", "--dry-run")
    told = next(line for line in capsys.readouterr().out.splitlines() if "item-001" in line)
    cells = [cell.strip() for cell in told.strip("\u2502 ").split("\u2502")]
    assert cells[:3] == ["item-001", str((before != after).sum()), "0"]
    assert f"void to human {(before[:10, :12] == 255).sum()} px" in cells[3]


def test_an_answer_read_into_another_batch_again_is_not_outdated(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own revision does not stand against it: that it was read already is said, and nothing is made."""
    case.export("cvat")
    file = cvat_answer({1: CORNER})
    case.read(file, "cvat")
    capsys.readouterr()
    assert case.read(file, "cvat", "--batch", "third") == 0
    said = capsys.readouterr().out
    assert "1 were read already and stand in the dataset, first 'item-001' as revision 2" in said
    assert "outdated" not in said
    assert not (DATASET / "third").exists()


def test_reading_twice_changes_nothing(case: Case) -> None:
    """The same answer into the same batch finds all done."""
    case.export("cvat")
    file = cvat_answer({1: CORNER})
    case.read(file, "cvat")
    before = world(Path.cwd())
    assert case.read(file, "cvat") == 0
    assert world(Path.cwd()) == before


@pytest.mark.parametrize("batch", ["again", "another"])
@pytest.mark.parametrize("at", ["", "2026-05-01 12:00:00+00:00"])
def test_reading_twice_does_not_outdo_a_later_decision(
    case: Case, at: str, batch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who decides after an answer was given has the last word, though it is read again under whatever name."""
    case.export("cvat")
    file = cvat_answer({1: CORNER}, at=at)
    case.read(file, "cvat")
    case.decide("item-004", "relabel")
    capsys.readouterr()
    assert case.read(file, "cvat", "--batch", batch) == 0
    assert not settled(read_decisions(DECISIONS), "item-004", 1)
    assert "1 of them were decided otherwise since, which stands, first 'item-004': relabel" in capsys.readouterr().out


def test_an_answer_that_is_read_late_does_not_outdo_a_decision_made_meanwhile(case: Case) -> None:
    """An export of before a decision says nothing against it, though it is read for the first time."""
    case.export("cvat")
    file = cvat_answer({}, at="2026-05-01 12:00:00+00:00")
    case.decide("item-004", "relabel")
    assert case.read(file, "cvat") == 0
    assert not settled(read_decisions(DECISIONS), "item-004", 1)
    assert set(kept()) == {"item-001", "item-002"}


def test_an_answer_given_after_a_decision_counts(case: Case) -> None:
    """What was to be relabelled, and was looked at then and left as it is, is settled."""
    case.decide("item-004", "relabel")
    DECISIONS.write_text(re.sub(r",2\d{3}-[^,]*", ",2026-04-30T12:00:00+00:00", DECISIONS.read_text()))
    case.export("cvat")
    assert case.read(cvat_answer({}, at="2026-05-01 12:00:00+00:00"), "cvat") == 0
    assert settled(read_decisions(DECISIONS), "item-004", 1)
    assert [row.at.month for row in read_decisions(DECISIONS).rows if row.item_id == "item-004"] == [4, 5]


def test_an_answer_of_the_future_does_not_outdo_what_comes(case: Case) -> None:
    """Where a tool's clock is ahead, the moment of the reading is recorded."""
    case.export("cvat")
    case.read(cvat_answer({}, at="2999-05-01 12:00:00+00:00"), "cvat")
    assert {row.at.year < 2999 for row in read_decisions(DECISIONS).rows} == {True}


def test_an_old_drawing_does_not_outdo_a_later_keep(case: Case) -> None:
    """Somebody has found the mask right since: the answer is left out with that reason, and the rest goes on."""
    case.export("cvat")
    file = cvat_answer({0: CORNER, 1: CORNER}, at="2026-05-01 12:00:00+00:00")
    case.decide("item-004", "keep")
    assert case.read(file, "cvat") == 0
    assert [case.revisions()[item] for item in ("item-001", "item-004")] == [2, 1]
    assert "alice decided to keep the mask as it is" in Path("data/rejected/again.csv").read_text()


def test_what_nobody_looked_at_is_not_kept(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """An unchanged mask whose mark is still there is not recorded, and is counted; unless the user vouches for it."""
    case.export("cvat")
    file = cvat_answer({}, marked=(0, 1))
    assert case.read(file, "cvat") == 0
    assert set(kept()) == {"item-002"}
    assert "2 came back unchanged, and nothing shows that somebody looked at them" in capsys.readouterr().out
    assert case.read(file, "cvat", "--unchanged", "keep") == 0
    assert set(kept()) == {"item-004", "item-001", "item-002"}


def test_a_reading_that_was_cut_off_is_finished(case: Case) -> None:
    """Where the batch was written and the decisions were not, the same command records them."""
    case.export("cvat")
    file = cvat_answer({1: CORNER})
    case.read(file, "cvat")
    DECISIONS.unlink()
    assert case.read(file, "cvat") == 0
    assert set(kept()) == {"item-004", "item-002"}


def test_a_rehearsal_writes_nothing(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry-run` tells what would happen."""
    case.export("cvat")
    file = cvat_answer({1: CORNER})
    before = world(Path.cwd())
    assert case.read(file, "cvat", "--dry-run") == 0
    assert "1 accepted" in capsys.readouterr().out
    assert world(Path.cwd()) == before


def test_an_outdated_answer_is_refused_and_the_rest_goes_on(case: Case) -> None:
    """An item that was relabelled in the meantime keeps that; the reason is listed."""
    case.export("cvat")
    first = cvat_answer({1: CORNER}).rename("first.xml")
    given = ("--format", "cvat", "--export", "review", "--batch", "before")
    assert case.call(labels_read.main, first, *given) == 0
    other = CORNER.replace("human", "floor")
    assert case.read(cvat_answer({0: CORNER, 1: other}), "cvat") == 0
    assert [case.revisions()[item] for item in ("item-001", "item-004")] == [2, 2]
    reason = 'item-001,"it is outdated: revision 1 was exported, the dataset has 2'
    assert reason in Path("data/rejected/again.csv").read_text()


def test_an_answer_to_a_removed_item_is_refused(case: Case) -> None:
    """What has left the dataset does not come back by an annotation."""
    case.export("cvat")
    case.decide("item-001", "remove")
    assert case.read(cvat_answer({1: CORNER}), "cvat") == 0
    assert "item-001" not in case.revisions()
    assert "item-001,it has been removed" in Path("data/rejected/again.csv").read_text()


def test_what_none_covers_is_void(case: Case) -> None:
    """Pixels without a region say nothing, unless a class is given for them."""
    case.export("cvat")
    file = cvat_answer({}, lambda text: text.replace('<mask label="background"', '<mask label="review"'))
    case.read(file, "cvat")
    mask, now = decode_mask(case.items["item-004"].mask, LIMITS), case.masks()["item-004"]
    assert np.array_equal(now, np.where(mask == 0, 255, mask))


def test_a_class_stands_for_what_none_covers(case: Case) -> None:
    """With `--unlabelled` the rest of a changed mask is of that class, and untouched masks stay untouched."""
    case.export("cvat")
    case.read(cvat_answer({1: CORNER}), "cvat", "--unlabelled", "floor")
    expected = corner(case, "item-001")
    assert np.array_equal(case.masks()["item-001"], np.where(expected == 255, 1, expected))
    assert set(kept()) == {"item-004", "item-002"}


def test_an_emptied_image_is_refused(case: Case) -> None:
    """A mask without any class teaches nothing; removal is a decision of its own."""
    case.export("label-studio")
    file = studio_answer({})
    tasks = json.loads(file.read_text())
    tasks[0]["annotations"] = [annotation([])]
    file.write_text(json.dumps(tasks))
    assert case.read(file, "label-studio") == 0
    assert case.revisions()["item-004"] == 1
    assert "nothing is drawn in it" in Path("data/rejected/again.csv").read_text()


def test_a_bad_answer_never_stops_the_rest(case: Case) -> None:
    """An unknown class costs one item; an image that was not asked about is listed too."""
    case.export("cvat")
    stranger = '<image id="9" name="other.png" width="24" height="20"></image></annotations>'
    file = cvat_answer(
        {0: CORNER.replace("human", "tree"), 1: CORNER}, lambda text: text.replace("</annotations>", stranger)
    )
    assert case.read(file, "cvat") == 0
    assert case.revisions()["item-001"] == 2
    listed = Path("data/rejected/again.csv").read_text()
    assert "item-004,\"''tree' is no class of the taxonomy" in listed  # read without the first quote
    assert "image 'other.png',it was not exported" in listed


def test_an_item_answered_twice_is_refused(case: Case) -> None:
    """None of two answers in one file is taken silently."""
    case.export("label-studio")
    file = studio_answer({0: [region()]})
    tasks = json.loads(file.read_text())
    file.write_text(json.dumps([*tasks, tasks[0]]))
    assert case.read(file, "label-studio") == 0
    assert case.revisions()["item-004"] == 1
    assert "item-004,it is answered more than once" in Path("data/rejected/again.csv").read_text()


@pytest.mark.parametrize(("tool", "file"), [("cvat", "annotations.xml"), ("label-studio", "tasks.json")])
def test_the_question_is_no_answer(case: Case, tool: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Reading the export itself would record everything as kept, though nobody looked."""
    case.export(tool)
    assert case.read(f"review/{file}", tool) == 2
    assert "is what was asked, not an answer" in capsys.readouterr().err
    assert not DECISIONS.exists()


def test_the_answer_is_found_in_its_folder(case: Case) -> None:
    """A folder stands for the one answer in it, beside the record of what was asked."""
    case.export("label-studio")
    studio_answer({1: [region()]}).rename("review/project-1.json")
    assert case.call(labels_read.main, "review", "--format", "label-studio", "--batch", "again") == 0
    assert case.revisions()["item-001"] == 2


def test_a_packed_answer_is_told(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """CVAT's download is an archive; the message says to unpack it."""
    case.export("cvat")
    Path("answer.zip").write_bytes(b"PK\x03\x04")
    assert case.read("answer.zip", "cvat") == 2
    assert "Unpack it" in capsys.readouterr().err


@pytest.mark.parametrize("answer", ["nothing.xml", "review/images"])
def test_a_missing_answer_is_told(case: Case, answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong path names what it expected."""
    case.export("cvat")
    assert case.read(answer, "cvat") == 2
    assert "There is no file" in capsys.readouterr().err


def test_a_record_that_leads_elsewhere_is_refused(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """A file's name in a record is a name, never a path."""
    case.export("cvat")
    record = Path("review/export.json")
    record.write_text(record.read_text().replace("000000_item-004.png", "../../item-004.png"))
    assert case.read(cvat_answer({}), "cvat") == 2
    assert "tasks.0.file" in capsys.readouterr().err


def test_another_tools_record_is_refused(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """The record says which tool was asked."""
    case.export("cvat")
    assert case.read(cvat_answer({}), "label-studio") == 2
    assert "records an export for cvat" in capsys.readouterr().err


def test_other_classes_are_refused(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a class was renamed since the export, the answers no longer mean what they say."""
    case.export("cvat")
    taxonomy = Path("data/taxonomy.yaml")
    taxonomy.write_text(taxonomy.read_text().replace("pallet", "crate"))
    assert case.read(cvat_answer({}), "cvat") == 2
    assert "was exported with the classes" in capsys.readouterr().err


def test_a_stages_own_dataset_is_not_touched(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """New revisions in the demo's folder would be deleted by the stage that makes it."""
    case.export("cvat")
    Path("dvc.yaml").write_text("stages:\n  demo_data:\n    cmd: x\n    outs: [data/dataset]\n")
    assert case.read(cvat_answer({1: CORNER}), "cvat") == 2
    assert "made by stage demo_data" in capsys.readouterr().err


def test_an_answer_to_nothing_is_an_error(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in which nobody has answered is told, with how many are open."""
    case.export("label-studio")
    STUDIO_ANSWER.write_text("[]")
    assert case.read(STUDIO_ANSWER, "label-studio") == 2
    assert "3 items have no answer" in capsys.readouterr().err


def test_what_a_real_server_exported_is_read(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """The file that Label Studio itself wrote gives one kept item, one new revision to the pixel, and one open item."""
    case.export("label-studio")
    assert case.read(EXPORTED, "label-studio") == 0
    assert set(kept()) == {"item-004"}
    assert case.revisions()["item-001"] == 2
    assert np.array_equal(case.masks()["item-001"], corner(case, "item-001"))
    assert "1 have no answer yet, first 'item-002'" in capsys.readouterr().out
