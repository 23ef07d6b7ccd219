"""Finds the file with the answers, and refuses what is none before it is opened."""

from pathlib import Path

from pipeline.annotation_tasks.cvat import ANNOTATIONS
from pipeline.annotation_tasks.tasks import RECORD, Export, Format
from pipeline.errors import UserError
from pipeline.files import sha256_file

# JSON is held whole, at three to four times its size; XML is read image by image.
LARGEST_BYTES = {Format.CVAT: 2**30, Format.LABEL_STUDIO: 512 * 2**20}


def answer_file(place: Path, export: Export) -> Path:
    """The file that the annotation tool exported.

    Args:
        place: The file, or the folder it lies in: `annotations.xml`, or the one JSON beside the record.
        export: What was asked.

    Raises:
        UserError: There is none or more than one, it is too large, or it is the question itself.
    """
    file = _found(place, export) if place.is_dir() else place
    if not file.is_file():
        raise UserError(f"There is no file {file}. Name the file that the annotation tool exported, unpacked.")
    size, largest = file.stat().st_size, LARGEST_BYTES[export.tool]
    if size > largest:
        raise UserError(f"{file} has {size} bytes, over the limit of {largest}. Export fewer tasks at a time.")
    if sha256_file(file) in export.files.values():
        raise UserError(f"{file} is what was asked, not an answer: it is as it was exported. Name the tool's export.")
    with file.open("rb") as stream:
        if stream.read(2) == b"PK":
            raise UserError(f"{file} is packed. Unpack it, and name the file inside.")
    return file


def _found(folder: Path, export: Export) -> Path:
    if export.tool is Format.CVAT:
        return folder / ANNOTATIONS
    known = {RECORD, *export.files}
    found = sorted(each for each in folder.glob("*.json") if each.name not in known)
    if len(found) != 1:
        raise UserError(f"{folder} holds {len(found)} JSON files that could be the answer. Name the one.")
    return found[0]
