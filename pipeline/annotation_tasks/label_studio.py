"""Label Studio's JSON: tasks with the current mask as prediction, and answers read from its export.

A brush's region is a picture as large as the image (see `rle`). A later result lies over an earlier one.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from pipeline.annotation_tasks.regions import Answer, AnswerError, Mask, Region, mask_digest, moment, paint, regions
from pipeline.annotation_tasks.rle import RunLengthError, decode_brush, encode_brush
from pipeline.annotation_tasks.tasks import Asked, Export
from pipeline.errors import UserError
from pipeline.taxonomy import Taxonomy

TASKS = "tasks.json"
CONFIG = "labeling_config.xml"
MODEL = "segloop"
BRUSH, IMAGE = "mask", "image"
REVIEW_COLOUR = "#ff0000"
MOST_RESULTS = 10_000  # of an annotation; each is painted over the whole picture
# Results that say something about an image and draw nothing.
WITHOUT_PLACE = {"choices", "textarea", "rating", "taxonomy", "number", "datetime", "relation", "pairwise"}


def config(classes: Taxonomy, review: str) -> str:
    """The labelling interface of a project, for "Settings, Labeling Interface, Code"."""
    named = "".join(
        f"    <Label value={quoteattr(each.name)} background={quoteattr(each.colour)}/>\n" for each in classes.classes
    )
    return (
        '<View>\n  <Header value="$title"/>\n  <Text name="about" value="$reason"/>\n'
        f'  <Image name="{IMAGE}" value="$image" zoom="true" zoomControl="true"/>\n'
        f'  <BrushLabels name="{BRUSH}" toName="{IMAGE}">\n{named}  </BrushLabels>\n'
        f'  <RectangleLabels name={quoteattr(review)} toName="{IMAGE}">\n'
        f'    <Label value={quoteattr(review)} background="{REVIEW_COLOUR}"/>\n  </RectangleLabels>\n</View>\n'
    )


def task(asked: Asked, mask: Mask, classes: Taxonomy, review: str, images_at: str) -> str:
    """A task as JSON on one line.

    Args:
        asked: The item.
        mask: Its mask. Shape: (H, W).
        classes: The classes.
        review: The label of the suspicious box.
        images_at: What comes before the name of the image's file in its address.
    """
    suspect = asked.suspect
    data = {
        "image": f"{images_at}{quote(asked.file)}",
        "title": f"{asked.item_id}: {suspect.kind}" if suspect.kind else asked.item_id,
        "item_id": asked.item_id,
        "revision": asked.revision,
        "kind": suspect.kind,
        "score": suspect.score,
        # The tool shows nothing where a text is empty, and an error where it is missing.
        "reason": suspect.why or "asked by name",
        "class": suspect.class_name,
        "box": suspect.box,
    }
    results = [_brush(number, each, asked, mask.shape) for number, each in enumerate(regions(mask, classes))]
    results += [_rectangle(asked, review)] if suspect.box else []
    return json.dumps({"data": data, "predictions": [{"model_version": MODEL, "result": results}]}, allow_nan=False)


def answers(file: Path, export: Export, classes: Taxonomy) -> Iterator[tuple[str, Answer | AnswerError]]:
    """Reads an answer task by task; those that nobody has answered are left out.

    Args:
        file: The JSON that Label Studio exported.
        export: What was asked.
        classes: The classes.

    Yields:
        An item's name, and its answer or why there is none: whoever submits a task has looked at it.

    Raises:
        UserError: The file is no JSON, or of another of the tool's formats.
    """
    asked = {each.item_id: each for each in export.tasks}
    for number, found in enumerate(_tasks(file), 1):
        if not isinstance(found, dict):
            yield f"element {number}", AnswerError(f"it is no task but {type(found).__name__}")
            continue
        data = found.get("data")
        name = str(data.get("item_id", "")) if isinstance(data, dict) else ""
        label = shown(name) if name else f"task {found.get('id')}"
        if not isinstance(found.get("annotations"), list):
            yield label, AnswerError("it has no list of annotations")
        elif name not in asked:
            yield label, AnswerError("it was not exported")
        elif isinstance(data, dict) and data.get("revision") != asked[name].revision:
            yield label, AnswerError(f"its revision is {data.get('revision')} there, {asked[name].revision} was asked")
        else:
            yield from _answered(name, found, asked[name], classes)


def _answered(
    name: str, found: Mapping[str, Any], asked: Asked, classes: Taxonomy
) -> Iterator[tuple[str, Answer | AnswerError]]:
    given = [each for each in found["annotations"] if isinstance(each, dict) and not each.get("was_cancelled")]
    chosen = [each for each in given if each.get("ground_truth")] or given
    if not chosen:
        return
    try:
        masks = [_painted(each, asked, classes) for each in chosen]
    except (AnswerError, RunLengthError) as error:
        yield name, AnswerError(str(error))
        return
    if len({mask_digest(each) for each in masks}) > 1:
        yield name, AnswerError(f"{len(masks)} annotations differ; mark the right one as ground truth")
        return
    told = [moment(each.get("updated_at")) or moment(each.get("created_at")) for each in chosen]
    yield name, Answer(masks[0], seen=True, at=max(filter(None, told), default=None))


def _painted(annotation: Mapping[str, Any], asked: Asked, classes: Taxonomy) -> Mask:
    results = annotation.get("result")
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        raise AnswerError("the annotation has no list of results")
    if len(results) > MOST_RESULTS:
        raise AnswerError(f"{len(results)} results are over the limit of {MOST_RESULTS}")
    drawn = (_region(each, asked) for each in results if not _says_only(each))
    return paint(drawn, asked.height, asked.width, classes)


def _says_only(result: Mapping[str, Any]) -> bool:
    """Whether a result draws nothing of the mask; the boxes are the suspicion, which is no class."""
    return str(result.get("type")) in {*WITHOUT_PLACE, "rectanglelabels"}


def _region(result: Mapping[str, Any], asked: Asked) -> Region:
    value = result.get("value")
    kind = result.get("type")
    if kind != "brushlabels" or not isinstance(value, dict) or value.get("format") != "rle":
        raise AnswerError(f"a result of type {kind!r} is no region of a brush; draw it with the brush")
    size = (result.get("original_height"), result.get("original_width"))
    if size != (asked.height, asked.width):
        raise AnswerError(f"a region is for {size[1]}x{size[0]} px, the image has {asked.width}x{asked.height}")
    if result.get("image_rotation"):
        raise AnswerError("a region was drawn on the turned image; turn it back and draw it again")
    named = value.get("brushlabels")
    if not isinstance(named, list) or len(named) != 1:
        raise AnswerError(f"a region needs exactly one class, received {named}")
    return Region(str(named[0]), 0, 0, decode_brush(value.get("rle") or (), asked.height, asked.width))


def _tasks(file: Path) -> list[Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not readable as JSON: {error}. Export it again.") from None
    if not isinstance(content, list):
        raise UserError(f"{file} holds a {type(content).__name__} instead of a list of tasks: export it as 'JSON'.")
    if content and not any("annotations" in each for each in content if isinstance(each, dict)):
        raise UserError(f"No task of {file} has 'annotations'. Export the project as 'JSON', not 'JSON-MIN'.")
    return content


def shown(name: str) -> str:
    """A foreign name as a terminal and a file can hold it."""
    return name if name.isprintable() else ascii(name)


def _brush(number: int, region: Region, asked: Asked, size: tuple[int, ...]) -> dict[str, Any]:
    whole = np.zeros(size, bool)
    rows, columns = region.pixels.shape
    whole[region.top : region.top + rows, region.left : region.left + columns] = region.pixels
    value = {"format": "rle", "rle": encode_brush(whole), "brushlabels": [region.label]}
    return _result(f"{number}", BRUSH, "brushlabels", asked) | {"value": value}


def _rectangle(asked: Asked, review: str) -> dict[str, Any]:
    assert asked.suspect.box is not None
    left, top, right, bottom = asked.suspect.box
    across, down = 100 / asked.width, 100 / asked.height  # the tool counts in per cent
    place = {"x": left * across, "y": top * down, "width": (right - left) * across, "height": (bottom - top) * down}
    value = {**place, "rotation": 0, "rectanglelabels": [review]}
    return _result("box", review, "rectanglelabels", asked) | {"value": value}


def _result(name: str, control: str, kind: str, asked: Asked) -> dict[str, Any]:
    size = {"original_width": asked.width, "original_height": asked.height, "image_rotation": 0}
    return {"id": f"segloop-{name}", "from_name": control, "to_name": IMAGE, "type": kind, **size}
