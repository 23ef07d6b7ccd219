"""Label Studio's JSON: what is written is read back, and what annotators make of it."""

import json
from pathlib import Path
from typing import Any

import annotation_case
import numpy as np
import pytest
from annotation_case import annotation, answered, brush
from defusedxml import ElementTree
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline.annotation_tasks import label_studio
from pipeline.annotation_tasks.regions import Answer, AnswerError, mask_digest
from pipeline.annotation_tasks.tasks import Asked, Export, Format, Suspect
from pipeline.errors import UserError

CLASSES = annotation_case.classes()
VALUES = st.sampled_from([0, 1, 2, 3, 4, 255])
MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=24), elements=VALUES, fill=VALUES)
SIZE = (4, 6)
WHOLE = np.ones(SIZE, bool)
LEFT = np.arange(6) < np.full(SIZE, 2)


def asked(mask: np.ndarray, **about: object) -> Asked:
    """A task for a mask."""
    return Asked(
        suspect=Suspect.model_validate({"item_id": "a", "kind": "shifted", **about}),
        revision=1,
        file="000000_a b.png",
        width=mask.shape[1],
        height=mask.shape[0],
        image_sha256="0" * 64,
        mask_sha256=mask_digest(mask),
        classes=(),
    )


def task(mask: np.ndarray, **about: object) -> dict[str, Any]:
    """What is written for a mask."""
    text = label_studio.task(asked(mask, **about), mask, CLASSES, "review", "/at/")
    found: dict[str, Any] = json.loads(text)
    return found


def read(folder: Path, tasks: object, mask: np.ndarray) -> list[tuple[str, Answer | AnswerError]]:
    """What is read of some tasks."""
    file = folder / "answer.json"
    file.write_text(json.dumps(tasks))
    names = tuple(CLASSES.names)
    export = Export(
        tool=Format.LABEL_STUDIO, classes=names, review_label="review", files={}, tasks=(asked(mask),), left_out={}
    )
    return list(label_studio.answers(file, export, CLASSES))


def answer(folder: Path, *annotations: dict[str, Any]) -> np.ndarray | AnswerError | None:
    """What is read of a task with these annotations; None where it counts as not answered."""
    mask = np.zeros(SIZE, np.uint8)
    found = read(folder, [{"id": 1, "data": task(mask)["data"], "annotations": list(annotations)}], mask)
    if not found:
        return None
    given = found[0][1]
    return given.mask if isinstance(given, Answer) else given


@given(MASKS)
@example(np.full((7, 5), 3, np.uint8))
@example(np.array([[255]], np.uint8))
def test_a_mask_survives_the_round_trip(tmp_path_factory: pytest.TempPathFactory, mask: np.ndarray) -> None:
    """A prediction that is taken over as it is comes back pixel by pixel."""
    folder = tmp_path_factory.mktemp("label_studio")
    ((name, found),) = read(folder, answered([task(mask, box=(0, 0, 1, 1))]), mask)
    assert name == "a"
    assert isinstance(found, Answer)
    assert np.array_equal(found.mask, mask)


def test_a_task_says_what_it_is_about() -> None:
    """Item, revision, reason, class and box travel in the task's data; the image's name is quoted."""
    data = task(np.zeros(SIZE, np.uint8), why="moved", class_name="human", box=(1, 0, 4, 2), score=3.0)["data"]
    known = {"item_id": "a", "revision": 1, "kind": "shifted", "reason": "moved", "class": "human", "score": 3.0}
    assert data == {**known, "box": [1, 0, 4, 2], "image": "/at/000000_a%20b.png", "title": "a: shifted"}


def test_the_box_is_in_per_cent() -> None:
    """The suspicious place is a rectangle as the tool measures it."""
    (result,) = [
        each
        for each in task(np.zeros(SIZE, np.uint8), box=(3, 1, 6, 4))["predictions"][0]["result"]
        if each["type"] == "rectanglelabels"
    ]
    assert result["value"] | {"x": 50, "y": 25, "width": 50, "height": 75} == result["value"]


def test_the_interface_names_every_class() -> None:
    """The labelling interface has a brush of each class in its colour."""
    config = ElementTree.fromstring(label_studio.config(CLASSES, "review"))
    labels = {each.get("value"): each.get("background") for each in config.find("BrushLabels")}
    assert labels == {each.name: each.colour for each in CLASSES.classes}


def test_a_later_region_covers_an_earlier(tmp_path: Path) -> None:
    """The order of the results decides; what none covers is void."""
    found = answer(tmp_path, annotation([brush(LEFT, "floor"), brush(LEFT & (np.arange(6) > 0), "human")]))
    assert isinstance(found, np.ndarray)
    assert found[0].tolist() == [1, 3, 255, 255, 255, 255]


def test_a_skipped_task_is_not_answered(tmp_path: Path) -> None:
    """An annotator who skips has not judged."""
    assert answer(tmp_path, annotation([brush(WHOLE, "floor")], was_cancelled=True)) is None


def test_a_task_without_annotation_is_not_answered(tmp_path: Path) -> None:
    """The prediction alone is our own question."""
    assert answer(tmp_path) is None


def test_annotators_who_agree_are_one_answer(tmp_path: Path) -> None:
    """Two annotations of the same pixels need nobody to decide."""
    found = answer(tmp_path, annotation([brush(WHOLE, "floor")]), annotation([brush(WHOLE, "floor")]))
    assert isinstance(found, np.ndarray)


