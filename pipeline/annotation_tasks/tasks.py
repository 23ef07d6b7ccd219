"""What was asked: the record of an export, by which answers are matched to items and their revisions."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline.errors import UserError
from pipeline.files import read_json, write_json
from pipeline.params import Section, parse
from pipeline.taxonomy import Taxonomy

RECORD = "export.json"
IMAGES = "images"
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# A file's name alone: what a record names is never looked for elsewhere.
FileName = Annotated[str, Field(pattern=r"^[^/\\\x00]+$", max_length=255)]
Box = tuple[float, float, float, float]


class Format(StrEnum):
    """An annotation tool."""

    CVAT = "cvat"
    LABEL_STUDIO = "label-studio"


class Suspect(Section):
    """An item to ask about, and why.

    Attributes:
        item_id: Its name.
        kind: What its mask is suspected of; empty where nobody says.
        score: How strongly.
        why: In a sentence.
        class_name: The class that is probably wrong.
        box: Where: left, top, right, bottom in px.
        revision: The revision that was judged; None where the list does not tell.
    """

    item_id: str
    kind: str = ""
    score: float | None = None
    why: str = ""
    class_name: str | None = None
    box: Box | None = None
    revision: int | None = None


class Asked(Section):
    """A task: one item, as it was when it was asked about.

    Attributes:
        suspect: The item, and why it is asked about.
        revision: Its revision.
        file: Name of the image's file.
        width: Of image and mask as shown, in px.
        height: The same.
        image_sha256: Digest of the image's bytes.
        mask_sha256: Digest of the mask's pixels, see `regions.mask_digest`.
        classes: The classes in the mask.
    """

    suspect: Suspect
    revision: int = Field(ge=1)
    file: FileName
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    image_sha256: Digest
    mask_sha256: Digest
    classes: tuple[str, ...]

    @property
    def item_id(self) -> str:
        """The item's name."""
        return self.suspect.item_id


class Export(Section):
    """Everything that was asked at a time.

    Attributes:
        schema_version: Of this record.
        tool: The annotation tool.
        classes: The taxonomy's classes by id.
        review_label: The label of the suspicious boxes, which is no class.
        files: Digests of the files with the tasks: they are questions, not answers.
        tasks: What was asked, worst first.
        left_out: Why some items could not be asked about, by item.
    """

    schema_version: Literal[1] = 1
    tool: Format
    classes: tuple[str, ...]
    review_label: str
    files: dict[str, Digest]
    tasks: tuple[Asked, ...]
    left_out: dict[str, str]


def write_export(folder: Path, export: Export) -> None:
    """Writes the record of an export."""
    write_json(folder / RECORD, export.model_dump(mode="json"))


def read_export(file: Path, classes: Taxonomy, tool: Format) -> Export:
    """Reads the record of an export.

    Args:
        file: The record.
        classes: The taxonomy as it is now; classes may have been added at its end since.
        tool: The tool that the answers come from.

    Raises:
        UserError: It is missing or damaged, of another tool, or of classes that are no longer those.
    """
    content = read_json(file, "name the exported folder by --export, as `segloop labels export` made it")
    export = parse(Export, content, str(file))
    if export.tool is not tool:
        raise UserError(f"{file} records an export for {export.tool}, received --format {tool}. Name the right one.")
    if list(export.classes) != classes.names[: len(export.classes)]:
        raise UserError(
            f"{file} was exported with the classes {list(export.classes)}, the taxonomy now says {classes.names}. "
            "Restore the taxonomy, or export anew."
        )
    return export


def review_label(classes: Taxonomy) -> str:
    """A label for suspicious boxes that no class has."""
    label = "review"
    while label in classes.names:
        label += "_"
    return label
