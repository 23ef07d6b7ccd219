"""Tasks for annotation: what is asked, in which order, and what is left out with its reason."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_case import CLASSES, DATASET, SUSPICIONS, Case, doubt, make_case
from defusedxml import ElementTree
from PIL import ExifTags, Image

from pipeline import labels_export
from pipeline.files import sha256_bytes
from pipeline.images import encode_mask
from pipeline.part_writer import write_batch
from pipeline.parts import Item

Make = Callable[..., Case]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes the workspace."""
    return lambda **options: make_case(tmp_path, monkeypatch, **options)


def names(asked: dict[str, Any]) -> list[str]:
    """The items asked about, in their order."""
    return [each["suspect"]["item_id"] for each in asked["tasks"]]


@pytest.mark.parametrize("tool", ["cvat", "label-studio"])
def test_images_keep_their_bytes(make: Make, tool: str) -> None:
    """The exported images are those of the dataset, byte for byte, and the record has their digests."""
    case = make()
    for each in case.export(tool)["tasks"]:
        image = Path("review/images", each["file"]).read_bytes()
        assert image == case.items[each["suspect"]["item_id"]].image
        assert sha256_bytes(image) == each["image_sha256"]


def test_cvat_finds_the_images_worst_first(make: Make) -> None:
    """Sorted by name, as CVAT sorts them, the images have the order and the numbers of the list."""
    asked = make().export("cvat")
    assert names(asked) == ["item-004", "item-001", "item-002"]
    images = ElementTree.parse("review/annotations.xml").getroot().findall("image")
    found = [(each.get("id"), each.get("name")) for each in images]
    assert found == [(str(number), name) for number, name in enumerate(sorted(name or "" for _, name in found))]


def test_label_studio_gets_a_task_an_item(make: Make) -> None:
    """The tasks come in the order of the list, with the address under which the images will be found."""
    make().export("label-studio", "--images-at", "http://localhost:9000/x/")
    tasks = json.loads(Path("review/tasks.json").read_text())
    assert [each["data"]["item_id"] for each in tasks] == ["item-004", "item-001", "item-002"]
    assert tasks[0]["data"]["image"] == "http://localhost:9000/x/000000_item-004.png"


def test_the_limit_takes_the_worst(make: Make) -> None:
    """A review budget is spent on the top of the list."""
    assert names(make().export("cvat", "--limit", "2")) == ["item-004", "item-001"]


def test_a_list_without_class_box_and_revision_is_read(make: Make) -> None:
    """A check that tells less, or more, is enough."""
    case = make()
    case.suspect({"item_id": "item-003", "kind": "empty", "score": 1, "why": "x", "something": "new"})
    assert names(case.export("label-studio")) == ["item-003"]


def test_items_are_named_in_a_file(make: Make) -> None:
    """Any items can be asked about; what the list says of them goes along, unknown ones are left out."""
    case = make()
    Path("items.txt").write_text("item-000\n\nitem-001\nnobody\n")
    asked = case.export("cvat", "--items", "items.txt")
    assert names(asked) == ["item-000", "item-001"]
    assert asked["tasks"][1]["suspect"]["kind"] == "shifted"
    assert asked["left_out"] == {"nobody": "data/dataset has no such item"}


def test_what_is_kept_is_not_asked_again(make: Make) -> None:
    """A settled suspicion is no task; one to be relabelled still is."""
    case = make()
    case.decide("item-004", "keep")
    case.decide("item-001", "relabel")
    assert names(case.export("cvat")) == ["item-001", "item-002"]


def test_what_is_decided_to_relabel_is_exported(make: Make) -> None:
    """`--decided` asks about exactly what was marked, in that order, with the note where no list has a reason."""
    case = make()
    for item, decision in (("item-003", "relabel"), ("item-002", "keep"), ("item-001", "relabel")):
        case.decide(item, decision)
    asked = case.export("cvat", "--decided")
    assert names(asked) == ["item-003", "item-001"]
    assert asked["tasks"][0]["suspect"]["why"] == "looked at it"


def test_an_outdated_suspicion_is_left_out(make: Make) -> None:
    """A list that judged another revision says nothing of this one."""
    case = make()
    case.suspect(doubt("item-004", revision=3), doubt("item-001"))
    asked = case.export("cvat")
    assert names(asked) == ["item-001"]
    assert "revision 3 was judged, the dataset has 1" in asked["left_out"]["item-004"]


