"""What a purge would remove: every row of the items, or with their images, in every part that git or the workspace has.

Nothing is remembered between runs: whatever a killed purge has left shows here again.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.command import progress
from pipeline.errors import UserError, near_names
from pipeline.parts import parts
from pipeline.releasing.derived import Derived, Gone, find_derived
from pipeline.releasing.git import Git
from pipeline.releasing.history import dataset_lists
from pipeline.releasing.pointer import Pointer
from pipeline.releasing.purged import RECORD, Record, item_digest, read_record
from pipeline.releasing.reader import only_parts
from pipeline.releasing.storage import Place, away, open_places, open_repo
from pipeline.releasing.unharmed import DamagedError, opened_object
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
        derived: What stages and actions made of the items.
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
    derived: Derived = field(default_factory=Derived)

    def dooms(self, item_id: str, sha256: str) -> bool:
        """Whether a row goes: by its item, or since it has the same image."""
        return item_id in self.names or sha256 in self.images

    @property
    def empty(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.parts_are_left or self.derived)

    @property
    def parts_are_left(self) -> bool:
        """Whether a part with what is to go, or its name, is anywhere."""
        return bool(self.doomed or self.stale or self.left or self.pointer_is_stale)

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
        UserError: No part has such an item, the workspace's dataset is not checked out, or a part is damaged wherever
            it lies.
        OutageError: A remote does not answer, or is a folder that is not there.
    """
    _refuse_unfetched(Git(root))
    repo = open_repo(root)
    plan = Plan(root, dataset, Git(root), repo, open_places(repo), read_record(root / RECORD), names)
    plan.releases = dataset_lists(plan.git, dataset)
    for place in plan.places:
        with away("Looking", place):
            # One that is away is found out now, not half-way: what lies there would be kept, and said to be gone.
            place.has(NOTHING)
    _read_lists(plan)
    tables = _workspace_parts(plan)
    tables |= _known_parts(plan, set(tables))
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
    plan.derived = _derived(plan)
    return plan


def _derived(plan: Plan) -> Derived:
    parts_gone = plan.doomed.keys() | plan.record.parts.keys()
    return find_derived(
        Gone(
            root=plan.root,
            git=plan.git,
            places=plan.places,
            dataset=plan.dataset,
            lists={md5 for md5, listed in plan.lists.items() if not parts_gone.isdisjoint(listed.values())},
            images=plan.images,
            at=max((datetime.fromisoformat(purge.at).timestamp() for purge in plan.record.purges), default=0.0),
            parts_are_left=plan.parts_are_left,
        )
    )


def _refuse_unfetched(git: Git) -> None:
    """What somebody else released holds the items too, and is not known here before it was fetched."""
    remote = git.remote()
    unseen = sorted(set(git.remote_tags(remote)) - set(git.tags())) if remote else []
    if unseen:
        raise UserError(
            f"The git remote '{remote}' has {', '.join(unseen)}, which is not here, and which may hold the items: run "
            "`git fetch --tags` first."
        )


def _read_lists(plan: Plan) -> None:
    for md5, tags in plan.releases.items():
        what = f"the list {md5}{_of(tags)}"
        try:
            with opened_object(plan.places, md5, what) as file:
                if file is None:
                    plan.unread.append(f"{what} is in no place, so nobody can tell what it holds")
                    continue
                entries = json.load(file)
        except DamagedError as error:
            plan.unread.append(str(error))
        else:
            plan.lists[md5] = only_parts({entry["relpath"]: entry["md5"] for entry in entries})
    for place in plan.places[1:] if plan.releases else []:
        with away("Looking", place):
            if not any(place.has(md5) for md5 in plan.releases):  # the folder of a disk that is not mounted, say
                plan.unread.append(
                    f"{place.name} ({place.url}) has none of the datasets that git knows: where it should, mount it or "
                    "mend its address, and run this again"
                )


def _known_parts(plan: Plan, seen: set[str]) -> dict[str, tuple[Rows, list[Path]]]:
    """The rows of every part that git knows, or of what stands in for it, but for those that were looked into."""
    of_parts: dict[str, set[str]] = {}
    for md5, listed in plan.lists.items():
        for part in listed.values():
            of_parts.setdefault(plan.record.stand_in(part), set()).update(plan.releases[md5])
    found: dict[str, tuple[Rows, list[Path]]] = {}
    for md5 in progress(unseen := sorted(of_parts.keys() - seen), total=len(unseen), label="look into the parts"):
        what = f"the part {md5}{_of(sorted(of_parts[md5]))}"
        with opened_object(plan.places, md5, what) as file:
            if file is None:
                plan.unread.append(f"{what} is in no place, so nobody can tell what it holds")
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
