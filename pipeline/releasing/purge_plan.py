"""What a purge would remove: every row of the items, or with their images, in every part that git or the workspace has.

Nothing is remembered between runs: whatever a killed purge has left shows here again.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.command import progress
from pipeline.errors import UserError, near_names
from pipeline.parts import parts
from pipeline.releasing.git import Git
from pipeline.releasing.history import dataset_lists
from pipeline.releasing.pointer import Pointer
from pipeline.releasing.purged import RECORD, Record, item_digest, read_record
from pipeline.releasing.reader import only_parts
from pipeline.releasing.storage import Place, away, open_places, open_repo
from pipeline.releasing.verification import md5_of

NOTHING = "0" * 32
Rows = list[tuple[str, str]]


@dataclass
class Doomed:
    """A part that holds what is to be removed.

    Attributes:
        md5: DVC's digest of it.
        rows: The doomed rows by item.
        releases: The releases that point to it, itself or through what it stands in for.
        files: The workspace's files with this content.
    """

    md5: str
    rows: dict[str, int]
    releases: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


@dataclass
class Plan:
    """What a purge would do.

    Attributes:
        root: The workspace.
        dataset: The dataset's folder, relative to it.
        git: The repository.
        repo: DVC's.
        places: The cache and the remotes.
        record: What was purged before.
        names: The items asked for.
        images: SHA-256 of their images, and of those that were purged before.
        lists: The files of every dataset that git knows, by DVC's digest of the list: path and digest.
        releases: The releases of each list.
        unread: Lists and parts that are in no place, so that nobody can look into them.
        items: Images of the doomed items.
        doomed: The parts to rewrite, by digest.
        stale: Files of the workspace whose content the record says is gone.
        left: Parts that the record says are gone, by place, where they lie still.
    """

    root: Path
    dataset: Path
    git: Git
    repo: Any
    places: list[Place]
    record: Record
    names: set[str]
    images: set[str] = field(default_factory=set)
    lists: dict[str, dict[str, str]] = field(default_factory=dict)
    releases: dict[str, list[str]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    items: dict[str, set[str]] = field(default_factory=dict)
    doomed: dict[str, Doomed] = field(default_factory=dict)
    stale: dict[Path, str] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)

    def dooms(self, item_id: str, sha256: str) -> bool:
        """Whether a row goes: by its item, or since it has the same image."""
        return item_id in self.names or sha256 in self.images

    @property
    def empty(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.doomed or self.stale or self.left or self.pointer_is_stale)

    @property
    def pointer_is_stale(self) -> bool:
        """Whether the workspace's pointer still names a part that is gone."""
        pointer = Pointer(self.dataset, by_stage=False)
        file = self.root / pointer.file
        md5 = pointer.md5(file.read_text(encoding="utf-8")) if file.exists() else None
        return any(part in self.record.parts for part in self.lists.get(md5 or "", {}).values())


def look(root: Path, dataset: Path, names: set[str]) -> Plan:
    """Finds every row to remove.

    Args:
        root: The workspace.
        dataset: The dataset's folder, relative to it.
        names: Items; what the record names is removed again wherever it has come back to, so this may be empty.

    Raises:
        UserError: No part has such an item, or the workspace's dataset is not checked out.
        OutageError: A remote does not answer.
    """
    _refuse_unfetched(Git(root))
    repo = open_repo(root)
    plan = Plan(root, dataset, Git(root), repo, open_places(repo), read_record(root / RECORD), names)
    plan.releases = dataset_lists(plan.git, dataset)
    for place in plan.places:
        with away("Looking", place):
            place.has(NOTHING)  # one that is away is found out now, not half-way
    tables = {**_known_parts(plan), **_workspace_parts(plan)}
    plan.images |= set(plan.record.images)
    for rows, _ in tables.values():
        plan.images |= {sha256 for item, sha256 in rows if item in names}
    for md5, (rows, files) in tables.items():
        _judge(plan, md5, [row for row in rows if plan.dooms(*row)], files)
    _refuse_unknown(plan, names, {item for rows, _ in tables.values() for item, _ in rows})
    for place in plan.places:
        with away("Looking", place):
            here = [md5 for md5 in plan.record.parts if place.has(md5)]
        if here:
            plan.left[place.name] = here
    return plan


def _refuse_unfetched(git: Git) -> None:
    """What somebody else released holds the items too, and is not known here before it was fetched."""
    remote = git.remote()
    unseen = sorted(set(git.remote_tags(remote)) - set(git.tags())) if remote else []
    if unseen:
        raise UserError(
            f"The git remote '{remote}' has {', '.join(unseen)}, which is not here, and which may hold the items: run "
            "`git fetch --tags` first."
        )