def test_unusable_items_never_stop_the_rest(make: Make) -> None:
    """Damaged and oversized images, masks of other sizes and strange values are listed with their reasons."""

    def change(items: list[Item]) -> list[Item]:
        small, strange = np.zeros((4, 4), np.uint8), np.full((20, 24), 77, np.uint8)
        big = items[3].image + bytes(10**6)
        return [
            replace(items[0], image=items[0].image[:80]),
            replace(items[1], mask=encode_mask(small)),
            replace(items[2], mask=encode_mask(strange)),
            replace(items[3], image=big),
            *items[4:],
        ]

    case = make(change=change)
    case.suspect(*(doubt(f"item-{number:03d}") for number in range(6)))
    asked = case.export("label-studio")
    assert names(asked) == ["item-004", "item-005"]
    reasons = [asked["left_out"][f"item-{number:03d}"] for number in range(4)]
    assert "damaged image" in reasons[0]
    assert reasons[1:3] == [
        "the image is 24x20 px, the mask 4x4",
        "the mask holds values that are no class: [77]; see `segloop validate`",
    ]
    assert "over the limit of 1000000" in reasons[3]


@pytest.mark.parametrize("name", ["../../out", "/etc/passwd", "a b\\c", "x" * 400, "é" * 300, "..", ".hidden"])
def test_a_name_never_leads_out_of_the_folder(make: Make, name: str) -> None:
    """Whatever an item is called, its file lies among the images."""
    case = make(change=lambda items: [replace(items[0], item_id=name), *items[1:]])
    case.suspect(doubt(name))
    asked = case.export("cvat")
    assert [file.name for file in Path("review/images").iterdir()] == [asked["tasks"][0]["file"]]


def test_a_box_is_cut_to_the_image(make: Make) -> None:
    """A place that reaches outside is shown as far as it is inside."""
    case = make()
    case.suspect(doubt("item-001", box=[-5, 2, 1000, 10]), doubt("item-002", box=[50, 50, 60, 60]))
    boxes = [each["suspect"]["box"] for each in case.export("cvat")["tasks"]]
    assert boxes == [[0, 2, 24, 10], None]


def test_a_turned_photograph_is_measured_as_it_is_shown(make: Make) -> None:
    """Both tools show an image by its EXIF orientation, along which the mask lies."""

    def change(items: list[Item]) -> list[Item]:
        stored, buffer = Image.new("RGB", (20, 24), "red"), io.BytesIO()
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        stored.save(buffer, format="JPEG", exif=exif)
        return [*items[:4], replace(items[4], image=buffer.getvalue()), *items[5:]]

    task = make(change=change).export("cvat")["tasks"][0]
    assert (task["width"], task["height"], task["file"]) == (24, 20, "000000_item-004.jpg")


def test_a_folder_with_content_is_never_replaced(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """Answers might lie in it."""
    case = make()
    Path("review").mkdir()
    Path("review/answer.xml").touch()
    assert case.call(labels_export.main, "--format", "cvat", "--out", "review") == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert [file.name for file in Path("review").iterdir()] == ["answer.xml"]


def test_nothing_to_ask_is_no_error(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty list makes no folder."""
    case = make()
    case.suspect()
    assert case.call(labels_export.main, "--format", "cvat", "--out", "review") == 0
    assert "nothing to ask about" in capsys.readouterr().out
    assert not Path("review").exists()


def test_nothing_that_can_be_asked_is_an_error(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """Where all is left out, the first reason is told and no folder is made."""
    case = make()
    case.suspect(doubt("nobody"))
    assert case.call(labels_export.main, "--format", "cvat", "--out", "review") == 2
    assert "first 'nobody': data/dataset has no such item" in capsys.readouterr().err
    assert not Path("review").exists()


@pytest.mark.parametrize("content", [None, "{", '{"found": 3}', '{"found": [{"kind": "x"}]}', '{"found": [3]}'])
def test_a_missing_or_damaged_list_is_an_error(make: Make, content: str | None) -> None:
    """The list is read whole before anything is written."""
    case = make()
    SUSPICIONS.unlink() if content is None else SUSPICIONS.write_text(content)
    assert case.call(labels_export.main, "--format", "cvat", "--out", "review") == 2
    assert not Path("review").exists()


def test_another_taxonomy_is_refused(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """Masks whose ids mean other classes are not shown under wrong names."""
    case = make()
    write_batch(DATASET, "other", [], class_names=["floor", *CLASSES])
    assert case.call(labels_export.main, "--format", "cvat", "--out", "review") == 2
    assert "hold the classes" in capsys.readouterr().err
