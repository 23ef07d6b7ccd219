"""Reads the project's own format: `images/` and `masks/`, optional split folders, optional `items.csv`."""

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import UserError
from pipeline.formats.source import SPLITS, Facts, Source, SourceItem, leads_outside, refuse_twins

FACT_COLUMNS = ("name", "group", "sequence_index", "annotator", "captured_at")
INDEX_END = 1 << 63
SHOWN = 40
# The years that a moment in nanoseconds, to which tables are converted, holds in full.
FIRST_YEAR, LAST_YEAR = 1678, 2261


@dataclass(frozen=True)
class _Found:
    name: str
    split: str | None
    path: Path


def read_folders(root: Path) -> Source:
    """Pairs the files of `images/` and `masks/` by their path without split folder and suffix.

    Args:
        root: The source folder. A first folder named train, val or test below `images/` or `masks/` is a split.

    Raises:
        UserError: A folder is missing or leads outside, two files share a name, or items.csv is malformed.
    """
    images = _found(root, "images")
    masks = _found(root, "masks")
    items = [_pair(root, name, images.get(name), masks.get(name)) for name in sorted({*images, *masks})]
    facts = _read_facts(root / "items.csv", {item.name for item in items})
    return Source([replace(item, facts=facts.get(item.name, item.facts)) for item in items])


def _found(root: Path, folder: str) -> dict[str, _Found]:
    base = root / folder
    if not base.is_dir() or leads_outside(base, root):
        raise UserError(f"{root} needs a folder '{folder}/' inside it. The folders format is images/ and masks/.")
    found = [_named(path, base) for path in _files(base)]
    refuse_twins([SourceItem(each.name, image=each.path) for each in found])
    return {each.name: each for each in found}


def _files(base: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(base):
        folders.sort()
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))


def _named(path: Path, base: Path) -> _Found:
    relative = path.relative_to(base).with_suffix("")
    split = relative.parts[0] if len(relative.parts) > 1 and relative.parts[0] in SPLITS else None
    inner = relative.relative_to(split) if split else relative
    return _Found(inner.as_posix(), split, path)


def _pair(root: Path, name: str, image: _Found | None, mask: _Found | None) -> SourceItem:
    if image is None:
        return SourceItem(name, problem=f"the mask {mask.path if mask else ''} has no image")
    if mask is None:
        return SourceItem(name, image=image.path, problem=f"the image {image.path} has no mask")
    item = SourceItem(name, image=image.path, mask=mask.path, split=image.split)
    if mask.split not in {None, image.split}:
        return replace(item, problem=f"its image is in split {image.split}, its mask in {mask.split}")
    if any(leads_outside(each.path, root) for each in (image, mask)):
        return replace(item, problem="a link leads outside the source folder")
    return item


def _read_facts(file: Path, names: set[str]) -> dict[str, Facts]:
    if not file.exists():
        return {}
    facts: dict[str, Facts] = {}
    for where, row in _rows(file):
        name = row["name"]
        if name in facts or name not in names:
            what = "is listed twice" if name in facts else "is no image or mask of this source"
            raise UserError(f"{where}: '{name}' {what}. A name is a path without split folder and suffix.")
        facts[name] = _facts(row, where)
    return facts


def _rows(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(_text(file), newline=""))
    try:
        header = list(reader.fieldnames or [])
        _check_header(header, file)
        yield from ((f"{file}, line {reader.line_num}", row) for row in reader)
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num + 1}: {error}. Write it as CSV.") from None


def _text(file: Path) -> str:
    if leads_outside(file, file.parent):
        raise UserError(f"{file} is a link that leads outside the source folder. Put the file itself there.")
    if not file.is_file():
        raise UserError(f"{file} is no regular file. Put the table itself there.")
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file}, line {line}: the text is not UTF-8. Save the table as UTF-8.") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{file}, line {line}: the text holds a NUL character. Save the table as plain CSV in UTF-8.")
    return text


def _check_header(header: list[str], file: Path) -> None:
    if "name" not in header:
        raise UserError(f"{file}, line 1: the table needs a column 'name'; it has: {', '.join(header)}.")
    wrong = [column for column in header if not column.strip() or header.count(column) > 1]
    if wrong:
        raise UserError(f"{file}, line 1: every column needs a name of its own, received {wrong[0]!r} in {header}.")


def _facts(row: dict[str, str], where: str) -> Facts:
    if None in row or None in row.values():
        raise UserError(f"{where}: the row has another number of cells than the header. Quote cells with commas.")
    return Facts(
        group=row.get("group") or None,
        sequence_index=_sequence_index(row.get("sequence_index", ""), where),
        annotator=row.get("annotator") or None,
        captured_at=_moment(row.get("captured_at", ""), where),
        slices={column: value for column, value in row.items() if column not in FACT_COLUMNS and value},
    )


def _sequence_index(text: str, where: str) -> int | None:
    try:
        index = int(text) if text else None
    except ValueError:
        index = INDEX_END
    if index is not None and not -INDEX_END <= index < INDEX_END:
        raise UserError(f"{where}: sequence_index must be a whole number of 64 bits, received '{text[:SHOWN]}'.")
    return index


def _moment(text: str, where: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
        if moment is None:
            return None
        utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UserError(f"{where}: captured_at must be like 2026-01-31T12:00:00Z, received '{text}'.") from None
    if not FIRST_YEAR <= utc.year <= LAST_YEAR:
        raise UserError(f"{where}: captured_at must lie in {FIRST_YEAR} to {LAST_YEAR}, received '{text}'.")
    return utc
