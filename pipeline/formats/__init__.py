"""The formats that data can come in: each a reader from a source folder to the items in it."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.errors import UserError
from pipeline.formats.datumaro import IMPORTERS, read_datumaro
from pipeline.formats.folders import read_folders
from pipeline.formats.source import Reader, Source, SourceItem

READERS: dict[str, Reader] = {
    "folders": read_folders,
    **{name: partial(read_datumaro, name) for name in IMPORTERS},
}


def read_source(root: Path, name: str) -> Source:
    """Finds the items of a source folder.

    Raises:
        UserError: The format is unknown, the folder is missing, holds nothing, or is not what the format says.
    """
    if name not in READERS:
        raise UserError(f"There is no format '{name}'. Formats: {', '.join(READERS)}.")
    if not root.is_dir():
        raise UserError(f"There is no folder {root} to ingest.")
    source = READERS[name](root)
    if not source.items:
        raise UserError(f"{root} holds no images or masks in the format '{name}'.")
    return replace(source, items=[_storable(item) for item in source.items])


def _storable(item: SourceItem) -> SourceItem:
    """The item itself, or one with a problem where its names cannot be stored as text."""
    names = [item.name, *(each.name for each in (item.image, item.mask) if isinstance(each, Path))]
    if not any(_undecoded(name) for name in names):
        return item
    shown = item.name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return SourceItem(shown, problem="a file's name is not UTF-8; rename it")


def _undecoded(name: str) -> bool:
    # Python decodes the bytes of a name that are not UTF-8 to lone surrogates.
    return any("\ud800" <= character <= "\udfff" for character in name)
