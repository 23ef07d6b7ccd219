"""Writes a folder of tasks: the images as they are stored, what is drawn in them, and the record of what was asked."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.annotation_tasks import cvat, label_studio
from pipeline.annotation_tasks.regions import AnswerError, Mask, mask_digest
from pipeline.annotation_tasks.tasks import IMAGES, Asked, Export, Format, Suspect, review_label, write_export
from pipeline.command import progress
from pipeline.files import sha256_bytes, sha256_file
from pipeline.images import ImageError, Limits, decode_image, decode_mask
from pipeline.parts import read_items
from pipeline.show import file_names
from pipeline.taxonomy import Taxonomy

SHOWN = 10
LONGEST_NAME = 200  # bytes; file systems hold 255, and number and suffix are added
DRAWN = "drawn"
# How the formats that are decoded begin: tools go by the suffix, which a source may have wrong.
BEGINNINGS = {
    b"\x89PNG": ".png",
    b"\xff\xd8": ".jpg",
    b"RIFF": ".webp",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"P": ".ppm",
}


@dataclass(frozen=True)
class Source:
    """Where items come from.

    Attributes:
        root: The dataset's folder.
        index: Its items.
        limits: What is refused before it is decoded.
        classes: The taxonomy.
    """

    root: Path
    index: pd.DataFrame
    limits: Limits
    classes: Taxonomy


def write_tasks(folder: Path, source: Source, wanted: list[Suspect], tool: Format, images_at: str) -> Export:
    """Writes images, tasks and their record; an item that cannot be asked about is left out with its reason.

    Args:
        folder: An empty folder.
        source: The dataset.
        wanted: The items, worst first.
        tool: The annotation tool.
        images_at: For Label Studio, what comes before an image's file name in its address.
    """
    review = review_label(source.classes)
    (folder / IMAGES).mkdir()
    (folder / DRAWN).mkdir()

    def draw(asked: Asked, mask: Mask) -> str:
        if tool is Format.CVAT:
            return cvat.shapes(asked, mask, source.classes, review)
        return label_studio.task(asked, mask, source.classes, review, images_at)

    asked, left_out = _ask(folder, source, wanted, draw)
    if tool is Format.CVAT:
        _write(folder / cvat.ANNOTATIONS, _cvat(folder, asked, source.classes, review))
        _write(folder / cvat.LABELS, [cvat.labels(source.classes, review)])
    else:
        _write(folder / label_studio.TASKS, _label_studio(folder, asked))
        _write(folder / label_studio.CONFIG, [label_studio.config(source.classes, review)])
    (folder / DRAWN).rmdir()
    files = {file.name: sha256_file(file) for file in sorted(folder.iterdir()) if file.is_file()}
    names = tuple(source.classes.names)
    export = Export(tool=tool, classes=names, review_label=review, files=files, tasks=tuple(asked), left_out=left_out)
    write_export(folder, export)
    return export


def _ask(
    folder: Path, source: Source, wanted: list[Suspect], draw: Callable[[Asked, Mask], str]
) -> tuple[list[Asked], dict[str, str]]:
    """Writes images and drawings in the order of the parts; gives the tasks in the order wanted."""
    ranks = {each.item_id: rank for rank, each in enumerate(wanted)}
    names = file_names(source.index["item_id"])
    left_out = {name: f"{source.root} has no such item" for name in ranks if name not in names}
    asked: dict[int, Asked] = {}
    rows = source.index[source.index["item_id"].isin(ranks)]
    for row, image, encoded in progress(read_items(source.root, rows), total=len(rows), label="tasks"):
        rank = ranks[row["item_id"]]
        try:
            file = f"{rank:06d}_{_short(names[row['item_id']])}{_suffix(image)}"
            asked[rank], mask = _asked(wanted[rank], row, file, image, encoded, source)
        except (ImageError, AnswerError) as error:
            left_out[row["item_id"]] = str(error)
            continue
        (folder / IMAGES / file).write_bytes(image)
        (folder / DRAWN / file).write_text(draw(asked[rank], mask), encoding="utf-8")
    return [asked[rank] for rank in sorted(asked)], left_out


def _asked(
    suspect: Suspect, row: Mapping[str, Any], file: str, image: bytes, encoded: bytes, source: Source
) -> tuple[Asked, Mask]:
    revision = int(row["revision"])
    if suspect.revision not in {None, revision}:
        raise AnswerError(f"revision {suspect.revision} was judged, the dataset has {revision}: check the labels anew")
    pixels, mask = decode_image(image, source.limits), decode_mask(encoded, source.limits)
    height, width = mask.shape
    if pixels.shape[:2] != mask.shape:
        raise AnswerError(f"the image is {pixels.shape[1]}x{pixels.shape[0]} px, the mask {width}x{height}")
    held = set(pd.unique(mask.ravel()).tolist()) - {source.classes.ignore_index}
    strange = sorted(each for each in held if each >= source.classes.num_classes)
    if strange:
        raise AnswerError(f"the mask holds values that are no class: {strange[:SHOWN]}; see `segloop validate`")
    present = tuple(each.name for each in source.classes.classes if each.id in held)
    placed = suspect.model_copy(update={"box": _inside(suspect.box, height, width)})
    return (
        Asked(
            suspect=placed,
            revision=revision,
            file=file,
            width=width,
            height=height,
            image_sha256=sha256_bytes(image),
            mask_sha256=mask_digest(mask),
            classes=present,
        ),
        mask,
    )


def _inside(
    box: tuple[float, float, float, float] | None, height: int, width: int
) -> tuple[float, float, float, float] | None:
    """The part of a box that is inside the image; None without one."""
    if box is None:
        return None
    left, right = (min(max(each, 0.0), float(width)) for each in box[::2])
    top, bottom = (min(max(each, 0.0), float(height)) for each in box[1::2])
    return (left, top, right, bottom) if left < right and top < bottom else None


def _short(name: str) -> str:
    """A name that fits into a file's; the number before it keeps it unique."""
    return name.encode()[:LONGEST_NAME].decode(errors="ignore")


def _suffix(image: bytes) -> str:
    return next((suffix for beginning, suffix in BEGINNINGS.items() if image.startswith(beginning)), "")


def _cvat(folder: Path, asked: list[Asked], classes: Taxonomy, review: str) -> Iterator[str]:
    yield cvat.head(classes, review, len(asked))
    for number, each in enumerate(asked):
        yield cvat.image(number, each, _taken(folder / DRAWN / each.file))
    yield cvat.TAIL


def _label_studio(folder: Path, asked: list[Asked]) -> Iterator[str]:
    for number, each in enumerate(asked):
        yield (",\n" if number else "[\n") + _taken(folder / DRAWN / each.file)
    yield "\n]\n"


def _taken(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    file.unlink()
    return text


def _write(path: Path, pieces: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(pieces)
