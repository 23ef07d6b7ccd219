"""The record of purges: which items were removed for good, by whom and why, and what stands in for their parts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import UserError
from pipeline.files import sha256_bytes, write_atomic

RECORD = Path("data/purged.jsonl")
SCHEMA = 1


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PurgedItem(_Line):
    """An item that is gone.

    Attributes:
        item_sha256: Digest of its name: whoever knows the name finds it.
        item_id: The name itself; None where it must not be kept either.
        images: SHA-256 of its images, by which they are known when they come again.
        rows: Rows that it had, revisions and tombstones together.
    """

    item_sha256: str
    item_id: str | None
    images: tuple[str, ...]
    rows: int


class PurgedPart(_Line):
    """A part that is gone, and the one that holds its other rows.

    Attributes:
        old: DVC's digest of the part that is gone.
        new: That of the part in its place.
        items: `item_sha256` of those that it lost.
    """

    old: str
    new: str
    items: tuple[str, ...]


class Purge(_Line):
    """One act of purging.

    Attributes:
        version: Of this list of facts.
        at: When, UTC.
        by: Who.
        note: Why.
        items: What was removed.
        parts: Where it was.
        releases: The releases that held it.
    """

    version: int
    at: str
    by: str
    note: str
    items: tuple[PurgedItem, ...]
    parts: tuple[PurgedPart, ...]
    releases: tuple[str, ...]

    @property
    def reason(self) -> str:
        """When and why, as the end of a sentence."""
        return f"purged on {self.at[:10]}: {self.note}"


@dataclass(frozen=True)
class Record:
    """All acts of purging, in their order."""

    purges: tuple[Purge, ...] = ()

    @cached_property
    def parts(self) -> dict[str, tuple[Purge, PurgedPart]]:
        """What became of each part that is gone, by its digest."""
        return {part.old: (purge, part) for purge in self.purges for part in purge.parts}

    @cached_property
    def images(self) -> dict[str, str]:
        """Why an image is gone, by the SHA-256 of its bytes."""
        return {
            sha256: f"its image was {purge.reason}"
            for purge in self.purges
            for item in purge.items
            for sha256 in item.images
        }

    @cached_property
    def items(self) -> dict[str, str]:
        """Why an item is gone, by the digest of its name."""
        return {item.item_sha256: purge.reason for purge in self.purges for item in purge.items}

    def stand_in(self, md5: str) -> str:
        """The part that holds today what is left of a part; itself where nothing was purged from it."""
        while md5 in self.parts:
            md5 = self.parts[md5][1].new
        return md5

    def losses(self, md5: str) -> list[tuple[Purge, PurgedPart]]:
        """What was purged from a part, act by act."""
        found = []
        while md5 in self.parts:
            found.append(self.parts[md5])
            md5 = found[-1][1].new
        return found

    def with_purge(self, purge: Purge) -> "Record":
        """The record with one act more."""
        return Record((*self.purges, purge))


@dataclass(frozen=True)
class Losses:
    """What has been purged from a release since it was made.

    Attributes:
        parts: What was purged from each part, as a sentence, by the part's path.
        items: Why an item is gone, by the digest of its name.
        sentences: One for each act of purging.
    """

    parts: dict[str, str] = field(default_factory=dict)
    items: dict[str, str] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()


def find_losses(record: Record, parts: Mapping[str, str]) -> Losses:
    """What the record says of the parts of a release.

    Args:
        record: The record.
        parts: DVC's digest of each part, by its path.
    """
    by_part = {path: found for path, md5 in parts.items() if (found := record.losses(md5))}
    gone: dict[str, set[str]] = {}  # items by reason: a purge that touched several parts is one act
    for found in by_part.values():
        for purge, part in found:
            gone.setdefault(purge.reason, set()).update(part.items)
    return Losses(
        parts={
            path: "; ".join(_lost(len(part.items), purge.reason) for purge, part in by_part[path]) for path in by_part
        },
        items={item: reason for reason, items in gone.items() for item in items},
        sentences=tuple(_lost(len(items), reason) for reason, items in gone.items()),
    )


def _lost(count: int, reason: str) -> str:
    return f"{count} item{'s were' if count > 1 else ' was'} {reason}"


def item_digest(item_id: str) -> str:
    """The digest by which the record knows an item's name."""
    return sha256_bytes(item_id.encode())


def read_record(file: Path) -> Record:
    """Reads the record; an empty one where there is no file.

    Raises:
        UserError: A line of it is none of this version.
    """
    if not file.exists():
        return Record()
    purges = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            purges.append(Purge.model_validate_json(line))
        except ValidationError as error:
            raise UserError(
                f"{file}, line {number} is no purge of this version: {error.errors()[0]['msg']}. Restore it from git: "
                "the record only grows."
            ) from None
    return Record(tuple(purges))


def append_purge(file: Path, purge: Purge) -> Record:
    """Adds a line; what stood there stays, to the byte."""
    record = read_record(file)
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    write_atomic(file, f"{before}{purge.model_dump_json()}\n")
    return record.with_purge(purge)
