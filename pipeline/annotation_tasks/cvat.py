"""CVAT's format "CVAT for images 1.1": tasks written as XML, answers read from it.

A mask of CVAT is run lengths inside a box; the shapes of an image lie over each other by their `z_order`, and in their
order where that is equal. CVAT sorts the images of a task by name, and finds them again by number: so their names begin
with the number.

Neither the state of jobs nor which images were opened is in the file (`TaskData.meta_for_task` and `JobData` in CVAT's
dataset_manager/bindings.py; github.com/cvat-ai/cvat/issues/4834). What an annotator did is: the red box or tag of the
suspicion is gone where somebody has deleted it.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any
from xml.sax.saxutils import escape, quoteattr

from pipeline.annotation_tasks.regions import Answer, AnswerError, Mask, Region, check_place, moment, paint, regions
from pipeline.annotation_tasks.rle import RunLengthError, decode_counts, encode_counts
from pipeline.annotation_tasks.tasks import Asked, Export
from pipeline.errors import UserError
from pipeline.formats.labels import Labels
from pipeline.formats.source import UNDRAWN, Legend, Shape
from pipeline.images import ImageError
from pipeline.taxonomy import IGNORE, Remap, Taxonomy

ANNOTATIONS = "annotations.xml"
LABELS = "labels.json"
ATTRIBUTES = ("item", "revision", "kind", "score", "class", "reason")
REVIEW_COLOUR = "#ff0000"
SHAPES = ("mask", "polygon", "box", "polyline", "points", "ellipse", "cuboid", "skeleton")
MOST_SHAPES = 10_000  # of an image; each is painted, and a few bytes can ask for a whole picture
# What XML 1.0 cannot hold, even escaped.
UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
TAIL = "</annotations>\n"


def labels(classes: Taxonomy, review: str) -> str:
    """The labels of a task as JSON: what CVAT's "Raw" constructor of labels takes."""
    attributes = [
        {"name": name, "input_type": "text", "mutable": False, "values": [""], "default_value": ""}
        for name in ATTRIBUTES
    ]
    plain = [{"name": each.name, "color": each.colour, "type": "any", "attributes": []} for each in classes.classes]
    asked = {"name": review, "color": REVIEW_COLOUR, "type": "any", "attributes": attributes}
    return json.dumps([*plain, asked], indent=2, ensure_ascii=False) + "\n"


def head(classes: Taxonomy, review: str, count: int) -> str:
    """The document up to its first image."""
    named = [_label(each.name, each.colour) for each in classes.classes]
    named.append(_label(review, REVIEW_COLOUR, "".join(map(_attribute_definition, ATTRIBUTES))))
    return (
        f"{HEAD}  <meta>\n    <task>\n      <name>segloop</name>\n      <size>{count}</size>\n"
        f"      <mode>annotation</mode>\n      <labels>\n{''.join(named)}      </labels>\n    </task>\n  </meta>\n"
    )


def shapes(asked: Asked, mask: Mask, classes: Taxonomy, review: str) -> str:
    """What is drawn in an image: its mask, and the suspicion as a box (or as a tag, where it has no place)."""
    drawn = "".join(map(_mask, regions(mask, classes)))
    box = asked.suspect.box
    about = _attributes(asked)
    if box is None:
        return f'{drawn}    <tag label={_quoted(review)} source="file">\n{about}    </tag>\n'
    corners = " ".join(f'{name}="{value:.2f}"' for name, value in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True))
    shown = f'label={_quoted(review)} source="file" occluded="0" {corners} z_order="1"'
    return f"{drawn}    <box {shown}>\n{about}    </box>\n"


def image(number: int, asked: Asked, drawn: str) -> str:
    """An image's element.

    Args:
        number: Its place among the images.
        asked: The task.
        drawn: Its shapes.
    """
    size = f'width="{asked.width}" height="{asked.height}"'
    return f'  <image id="{number}" name={_quoted(asked.file)} {size}>\n{drawn}  </image>\n'


@dataclass(frozen=True)
class _Meta:
    """What the file says of its tasks.

    Attributes:
        labels: The labels that annotators can use.
        updated: When each task was last changed, by its id; in the file of one task or job its id is "".
    """

    labels: frozenset[str] = frozenset()
    updated: dict[str, datetime] = field(default_factory=dict)

    def at(self, element: Any) -> datetime | None:
        """When an image's task was last changed: not later than any look at it that has left a trace."""
        return self.updated.get(element.get("task_id", ""), min(self.updated.values(), default=None))


def _meta(element: Any) -> _Meta:
    labels = frozenset(each.text or "" for each in element.iterfind(".//labels/label/name"))
    tasks = element.findall("project/tasks/task")
    places = [(each.findtext("id") or "", each) for each in tasks]
    places += [("", each) for each in (element.find("task"), element.find("job")) if each is not None]
    told = {name: moment(each.findtext("updated")) or moment(element.findtext("dumped")) for name, each in places}
    return _Meta(labels, {name: at for name, at in told.items() if at})


