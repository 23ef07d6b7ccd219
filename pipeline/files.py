"""Writes that are either whole or absent, digests of what was written, and reads that say what is wrong."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def write_atomic(path: Path, data: bytes | str) -> None:
    """Writes a file whole: under a temporary name in the same folder, then renamed."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it on success, removes it on failure.

    The suffix is kept, since writers choose a format by it. The folder is made when it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        temporary = folder / path.name
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`; on success it takes the place of `path`, on failure it goes.

    A folder that stood at `path` is replaced as a whole: nothing of it stays among the new files.
    """
    parent_is_new = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        new = folder / "new"
        new.mkdir()
        yield new
        if path.exists():
            path.rename(folder / "old")
        new.rename(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if parent_is_new and not path.exists():
            path.parent.rmdir()


def refuse_foreign(folder: Path, mark: str) -> None:
    """Refuses to replace a folder that an earlier run of the same command did not make.

    Args:
        folder: Where a report is to go, as a whole.
        mark: A file that every such report has.

    Raises:
        UserError: The folder holds something else.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file()):
        raise UserError(f"{folder} holds something else, which would be lost: it has no {mark}. Name another folder.")


def sha256_bytes(data: bytes) -> str:
    """The SHA-256 digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 digest of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_json(value: object) -> str:
    """The SHA-256 digest of a value's canonical JSON (sorted keys, no blanks)."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def write_json(path: Path, value: object) -> None:
    """Writes JSON for people and machines: indented, sorted, NaN refused since JSON has none."""
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Reads a JSON object that a stage wrote.

    Args:
        path: The file.
        remedy: What to do when it is missing or damaged, as the end of a sentence: "run `dvc repro train`".

    Raises:
        UserError: The file is missing, damaged, or holds something else than an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"There is no {path}: {remedy}.") from None
    except (ValueError, IsADirectoryError) as error:
        raise UserError(f"{path} is damaged ({error}): {remedy}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__} instead of an object: {remedy}.")
    return content


def read_table(path: Path, columns: set[str], remedy: str) -> "pd.DataFrame":
    """Reads a Parquet file that a stage wrote.

    Args:
        path: The file.
        columns: Columns that it must have.
        remedy: What to do when it is missing or damaged, as the end of a sentence.

    Raises:
        UserError: The file is missing, damaged, or lacks a column.
    """
    import pandas as pd
    import pyarrow as pa

    try:
        table = pd.read_parquet(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"There is no {path}: {remedy}.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} is damaged ({error}): {remedy}.") from None
    missing = sorted(columns - set(table.columns))
    if missing:
        raise UserError(f"{path} lacks the columns {missing}: {remedy}.")
    return table


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