@contextmanager
def opened_object(places: list[Place], md5: str) -> Iterator[BinaryIO | None]:
    """Opens an object at the first place that has it; None where none has."""
    for place in places:
        with away(f"Reading {md5}", place):
            if place.has(md5):
                with place.odb.fs.open(place.odb.oid_to_path(md5), "rb") as file:
                    yield file
                return
    yield None


def _known_parts(plan: Plan) -> dict[str, tuple[Rows, list[Path]]]:
    """The rows of every part that git knows, or of what stands in for it."""
    of_parts: dict[str, set[str]] = {}
    for md5, tags in plan.releases.items():
        with opened_object(plan.places, md5) as file:
            if file is None:
                plan.unread.append(f"the list {md5}{_of(tags)}")
                continue
            plan.lists[md5] = only_parts({entry["relpath"]: entry["md5"] for entry in json.load(file)})
        for part in plan.lists[md5].values():
            of_parts.setdefault(plan.record.stand_in(part), set()).update(tags)
    found: dict[str, tuple[Rows, list[Path]]] = {}
    for md5, tags_of_part in progress(of_parts.items(), total=len(of_parts), label="look into the parts"):
        with opened_object(plan.places, md5) as file:
            if file is None:
                plan.unread.append(f"the part {md5}{_of(sorted(tags_of_part))}")
            else:
                found[md5] = (_rows(file, md5), [])
    return found


def _workspace_parts(plan: Plan) -> dict[str, tuple[Rows, list[Path]]]:
    """The rows of the workspace's parts by digest, with the files that have it."""
    folder = plan.root / plan.dataset
    _refuse_missing(plan, folder)
    found: dict[str, tuple[Rows, list[Path]]] = {}
    for part in parts(folder):
        with part.open("rb") as file:
            md5 = md5_of(file)
        rows, files = found.setdefault(md5, ([], []))
        files.append(part)
        if not rows:
            rows.extend(_rows(part, str(part)))
    return found


def _refuse_missing(plan: Plan, folder: Path) -> None:
    pointer = Pointer(plan.dataset, by_stage=False)
    file = plan.root / pointer.file
    listed = plan.lists.get((pointer.md5(file.read_text(encoding="utf-8")) if file.exists() else None) or "", {})
    missing = [path for path in listed if not (folder / path).exists()]
    if missing:
        raise UserError(
            f"{plan.dataset} is not checked out whole: {len(missing)} parts are missing, first {missing[0]}. Run "
            f"`dvc pull {plan.dataset}` first: what is left of them is recorded anew."
        )


def _judge(plan: Plan, md5: str, rows: Rows, files: list[Path]) -> None:
    if md5 in plan.record.parts:
        plan.stale |= dict.fromkeys(files, md5)
        return
    if not rows:
        return
    counts: dict[str, int] = {}
    for item, sha256 in rows:
        counts[item] = counts.get(item, 0) + 1
        plan.items.setdefault(item, set()).add(sha256)
    lists = [tags for each, tags in plan.releases.items() if md5 in map(plan.record.stand_in, _parts_of(plan, each))]
    plan.doomed[md5] = Doomed(md5, counts, sorted({tag for tags in lists for tag in tags}), files)


def _parts_of(plan: Plan, folder_md5: str) -> list[str]:
    return list(plan.lists.get(folder_md5, {}).values())


def _refuse_unknown(plan: Plan, names: set[str], known: set[str]) -> None:
    unknown = sorted(name for name in names - set(plan.items) if item_digest(name) not in plan.record.items)
    if unknown:
        raise UserError(
            f"No part of the workspace or of any commit here has item {', '.join(map(repr, unknown))}. Names are "
            f"exact; `git fetch --all --tags` brings commits of other clones.{near_names(unknown, known)}"
        )


def _rows(source: Any, where: str) -> Rows:
    try:
        with pq.ParquetFile(source) as file:
            table = file.read(columns=["item_id", "sha256"])
    except (pa.ArrowInvalid, KeyError) as error:
        raise UserError(f"The part {where} is damaged: {error}. Nobody can tell what it holds: restore it.") from None
    return list(zip(table["item_id"].to_pylist(), table["sha256"].to_pylist(), strict=True))


def _of(tags: list[str]) -> str:
    return f" of {', '.join(tags)}" if tags else ""
