"""Sorts answers into changed, kept, refused and missing ones, and makes items of the changed to be ingested."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.annotation_tasks import cvat, label_studio
from pipeline.annotation_tasks.regions import Answer, AnswerError, Mask, mask_digest
from pipeline.annotation_tasks.tasks import Asked, Export, Format
from pipeline.files import sha256_bytes
from pipeline.formats.source import Facts, SourceItem
from pipeline.images import ImageError, Limits, decode_mask, encode_mask
from pipeline.label_qa.decisions import Choice, Decision, Decisions
from pipeline.parts import read_items
from pipeline.taxonomy import Taxonomy

VALUES = 256  # of a mask
FLOWS = 3  # changes from a class to another that are told of an item
READERS = {Format.CVAT: cvat.answers, Format.LABEL_STUDIO: label_studio.answers}


@dataclass
class Answers:
    """What came back.

    Attributes:
        changed: Files of the masks that were changed, by item.
        kept: When somebody looked at them, by item: those that came back as they were, as far as the file tells.
        unseen: Items that came back as they were, and nothing shows that somebody has looked at them.
        outdone: What was decided since about items that came back as they were, by item.
        read: Revision that an earlier reading has made of the same answer, by item.
        refused: Why an answer cannot be used, by item.
        unanswered: Items that nobody has answered.
    """

    changed: dict[str, Path] = field(default_factory=dict)
    kept: dict[str, datetime | None] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    outdone: dict[str, Choice] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)

    def keeps(self, export: Export, by: str, reading: "Reading") -> list[Decision]:
        """The decisions to keep what came back as it was, but those that a later decision stands against.

        An answer may be read again, under another batch's name and long after it was given: what counts is when it was
        given. Where the file does not tell, whatever was decided stands.

        Args:
            export: What was asked.
            by: Who annotated.
            reading: How the answers are read.
        """
        found, now = [], datetime.now(UTC)
        for task in (each for each in export.tasks if each.item_id in self.kept):
            at, held = self.kept[task.item_id], reading.held(task)
            if held is None or (at is not None and held.at < _whole_seconds(at) and held.decision is not Choice.KEEP):
                moment = _whole_seconds(min(at or now, now))  # a clock that is ahead must not outdo what comes later
                note = f"unchanged in {export.tool}, batch {reading.batch}"
                kind = task.suspect.kind
                found.append(Decision(task.item_id, task.revision, Choice.KEEP, kind, by, moment, note))
            elif held.decision is not Choice.KEEP:
                self.outdone[task.item_id] = held.decision
        return found


@dataclass(frozen=True)
class Reading:
    """How answers are read.

    Attributes:
        classes: The classes.
        fill: Id of the pixels that no region covers.
        batch: The batch that the changed masks go to; where it holds them already, they are not outdated.
        scratch: A folder for the changed masks.
        made: The decisions so far.
        keep_unseen: What came back as it was is kept, though nothing shows that somebody has looked at it.
    """

    classes: Taxonomy
    fill: int
    batch: str
    scratch: Path
    made: Decisions = field(default_factory=Decisions)
    keep_unseen: bool = False

    def held(self, task: Asked) -> Decision | None:
        """The decision that counts of what was asked about."""
        return self._rows.get((task.item_id, task.revision))

    @cached_property
    def _rows(self) -> dict[tuple[str, int], Decision]:
        return {(row.item_id, row.revision): row for row in self.made.rows}


def sort_answers(file: Path, export: Export, index: pd.DataFrame, reading: Reading) -> Answers:
    """Reads answers and holds them against what was asked and what the dataset holds now.

    Args:
        file: The tool's export.
        export: What was asked.
        index: The dataset's items.
        reading: How the answers are read.
    """
    asked = {each.item_id: each for each in export.tasks}
    now = {row["item_id"]: row for row in index[index["item_id"].isin(asked)].to_dict("records")}
    answers, seen = Answers(), set()
    for name, answer in READERS[export.tool](file, export, reading.classes):
        if name in seen:
            answers.refused[name] = "it is answered more than once"
            continue
        seen.add(name)
        try:
            _sort(answers, asked.get(name), answer, now.get(name), reading)
        except AnswerError as error:
            answers.refused[name] = str(error)
    answers.kept = {name: at for name, at in answers.kept.items() if name not in answers.refused}
    answers.unseen = [name for name in answers.unseen if name not in answers.refused]
    answers.read = {name: number for name, number in answers.read.items() if name not in answers.refused}
    answers.changed = {name: path for name, path in answers.changed.items() if name not in answers.refused}
    answers.unanswered = [name for name in asked if name not in seen]
    return answers


def source_items(
    answers: Answers, dataset: Path, index: pd.DataFrame, by: str | None, scratch: Path
) -> list[SourceItem]:
    """The changed masks with their images as items to ingest, and the refused answers with their reasons.

    Args:
        answers: What came back.
        dataset: The dataset's folder, where the images are taken from.
        index: Its items.
        by: Who annotated; None keeps who drew the earlier masks.
        scratch: A folder for the images.
    """
    items = [SourceItem(name, problem=reason) for name, reason in sorted(answers.refused.items())]
    for row, image, _ in read_items(dataset, index[index["item_id"].isin(answers.changed)]):
        mask = answers.changed[row["item_id"]]
        file = scratch / f"{mask.stem}.image"
        file.write_bytes(image)
        place = None if pd.isna(row["sequence_index"]) else int(row["sequence_index"])
        facts = Facts(group=row["group"], sequence_index=place, annotator=by)
        items.append(SourceItem(row["item_id"], image=file, mask=mask, facts=facts))
    return items


def changes(
    answers: Answers, dataset: Path, index: pd.DataFrame, classes: Taxonomy, limits: Limits
) -> Iterator[tuple[str, str, str, str]]:
    """What the annotators changed in each mask.

    Args:
        answers: What came back.
        dataset: The dataset's folder.
        index: Its items.
        classes: The classes.
        limits: What is refused before decoding.

    Yields:
        In words: the item, the pixels that changed, those of them that became void, and the most frequent changes; or
        why the mask cannot be compared with the one in the dataset.
    """
    for row, _, old in read_items(dataset, index[index["item_id"].isin(answers.changed)]):
        try:
            before, after = decode_mask(old, limits), decode_mask(answers.changed[row["item_id"]].read_bytes(), limits)
            yield row["item_id"], *_difference(before, after, classes)
        except (ImageError, AnswerError) as error:
            yield row["item_id"], "", "", f"not compared: {error}"


def _difference(before: Mask, after: Mask, classes: Taxonomy) -> tuple[str, str, str]:
    if before.shape != after.shape:
        raise AnswerError("the masks differ in size")
    flows = np.bincount(before.ravel() * np.int64(VALUES) + after.ravel(), minlength=VALUES**2).reshape(VALUES, VALUES)
    np.fill_diagonal(flows, 0)
    names = {each.id: each.name for each in classes.classes} | {classes.ignore_index: "void"}
    order = np.argsort(-flows, axis=None, kind="stable")[:FLOWS]
    shown = [(*divmod(int(place), VALUES), int(flows.flat[place])) for place in order]
    told = (f"{names.get(old, old)} to {names.get(new, new)} {px:,} px" for old, new, px in shown if px)
    return f"{flows.sum():,}", f"{flows[:, classes.ignore_index].sum():,}", ", ".join(told)


def _sort(
    answers: Answers, asked: Asked | None, answer: Answer | AnswerError, row: dict[Any, Any] | None, reading: Reading
) -> None:
    if isinstance(answer, AnswerError):
        raise answer
    assert asked is not None  # readers give a mask for what was asked only
    void = reading.classes.ignore_index
    filled = np.where(answer.mask == void, np.uint8(reading.fill), answer.mask)
    if row is not None and _was_read(asked, filled, row, reading.batch):
        answers.read[asked.item_id] = int(row["revision"])
        return
    _refuse_outdated(asked, row, reading.batch)
    # What nobody touched stays as it is: the class for what is not covered is for masks that somebody drew.
    if asked.mask_sha256 in {mask_digest(answer.mask), mask_digest(filled)}:
        if row is not None and row["revision"] != asked.revision:
            raise AnswerError(f"it is unchanged, but batch '{reading.batch}' holds another revision of it")
        if answer.seen or reading.keep_unseen:
            answers.kept[asked.item_id] = answer.at
        else:
            answers.unseen.append(asked.item_id)
        return
    if (filled == void).all():
        raise AnswerError("nothing is drawn in it; to take it out of the dataset, `segloop labels decide` removes it")
    _refuse_outdone(reading.held(asked), answer.at)
    path = reading.scratch / f"{len(answers.changed):06d}.png"
    path.write_bytes(encode_mask(filled))
    answers.changed[asked.item_id] = path


def _refuse_outdone(held: Decision | None, at: datetime | None) -> None:
    if held and at and held.decision is Choice.KEEP and held.at > at:
        raise AnswerError(
            f"it was drawn at {_whole_seconds(at)}, and at {held.at} {held.by} decided to keep the mask as it is; "
            "`segloop labels decide` with relabel, and export it anew"
        )


def _whole_seconds(at: datetime) -> datetime:
    """A moment as decisions have it."""
    return at.astimezone(UTC).replace(microsecond=0)


def _was_read(asked: Asked, answer: Mask, row: dict[Any, Any], batch: str) -> bool:
    """Whether the item's later revision is this very answer, read into another batch.

    In its own batch an answer is read again as it was at first, so that the batch is found complete.
    """
    later = row["batch"] != batch and row["revision"] > asked.revision
    return later and bool(row["mask_source_sha256"] == sha256_bytes(encode_mask(answer)))


def _refuse_outdated(asked: Asked, row: dict[Any, Any] | None, batch: str) -> None:
    if row is None:
        raise AnswerError("it has been removed from the dataset since it was exported")
    again = row["batch"] == batch and row["revision"] == asked.revision + 1
    if row["revision"] != asked.revision and not again:
        raise AnswerError(
            f"it is outdated: revision {asked.revision} was exported, the dataset has {row['revision']}; export it anew"
        )
    if row["sha256"] != asked.image_sha256:
        raise AnswerError("its image is another one than that exported; export it anew")
