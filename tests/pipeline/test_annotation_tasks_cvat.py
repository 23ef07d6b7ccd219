"""CVAT's XML: what is written is read back, by us and by Datumaro, and what annotators make of it."""

import json
from pathlib import Path

import annotation_case
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from pipeline.annotation_tasks import cvat
from pipeline.annotation_tasks.regions import Answer, AnswerError, mask_digest
from pipeline.annotation_tasks.tasks import Asked, Export, Format, Suspect, review_label
from pipeline.errors import UserError

# Of pycocotools, which draws polygons.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
CLASSES = annotation_case.classes()
VALUES = st.sampled_from([0, 1, 2, 3, 4, 255])
MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=24), elements=VALUES, fill=VALUES)
DIGEST = "0" * 64


def asked(mask: np.ndarray, **about: object) -> Asked:
    """A task for a mask."""
    return Asked(
        suspect=Suspect.model_validate({"item_id": "a", "kind": "shifted", "why": "a < b & \x01", **about}),
        revision=1,
        file="000000_a.png",
        width=mask.shape[1],
        height=mask.shape[0],
        image_sha256=DIGEST,
        mask_sha256=mask_digest(mask),
        classes=(),
    )


def export(*tasks: Asked) -> Export:
    """The record of some tasks."""
    names = tuple(CLASSES.names)
    return Export(tool=Format.CVAT, classes=names, review_label="review", files={}, tasks=tasks, left_out={})


def written(folder: Path, task: Asked, mask: np.ndarray) -> Path:
    """The tasks' file."""
    file = folder / "annotations.xml"
    image = cvat.image(0, task, cvat.shapes(task, mask, CLASSES, "review"))
    file.write_text(cvat.head(CLASSES, "review", 1) + image + cvat.TAIL, encoding="utf-8")
    return file


def answer(folder: Path, shapes: str, size: tuple[int, int] = (4, 6)) -> np.ndarray | AnswerError:
    """What is read of an image with these shapes. Size: (height, width)."""
    task = asked(np.zeros(size, np.uint8))
    file = folder / "answer.xml"
    file.write_text(f"<annotations>{cvat.image(0, task, shapes)}</annotations>")
    ((_, found),) = cvat.answers(file, export(task), CLASSES)
    return found.mask if isinstance(found, Answer) else found


def mask_of(label: str, rle: str, place: tuple[int, int, int, int], z_order: int = 0) -> str:
    """A mask of CVAT at (left, top, width, height)."""
    names = ("left", "top", "width", "height")
    box = " ".join(f'{name}="{value}"' for name, value in zip(names, place, strict=True))
    return f'<mask label="{label}" rle="{rle}" {box} z_order="{z_order}"></mask>'


@given(MASKS)
@example(np.full((7, 5), 3, np.uint8))
@example(np.array([[255]], np.uint8))
def test_a_mask_survives_the_round_trip(tmp_path_factory: pytest.TempPathFactory, mask: np.ndarray) -> None:
    """What is written for CVAT is read back pixel by pixel."""
    folder = tmp_path_factory.mktemp("cvat")
    task = asked(mask, box=(0, 0, 1, 1))
    ((name, found),) = cvat.answers(written(folder, task, mask), export(task), CLASSES)
    assert name == "a"
    assert isinstance(found, Answer)
    assert np.array_equal(found.mask, mask)


@given(MASKS)
@example(np.full((7, 5), 3, np.uint8))
@example(np.array([[255]], np.uint8))
def test_datumaro_reads_the_same_mask(tmp_path_factory: pytest.TempPathFactory, mask: np.ndarray) -> None:
    """An independent reader of CVAT's format finds the same pixels of the same classes."""
    import datumaro
    from datumaro.components.annotation import AnnotationType

    folder = tmp_path_factory.mktemp("cvat")
    (folder / "images").mkdir()
    task = asked(mask)
    Image.fromarray(mask).save(folder / "images" / task.file)
    written(folder, task, mask)
    dataset = datumaro.Dataset.import_from(str(folder), "cvat")
    names = [each.name for each in dataset.categories()[AnnotationType.label]]
    found = np.full(mask.shape, 255, np.uint8)
    for each in next(iter(dataset)).annotations:
        if each.type == AnnotationType.mask:
            found[each.image.astype(bool)] = CLASSES.id_of(names[each.label])
    assert np.array_equal(found, mask)


def test_the_reason_goes_along(tmp_path: Path) -> None:
    """A suspicion without a place is a tag with its reason; what XML cannot hold is replaced."""
    mask = np.zeros((2, 3), np.uint8)
    text = written(tmp_path, asked(mask), mask).read_text()
    assert '<tag label="review"' in text
    assert '<attribute name="reason">a &lt; b &amp; \ufffd</attribute>' in text


