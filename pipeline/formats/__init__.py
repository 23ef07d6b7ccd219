"""The formats that data can come in: each a reader from a source folder to the items in it."""

from functools import partial
from pathlib import Path

from pipeline.errors import UserError
from pipeline.formats.datumaro import IMPORTERS, read_datumaro
from pipeline.formats.folders import read_folders
from pipeline.formats.source import Reader, Source

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
    return source