def test_an_answer_is_as_old_as_its_last_change(tmp_path: Path) -> None:
    """The latest of the annotations' moments counts, and whoever submitted one has looked."""
    mask = np.zeros(SIZE, np.uint8)
    old, new = ({"created_at": f"2026-0{month}-01T00:00:00Z"} for month in (5, 6))
    given = [annotation([brush(WHOLE, "floor")], **old), annotation([brush(WHOLE, "floor")], **new)]
    ((_, found),) = read(tmp_path, [{"id": 1, "data": task(mask)["data"], "annotations": given}], mask)
    assert isinstance(found, Answer)
    assert found.seen
    assert found.at
    assert found.at.month == 6


def test_annotators_who_differ_need_a_judge(tmp_path: Path) -> None:
    """None of two different annotations is taken silently."""
    found = answer(tmp_path, annotation([brush(WHOLE, "floor")]), annotation([brush(LEFT, "floor")]))
    assert "2 annotations differ; mark the right one as ground truth" in str(found)


def test_the_ground_truth_decides(tmp_path: Path) -> None:
    """Where one of them is marked as ground truth, it counts."""
    right = annotation([brush(LEFT, "human")], ground_truth=True)
    found = answer(tmp_path, annotation([brush(WHOLE, "floor")]), right)
    assert isinstance(found, np.ndarray)
    assert found[0].tolist() == [3, 3, 255, 255, 255, 255]


def test_words_and_boxes_draw_nothing(tmp_path: Path) -> None:
    """Choices, remarks and the suspicious box are no part of the mask."""
    others = [{"type": "choices", "value": {"choices": ["x"]}}, {"type": "rectanglelabels", "value": {"x": 1}}]
    found = answer(tmp_path, annotation([*others, brush(WHOLE, "floor")]))
    assert isinstance(found, np.ndarray)
    assert (found == 1).all()


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"type": "polygonlabels", "value": {}}, "is no region of a brush"),
        ({"type": "brushlabels"}, "is no region of a brush"),
        ({"type": ["brushlabels"], "value": 3}, "is no region of a brush"),
        (brush(WHOLE, "tree"), "'tree' is no class"),
        (brush(WHOLE, "floor", original_width=12), "is for 12x4 px, the image has 6x4"),
        (brush(WHOLE, "floor", image_rotation=90), "turned image"),
        (brush(WHOLE, "floor", image_rotation=[90]), "turned image"),
        (brush(WHOLE, "floor", value={"format": "rle", "rle": [1, 2]}), "exactly one class"),
        (
            brush(WHOLE, "floor", value={"format": "rle", "rle": [1], "brushlabels": ["floor", "human"]}),
            "exactly one class",
        ),
        (brush(WHOLE, "floor", value={"format": "rle", "rle": [1], "brushlabels": ["floor"]}), "not those of 6x4 px"),
        (brush(WHOLE, "floor", value={"format": "rle", "rle": "1,2", "brushlabels": ["floor"]}), "are bytes"),
        (brush(WHOLE, "floor", value={"format": "rle", "brushlabels": [["floor"]]}), "not those of 6x4 px"),
        ("floor", "no list of results"),
    ],
)
def test_a_result_that_cannot_be_used_is_told(tmp_path: Path, result: Any, reason: str) -> None:
    """Whatever is wrong with a result becomes the reason of its task."""
    found = answer(tmp_path, annotation([result]))
    assert isinstance(found, AnswerError)
    assert reason in str(found)


def test_a_task_of_another_revision_is_refused(tmp_path: Path) -> None:
    """An answer to an earlier export in the same project is not taken for one to this."""
    mask = np.zeros(SIZE, np.uint8)
    tasks = answered([task(mask)])
    tasks[0]["data"]["revision"] = 2
    assert "its revision is 2 there, 1 was asked" in str(read(tmp_path, tasks, mask)[0][1])


def test_a_task_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Tasks without our item are listed by their number."""
    found = read(tmp_path, [{"id": 7, "data": {}, "annotations": []}], np.zeros(SIZE, np.uint8))
    assert found[0][0] == "task 7"


def test_a_foreign_name_can_always_be_written_down(tmp_path: Path) -> None:
    """Half a character in somebody's name would else end the reading when it is told."""
    found = read(tmp_path, [{"id": 7, "data": {"item_id": "x\ud800"}, "annotations": []}], np.zeros(SIZE, np.uint8))
    assert found[0][0].encode() == b"'x\\ud800'"


def test_one_task_without_annotations_does_not_stop_the_rest(tmp_path: Path) -> None:
    """It is named, and the others are read."""
    mask = np.zeros(SIZE, np.uint8)
    found = read(tmp_path, [{"id": 7, "data": {}}, *answered([task(mask)])], mask)
    assert "no list of annotations" in str(found[0][1])
    assert isinstance(found[1][1], Answer)


def test_an_element_that_is_no_task_is_named(tmp_path: Path) -> None:
    """By its place, and the others are read."""
    mask = np.zeros(SIZE, np.uint8)
    found = read(tmp_path, [*answered([task(mask)]), 3], mask)
    assert found[1][0] == "element 2"
    assert "no task but int" in str(found[1][1])
    assert isinstance(found[0][1], Answer)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not readable as JSON"),
        ("[" * 100_000, "not readable as JSON"),
        ("{}", "a dict instead of a list"),
        ('[{"image": "x", "mask": []}]', "not 'JSON-MIN'"),
        ("[3]", "not 'JSON-MIN'"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str, reason: str) -> None:
    """Damage and the tool's other formats stop the reading with what to do."""
    file = tmp_path / "answer.json"
    file.write_text(content)
    names = tuple(CLASSES.names)
    export = Export(tool=Format.LABEL_STUDIO, classes=names, review_label="r", files={}, tasks=(), left_out={})
    with pytest.raises(UserError, match=reason):
        list(label_studio.answers(file, export, CLASSES))