def test_the_place_goes_along(tmp_path: Path) -> None:
    """A suspicion with a place is a box of the label that is no class."""
    mask = np.zeros((4, 6), np.uint8)
    text = written(tmp_path, asked(mask, box=(1, 0, 5.5, 3)), mask).read_text()
    assert 'xtl="1.00" ytl="0.00" xbr="5.50" ybr="3.00"' in text


def test_the_labels_have_the_taxonomys_colours() -> None:
    """What CVAT's constructor of labels takes has every class with its colour, and the label of the boxes."""
    found = {each["name"]: each["color"] for each in json.loads(cvat.labels(CLASSES, "review"))}
    assert found == {**{each.name: each.colour for each in CLASSES.classes}, "review": "#ff0000"}


def test_the_boxes_label_is_no_class() -> None:
    """Where a class is called `review`, the boxes are called otherwise."""
    classes = CLASSES.model_copy(update={"classes": (CLASSES.classes[0].model_copy(update={"name": "review"}),)})
    assert review_label(classes) == "review_"


def test_a_higher_shape_covers_a_lower(tmp_path: Path) -> None:
    """The order of depth decides, not that in the file."""
    high, low = mask_of("human", "0, 4", (0, 0, 2, 2), 1), mask_of("floor", "0, 24", (0, 0, 6, 4), 0)
    found = answer(tmp_path, high + low)
    assert isinstance(found, np.ndarray)
    assert found[:2, :2].tolist() == [[3, 3], [3, 3]]
    assert (found == 1).sum() == 20


def test_of_equal_depth_the_later_covers(tmp_path: Path) -> None:
    """Where the depth is the same, the order in the file decides."""
    found = answer(tmp_path, mask_of("human", "0, 24", (0, 0, 6, 4)) + mask_of("floor", "0, 24", (0, 0, 6, 4)))
    assert isinstance(found, np.ndarray)
    assert (found == 1).all()


def test_a_polygon_is_drawn(tmp_path: Path) -> None:
    """Annotators may draw polygons as well; the rest is void."""
    found = answer(tmp_path, '<polygon label="floor" points="1.0,1.0;4.0,1.0;4.0,3.0;1.0,3.0" z_order="0"/>')
    assert isinstance(found, np.ndarray)
    assert set(np.unique(found).tolist()) == {1, 255}
    assert (found[1:3, 1:4] == 1).all()


def test_boxes_of_review_draw_nothing(tmp_path: Path) -> None:
    """The suspicion's own box and tag are no part of the mask."""
    found = answer(tmp_path, '<box label="review" xtl="0" ytl="0" xbr="2" ybr="2"/><tag label="review"/>')
    assert isinstance(found, np.ndarray)
    assert (found == 255).all()


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ('<box label="floor" xtl="0" ytl="0" xbr="2" ybr="2"/>', "a box of 'floor' is no outline"),
        (mask_of("tree", "0, 24", (0, 0, 6, 4)), "'tree' is no class"),
        (mask_of("floor", "0, 25", (0, 0, 5, 5)), "is not inside 6x4 px"),
        (mask_of("floor", "0, 4", (5, 0, 2, 2)), "is not inside 6x4 px"),
        (mask_of("floor", "0, 1", (0, 0, 100000000, 100000000)), "is not inside 6x4 px"),
        (mask_of("floor", "0, 5", (0, 0, 2, 2)), "add up to 5 px"),
        (mask_of("floor", "0, 4", (0, 0, 2, 2), 0).replace('z_order="0"', 'z_order="x"'), "'z_order' of a mask"),
        ('<polygon label="floor" points="1,x"/>', "the corners of a polygon are numbers"),
        ('<polygon label="floor" points="nan,1;2,2;3,1"/>', "corner"),
        ('<polygon label="floor" points="1e30,1;2,2;3,1"/>', "corner"),
        (mask_of("floor", "0, 1", (0, 0, 1, 1)) * 10_001, "over the limit of 10000"),
    ],
)
def test_a_shape_that_cannot_be_used_is_told(tmp_path: Path, shapes: str, reason: str) -> None:
    """Whatever is wrong with a shape becomes the reason of its image."""
    found = answer(tmp_path, shapes)
    assert isinstance(found, AnswerError)
    assert reason in str(found)


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    """A tool that scaled the image has no mask for ours."""
    file = tmp_path / "answer.xml"
    file.write_text('<annotations><image id="0" name="000000_a.png" width="12" height="8"/></annotations>')
    ((_, found),) = cvat.answers(file, export(asked(np.zeros((4, 6), np.uint8))), CLASSES)
    assert "12x8 px there, 6x4 in the dataset" in str(found)