def answers(file: Path, export: Export, classes: Taxonomy) -> Iterator[tuple[str, Answer | AnswerError]]:
    """Reads an answer image by image.

    Args:
        file: The XML that CVAT exported.
        export: What was asked.
        classes: The classes.

    Yields:
        An item's name (or the image's, where it was not exported), and its answer or why there is none.

    Raises:
        UserError: The file is no XML, declares entities, or is of another format.
    """
    asked, meta, review = {each.file: each for each in export.tasks}, _Meta(), export.review_label
    with file.open("rb") as stream:
        for element in _elements(stream, file):
            if element.tag == "meta":
                meta = _meta(element)
                continue
            name = PurePosixPath(element.get("name", "")).name
            task = asked.get(name)
            if task is None:
                yield f"image '{name}'", AnswerError("it was not exported")
                continue
            try:
                mask = _answer(element, task, classes, review)
            except (AnswerError, RunLengthError, ImageError) as error:
                yield task.item_id, AnswerError(str(error))
                continue
            # Where the label itself is gone, so are all marks, and nobody has deleted this one.
            deleted = review in meta.labels and not any(each.get("label") == review for each in element)
            yield task.item_id, Answer(mask, deleted, meta.at(element))


def _elements(stream: IO[bytes], file: Path) -> Iterator[Any]:
    from defusedxml import ElementTree

    kept: list[Any] = []
    try:
        for event, element in ElementTree.iterparse(stream, events=("start", "end"), forbid_dtd=True):
            kept = kept or [element]
            if element.tag == "track":
                raise UserError(f"{file} is of CVAT's format for video. Export it as 'CVAT for images 1.1'.")
            if event == "end" and element.tag in {"meta", "image"}:
                yield element
                kept[0].clear()  # what has been read need not be held
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # refused by defusedxml; an unknown encoding
        raise UserError(f"{file} is not readable as XML of CVAT: {error}. Export it again, and unpack it.") from None
    if kept[0].tag != "annotations":
        raise UserError(f"{file} begins with <{kept[0].tag}>, not with <annotations>: it is no export of CVAT.")


def _answer(element: Any, asked: Asked, classes: Taxonomy, review: str) -> Mask:
    size = (_whole(element, "height"), _whole(element, "width"))
    if size != (asked.height, asked.width):
        raise AnswerError(f"the image is {size[1]}x{size[0]} px there, {asked.width}x{asked.height} in the dataset")
    drawn = [each for each in element if each.tag in SHAPES and each.get("label") != review]
    if len(drawn) > MOST_SHAPES:
        raise AnswerError(f"{len(drawn)} shapes are over the limit of {MOST_SHAPES}")
    drawn.sort(key=lambda each: _whole(each, "z_order"))
    return paint((_region(each, size, classes) for each in drawn), *size, classes)


def _region(shape: Any, size: tuple[int, int], classes: Taxonomy) -> Region:
    label = shape.get("label", "")
    if shape.tag == "mask":
        left, top = _whole(shape, "left"), _whole(shape, "top")
        box = (_whole(shape, "height"), _whole(shape, "width"))
        check_place(left, top, box, size)
        return Region(label, left, top, decode_counts(shape.get("rle", ""), *box))
    if shape.tag == "polygon":
        return Region(label, 0, 0, _polygon(shape.get("points", ""), size, classes))
    raise AnswerError(f"a {shape.tag} of '{label}' is no outline; draw a mask or a polygon")


def _polygon(text: str, size: tuple[int, int], classes: Taxonomy) -> Any:
    """The pixels in a polygon, drawn and guarded as ingestion does it. Shape: (H, W)."""
    try:
        points = tuple(float(each) for pair in text.split(";") for each in pair.split(",", 1))
    except ValueError:
        raise AnswerError(f"the corners of a polygon are numbers, received '{text[:40]}'") from None
    drawn = Remap(names={"polygon": classes.names[0], UNDRAWN: IGNORE})
    painted = Labels(classes, drawn, Legend()).paint_shapes((Shape("polygon", points),), *size)
    return painted.mask != classes.ignore_index


def _whole(element: Any, name: str) -> int:
    text = element.get(name, "0")
    try:
        return int(text)
    except ValueError:
        raise AnswerError(f"'{name}' of a {element.tag} is a whole number, received '{text[:40]}'") from None


def _mask(region: Region) -> str:
    rows, columns = region.pixels.shape
    box = f'left="{region.left}" top="{region.top}" width="{columns}" height="{rows}"'
    label = f'label={_quoted(region.label)} source="file" occluded="0"'
    return f'    <mask {label} rle="{encode_counts(region.pixels)}" {box} z_order="0">\n    </mask>\n'


def _attributes(asked: Asked) -> str:
    suspect = asked.suspect
    score = "" if suspect.score is None else f"{suspect.score:.2f}"
    values = (asked.item_id, str(asked.revision), suspect.kind, score, suspect.class_name or "", suspect.why)
    return "".join(
        f'      <attribute name="{name}">{escape(_writable(value))}</attribute>\n'
        for name, value in zip(ATTRIBUTES, values, strict=True)
    )


def _label(name: str, colour: str, attributes: str = "") -> str:
    text = f"          <name>{escape(_writable(name))}</name>\n          <color>{colour}</color>\n"
    ending = f"          <type>any</type>\n          <attributes>{attributes}</attributes>\n"
    return f"        <label>\n{text}{ending}        </label>\n"


def _attribute_definition(name: str) -> str:
    fields: Iterable[tuple[str, str]] = (
        ("name", name),
        ("mutable", "False"),
        ("input_type", "text"),
        ("default_value", ""),
        ("values", ""),
    )
    return "<attribute>" + "".join(f"<{key}>{value}</{key}>" for key, value in fields) + "</attribute>"


def _quoted(text: str) -> str:
    return quoteattr(_writable(text))


def _writable(text: str) -> str:
    return UNWRITABLE.sub("\ufffd", text)
