"""Writes the consensus of each image as a source folder that `segloop ingest` reads, with maps of the confidence."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.agreement.consensus import Method, decide
from pipeline.agreement.consensus_names import consensus_names
from pipeline.agreement.copies import CONSENSUS, Copies, chunks, read_copies
from pipeline.agreement.images import How, keep_known
from pipeline.agreement.joint import locate
from pipeline.command import in_processes, progress
from pipeline.errors import UserError
from pipeline.files import atomic_dir
from pipeline.images import encode_mask
from pipeline.parts import read_items, slice_columns

CONFIDENCE = "confidence"
FACTS = ("name", "group", "sequence_index", "annotator", "captured_at")
# Suffixes are for people: every reader looks at the content.
SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"II": ".tif", b"MM": ".tif", b"BM": ".bmp"}

Facts = dict[str, str]


@dataclass(frozen=True)
class Wish:
    """How a consensus is made.

    Attributes:
        method: By which method.
        void_below: Pixels of less confidence become void.
        preferred: The annotators, the best first: they decide ties.
    """

    method: Method
    void_below: float
    preferred: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        folders: Source folders by sampling: one, or one for each way in which images were chosen.
        items: How many items.
        left_out: Why an image was left out, by the name of its first item.
    """

    folders: dict[str, Path]
    items: int
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Where the copies are read.

    Attributes:
        dataset: The dataset's folder.
        index: Rows of `read_index`.
        rows: Those of `copies.overlapping`.
    """

    dataset: Path
    index: pd.DataFrame
    rows: pd.DataFrame


def write_consensus(source: Source, how: How, wish: Wish, target: Path, workers: int) -> Written:
    """Writes the folder, whole or not at all.

    Images keep their bytes; an item is called what its copies are called without `~ANNOTATOR`. Images that a model
    chose and others lie in folders of their own, since a batch is of one sampling.

    Args:
        source: The copies.
        how: What counts.
        wish: How it is made.
        target: The folder; that of an earlier call is replaced.
        workers: Processes; 0 takes every core.

    Raises:
        UserError: Another folder stands there.
    """
    _refuse_other(target)
    names, left_out = consensus_names(source.index, source.rows)
    rows = source.rows[source.rows["sha256"].isin(names)]
    samplings = sorted(rows["sampling"].unique()) or ["uniform"]
    folders = {each: Path(each) if len(samplings) > 1 else Path() for each in samplings}
    items = 0
    with atomic_dir(target) as folder:
        for sampling, place in folders.items():
            _prepare(folder / place)
            of_sampling = rows[rows["sampling"] == sampling]
            facts = _facts(of_sampling, names)
            parts = chunks(of_sampling)
            count = len(parts)
            task = (how, wish, names, folder / place)
            each_part = ([source.dataset] * count, parts, [task] * count)
            done = in_processes(_write_chunk, *each_part, workers=workers, section="agreement")
            for problems in progress(done, total=count, label=f"consensus, {sampling}"):
                left_out |= problems
            written = [each for each in facts if (folder / place / "masks" / f"{each['name']}.png").exists()]
            _write_table(folder / place / "items.csv", written)
            items += len(written)
    return Written({each: target / place for each, place in folders.items()}, items, left_out)


def _refuse_other(target: Path) -> None:
    """Refuses to replace what no earlier call made."""
    if target.is_dir() and any(target.iterdir()) and not any(target.rglob(CONFIDENCE)):
        raise UserError(f"{target} exists and holds no consensus. Name another folder, or empty it yourself.")
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file. Name another folder.")


def _prepare(folder: Path) -> None:
    for name in ("images", "masks", CONFIDENCE):
        (folder / name).mkdir(parents=True)


def _write_chunk(dataset: Path, rows: pd.DataFrame, task: tuple[How, Wish, Mapping[str, str], Path]) -> dict[str, str]:
    """Writes the images of a chunk; gives why some were left out."""
    how, wish, names, folder = task
    problems: dict[str, str] = {}
    kept: list[str] = []
    for copies in read_copies(dataset, rows, how.limits):
        known = keep_known(copies, how)
        if len(known.masks) < 2:  # noqa: PLR2004 - a pair
            problems[rows.loc[rows["sha256"] == copies.sha256, "item_id"].min()] = (
                "fewer than two masks can be compared"
            )
            continue
        _write_masks(folder, names[known.sha256], known, how, wish)
        kept.append(known.items[0])
    for row, image, _ in read_items(dataset, rows[rows["item_id"].isin(kept)]):
        suffix = next((each for start, each in SUFFIXES.items() if image.startswith(start)), ".image")
        _write(folder / "images" / f"{names[row['sha256']]}{suffix}", image)
    return problems


def _write_masks(folder: Path, name: str, copies: Copies, how: How, wish: Wish) -> None:
    together, places = locate(copies.masks, how.num_classes, how.ignore_index)
    rank = {each: place for place, each in enumerate(wish.preferred)}
    preferred = sorted(range(len(copies.masks)), key=lambda place: rank.get(copies.annotators[place], len(rank)))
    made = decide(together, preferred, wish.method)
    mask, confidence = made.paint(places, how.ignore_index, wish.void_below, how.num_classes)
    _write(folder / "masks" / f"{name}.png", encode_mask(mask))
    _write(folder / CONFIDENCE / f"{name}.png", encode_mask(confidence))


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def _facts(rows: pd.DataFrame, names: Mapping[str, str]) -> list[Facts]:
    """What items.csv says of each image: what its copies agree on."""
    slices = [name for name in slice_columns(rows) if name not in FACTS]
    return [
        {"name": names[str(sha256)], "annotator": CONSENSUS}
        | {name: _agreed(copies[name]) for name in ("group", "sequence_index", "captured_at", *slices)}
        for sha256, copies in rows.groupby("sha256", sort=True)
    ]


def _agreed(values: "pd.Series[Any]") -> str:
    """The one value that is known, as text; empty where there is none or several."""
    known = values.dropna().unique()
    if len(known) != 1:
        return ""
    return str(known[0].isoformat()) if isinstance(known[0], pd.Timestamp) else str(known[0])


def _write_table(file: Path, items: Sequence[Facts]) -> None:
    columns = dict.fromkeys(name for each in items for name in each) or dict.fromkeys(FACTS)
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, list(columns))
        table.writeheader()
        table.writerows(items)