def test_an_image_is_found_in_a_folder(tmp_path: Path) -> None:
    """CVAT names images with the folder that they were uploaded in."""
    mask = np.zeros((4, 6), np.uint8)
    task = asked(mask)
    file = written(tmp_path, task, mask)
    file.write_text(file.read_text().replace('name="000000_a.png"', 'name="review/images/000000_a.png"'))
    ((name, found),) = cvat.answers(file, export(task), CLASSES)
    assert name == "a"
    assert isinstance(found, Answer)


def looked_at(folder: Path, meta: str, marks: str = "", where: str = "") -> Answer:
    """What is read of an image with these marks, in a file that says this of its tasks."""
    task = asked(np.zeros((4, 6), np.uint8))
    image = cvat.image(0, task, marks).replace("<image ", f"<image {where} ")
    file = folder / "answer.xml"
    file.write_text(f"<annotations><version>1.1</version><meta>{meta}</meta>{image}</annotations>")
    ((_, found),) = cvat.answers(file, export(task), CLASSES)
    assert isinstance(found, Answer)
    return found


NAMED = "<labels><label><name>floor</name></label><label><name>review</name></label></labels>"
MARK = '<tag label="review" source="file"></tag>'


@pytest.mark.parametrize(
    ("labels", "marks", "seen"),
    [
        (NAMED, "", True),
        (NAMED, MARK, False),
        (NAMED, '<box label="review" xtl="0" ytl="0" xbr="1" ybr="1"></box>', False),
        (NAMED.replace("review", "human"), "", False),
        ("", "", False),
    ],
)
def test_whoever_deletes_the_mark_has_looked(tmp_path: Path, labels: str, marks: str, seen: bool) -> None:
    """CVAT's file tells no other trace of a look; where the label is gone all marks are, and nobody deleted one."""
    assert looked_at(tmp_path, f"<task>{labels}</task>", marks).seen is seen


TIMES = "<updated>2026-05-01 12:00:00.5+02:00</updated>"


@pytest.mark.parametrize(
    ("meta", "where", "at"),
    [
        (f"<task>{TIMES}</task><dumped>2026-06-01 10:00:00+00:00</dumped>", "", "2026-05-01T12:00:00.500000+02:00"),
        (f"<job>{TIMES}</job>", "", "2026-05-01T12:00:00.500000+02:00"),
        ("<task></task><dumped>2026-06-01 10:00:00+00:00</dumped>", "", "2026-06-01T10:00:00+00:00"),
        ("<task><updated>yesterday</updated></task>", "", None),
        ("<task><updated>2026-05-01 12:00:00</updated></task>", "", None),
        ("", "", None),
    ],
)
def test_an_answer_is_as_old_as_its_task(tmp_path: Path, meta: str, where: str, at: str | None) -> None:
    """The moment of the task's or job's last change counts, else that of the export; without a zone none does."""
    found = looked_at(tmp_path, meta, where=where).at
    assert (found and found.isoformat()) == at


@pytest.mark.parametrize(("where", "month"), [('task_id="8"', 7), ('task_id="7"', 5), ("", 5)])
def test_an_image_of_a_project_is_as_old_as_its_own_task(tmp_path: Path, where: str, month: int) -> None:
    """A later change of another task makes no answer newer; where the task is not told, the oldest counts."""
    tasks = "".join(
        f"<task><id>{number}</id><updated>2026-0{when}-01 12:00:00+00:00</updated></task>"
        for number, when in ((7, 5), (8, 7))
    )
    found = looked_at(tmp_path, f"<project><tasks>{tasks}</tasks></project>", where=where).at
    assert found
    assert found.month == month


ENTITY = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations>&x;</annotations>'
BOMB = '<!DOCTYPE a [<!ENTITY x "xx"><!ENTITY y "&x;&x;">]><annotations>&y;</annotations>'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ENTITY, "not readable as XML"),
        (BOMB, "not readable as XML"),
        ("<annotations>", "not readable as XML"),
        ("", "not readable as XML"),
        ("[]", "not readable as XML"),
        ('<?xml version="1.0" encoding="martian"?><annotations/>', "not readable as XML"),
        ("<html/>", "begins with <html>"),
        ('<annotations><track id="0"/></annotations>', "CVAT for images 1.1"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    """Entities, damage and other formats stop the reading with what to do."""
    file = tmp_path / "answer.xml"
    file.write_text(text)
    with pytest.raises(UserError, match=reason):
        list(cvat.answers(file, export(), CLASSES))
