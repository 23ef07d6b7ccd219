"""What a batch says of itself: its manifest, checked before anything of it is believed."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from pipeline.formats.folders import FIRST_YEAR, LAST_YEAR
from pipeline.params import Section

MANIFEST = "manifest.json"
REPORT = "report.json"
# What object storage and the usual file systems take.
MAX_PATH_BYTES, MAX_NAME_BYTES = 1024, 255
SHOWN = 5


class BatchError(Exception):
    """What makes a batch unusable, by its own fault; the message is the reason for whoever made it."""


class BatchLimits(Section):
    """What a batch may hold.

    Attributes:
        max_manifest_bytes: Size of the manifest itself, in bytes.
        max_files: Files that it lists.
        max_bytes: Their sizes together, in bytes.
    """

    max_manifest_bytes: int = Field(ge=1)
    max_files: int = Field(ge=1)
    max_bytes: int = Field(ge=1)


def _in_range(moment: datetime) -> datetime:
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"the year must lie in {FIRST_YEAR} to {LAST_YEAR}")
    return moment


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("control characters")
    return text


Text = Annotated[str, AfterValidator(_printable)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ManifestFile(_Model):
    """One file of a batch: its path within the batch, the digest of its bytes, and how many they are."""

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Manifest(_Model):
    """A batch's manifest.

    Attributes:
        schema_: The manifest's own version.
        files: What the batch is made of; whatever else lies beside it is not looked at.
        format: One of the formats of `segloop ingest`.
        source: Where the data comes from; chooses the taxonomy's remap.
        taxonomy_version: The taxonomy that the annotators worked with.
        annotator: Who drew the masks, where a file of the batch does not say it by item.
        captured_at: When the images were taken, likewise.
        sampling: How the images were chosen; `selected` by a model, they never enter the holdout.
        relabel: Items that the dataset knows become new revisions where they differ, instead of an error.
    """

    schema_: Literal[1] = Field(alias="schema")
    files: tuple[ManifestFile, ...] = Field(min_length=1)
    format: Text
    taxonomy_version: int
    source: Text = ""
    annotator: Text | None = None
    captured_at: Annotated[AwareDatetime, AfterValidator(_in_range)] | None = None
    sampling: Literal["uniform", "selected"] = "uniform"
    relabel: bool = False

    @property
    def bytes(self) -> int:
        """The sizes of the files together."""
        return sum(each.bytes for each in self.files)


def parse_manifest(data: bytes, limits: BatchLimits) -> Manifest:
    """Reads a manifest and checks that its files are confined to the batch and within the limits.

    Raises:
        BatchError: It is no manifest, lists too much, or a path leads out of the batch or stands there twice.
    """
    if len(data) > limits.max_manifest_bytes:
        raise BatchError(f"{MANIFEST} is larger than the limit of {limits.max_manifest_bytes} bytes: split the batch")
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise BatchError(f"{MANIFEST}: {_problems(error)}") from None
    if len(manifest.files) > limits.max_files:
        raise BatchError(f"{len(manifest.files)} files are over the limit of {limits.max_files}: split the batch")
    if manifest.bytes > limits.max_bytes:
        raise BatchError(f"{manifest.bytes} bytes are over the limit of {limits.max_bytes}: split the batch")
    _check_paths([each.path for each in manifest.files])
    return manifest


def _problems(error: ValidationError) -> str:
    found = [f"{'.'.join(map(str, each['loc'])) or 'text'}: {each['msg']}" for each in error.errors()]
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(found[:SHOWN]) + more


def _check_paths(paths: list[str]) -> None:
    for path in paths:
        problem = _problem(path)
        if problem:
            raise BatchError(f"the path {path!r} {problem}")
    # One file under two spellings of its name would be two files here and one on another system.
    names = Counter(unicodedata.normalize("NFC", path) for path in paths)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise BatchError(f"the path {twice!r} is listed twice")
    both = names.keys() & _folders(names)
    if both:
        raise BatchError(f"the path {min(both)!r} is both a file and a folder")


def _problem(path: str) -> str:
    names = path.split("/")
    if not path.isprintable():
        return "has control characters"
    if any(name in {"", ".", ".."} for name in names) or "\\" in path:
        return "leads out of the batch or is not in its plain form (a/b/c)"
    if len(path.encode()) > MAX_PATH_BYTES or any(len(name.encode()) > MAX_NAME_BYTES for name in names):
        return f"is longer than {MAX_PATH_BYTES} bytes, or a name in it than {MAX_NAME_BYTES}"
    return "is reserved" if path in {MANIFEST, REPORT} else ""


def _folders(paths: Iterable[str]) -> set[str]:
    return {folder.as_posix() for path in paths for folder in PurePosixPath(path).parents}
