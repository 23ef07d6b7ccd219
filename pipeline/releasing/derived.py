"""What stages and actions made of purged items: tiles and pictures, here and in DVC's cache and remotes, and facts."""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from pipeline.command import progress
from pipeline.releasing.git import Git
from pipeline.releasing.history import commits_of, versions
from pipeline.releasing.pointer import LOCK
from pipeline.releasing.storage import Place, away
from pipeline.releasing.unharmed import DamagedError, opened_object
from pipeline.releasing.verification import DIR, md5_of

# What holds pixels. `dvc repro` makes all of it again; weights and figures hold none, and stay in the cache.
PIXELS = {".npy", ".npz", ".png", ".webp", ".jpg", ".jpeg", ".html"}
FACTS = ".segloop/catalog/*.parquet"
# What actions show and keep of items, as patterns; the next run of the action makes it anew.
REPORTS = (
    "data/labels",
    "data/diff",
    "data/agreement",
    "data/dossiers",
    ".segloop/label_folds",
    ".segloop/inbox",
    ".segloop/reports/*/*",
    ".segloop/versions/*",
)


@dataclass(frozen=True)
class Gone:
    """What is gone, or about to go, and where to look for what was made of it.

    Attributes:
        root: The workspace.
        git: The repository.
        places: The cache and the remotes.
        dataset: The dataset's folder, relative to the workspace.
        lists: DVC's digests of the datasets that had it.
        images: SHA-256 of its images.
        at: When it was purged last, as a timestamp.
        parts_are_left: Parts with it are there still, so that what is new may show it too.
    """

    root: Path
    git: Git
    places: list[Place]
    dataset: Path
    lists: set[str]
    images: set[str]
    at: float
    parts_are_left: bool


@dataclass(frozen=True)
class Derived:
    """What was made of purged items, and is there.

    Attributes:
        objects: Digests of tiles and pictures, by the name of the place.
        outs: Outs of stages in the workspace, relative to it, that hold pixels.
        reports: Folders that may show the items, relative to the workspace.
        facts: Files of the catalogue's store.
        unread: What nobody can look into, in words.
    """

    objects: dict[str, list[str]] = field(default_factory=dict)
    outs: list[Path] = field(default_factory=list)
    reports: list[Path] = field(default_factory=list)
    facts: list[Path] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to delete."""
        return bool(self.objects or self.outs or self.reports or self.facts)


@dataclass(frozen=True)
class _Run:
    """A stage's run as dvc.lock tells it: digests that it read, and what it made, by path."""

    deps: frozenset[str]
    outs: tuple[tuple[str, str], ...]

    @property
    def made(self) -> set[str]:
        """The digests of what it made."""
        return {md5 for _, md5 in self.outs}


def find_derived(gone: Gone) -> Derived:
    """Finds what was made of purged items, by what every dvc.lock of git and of the workspace tells.

    A report tells of no item: each counts that is older than the purge, or that was made while the parts were here.

    Args:
        gone: What is gone.

    Raises:
        OutageError: A remote does not answer.
    """
    locks = [_runs(text) for text in versions(gone.git, commits_of(gone.git, LOCK.as_posix()), LOCK)]
    tainted = _tainted(locks, gone.lists)
    clean = {run for runs in locks for run in runs} - tainted
    unread: list[str] = []
    pixels = _pixels(gone.places, tainted, unread)
    if pixels:
        pixels -= _pixels(gone.places, clean, unread)
    objects = {place.name: here for place in gone.places if (here := _held(place, sorted(pixels)))}
    outs = _outs_here(gone, tainted, pixels)
    now = gone.parts_are_left or bool(objects or outs)
    return Derived(
        objects=objects,
        outs=outs,
        reports=[path for path in _matching(gone.root, REPORTS) if now or _older(gone.root / path, gone.at)],
        facts=[path for path in _matching(gone.root, [FACTS]) if _tells(gone.root / path, gone.images)],
        unread=sorted(set(unread)),
    )


def drop_derived(derived: Derived, places: Iterable[Place], root: Path) -> Iterator[str]:
    """Deletes what was made of purged items.

    Args:
        derived: What was found.
        places: The cache and the remotes.
        root: The workspace.

    Yields:
        A sentence for each thing that was deleted.

    Raises:
        OutageError: A remote does not answer.
    """
    for path in derived.outs:
        _remove_pictures(root / path)
        yield f"deleted tiles and pictures of {path}, which was made of the items"
    for path in derived.reports:
        _remove(root / path)
        yield f"deleted {path}, which may show them"
    for path in derived.facts:
        (root / path).unlink(missing_ok=True)
    if derived.facts:
        yield f"deleted the stored facts of {len(derived.facts)} part(s)"
    for place in places:  # last: as long as one is there, whoever looks again takes every report for one of it
        here = derived.objects.get(place.name, [])
        with away("Deleting", place):
            for md5 in progress(here, total=len(here), label=f"clean {place.name}"):
                if place.has(md5):
                    place.odb.delete(md5)
        if here:
            yield f"deleted {len(here)} tile shard(s) and picture(s) made of the items from {place.name} ({place.url})"


def _runs(lock: str) -> set[_Run]:
    try:
        content = yaml.safe_load(lock)
    except yaml.YAMLError:
        return set()  # a conflict that somebody committed tells of no run
    stages = (content.get("stages") or {}).values() if isinstance(content, dict) else []
    return {_Run(frozenset(md5 for _, md5 in _pairs(stage, "deps")), tuple(_pairs(stage, "outs"))) for stage in stages}


def _pairs(stage: dict[str, Any], kind: str) -> list[tuple[str, str]]:
    return [(str(entry["path"]), str(entry["md5"])) for entry in stage.get(kind) or [] if "md5" in entry]


def _tainted(locks: list[set[_Run]], gone: set[str]) -> set[_Run]:
    """The runs that read any of what is gone, and so on down the graph of each lock."""
    tainted = set().union(*(_downstream(runs, gone) for runs in locks))
    while True:
        # What was made without the items too, to the byte, does not show them: a dataset's items may be left out.
        clean = _made({run for runs in locks for run in runs} - tainted)
        reached = gone | (_made(tainted) - clean)
        still = {run for run in tainted if run.deps & reached}
        if still == tainted:
            return tainted
        tainted = still


def _downstream(runs: set[_Run], gone: set[str]) -> set[_Run]:
    found: set[_Run] = set()
    reached = set(gone)
    while fresh := {run for run in runs - found if run.deps & reached}:
        found |= fresh
        reached |= _made(fresh)
    return found


def _made(runs: Iterable[_Run]) -> set[str]:
    return {md5 for run in runs for md5 in run.made}


def _pixels(places: list[Place], runs: set[_Run], unread: list[str]) -> set[str]:
    """The objects with pixels among what runs made."""
    outs = sorted({out for run in runs for out in run.outs})
    found = {md5 for path, md5 in outs if not md5.endswith(DIR) and _is_picture(path)}
    folders = [out for out in outs if out[1].endswith(DIR)]
    for path, md5 in progress(folders, total=len(folders), label="look at outs"):
        try:
            with opened_object(places, md5, f"the list {md5} of {path}") as file:
                entries = json.load(file) if file else []
        except DamagedError as error:
            unread.append(str(error))
            continue
        found |= {entry["md5"] for entry in entries if _is_picture(entry["relpath"])}
    return found


def _held(place: Place, objects: list[str]) -> list[str]:
    with away("Looking", place):
        return [md5 for md5 in progress(objects, total=len(objects), label=f"look into {place.name}") if place.has(md5)]


def _outs_here(gone: Gone, tainted: set[_Run], pixels: set[str]) -> list[Path]:
    """The outs in the workspace that dvc.lock says were made of the items, or that hold files that were."""
    lock = gone.root / LOCK
    runs = _runs(lock.read_text(encoding="utf-8")) if lock.exists() else set()
    found = set()
    for run in runs:
        for path in (Path(name) for name, _ in run.outs):
            pictures = _pictures(gone.root / path) if _may_go(gone, path) else []
            if pictures and (run in tainted or (pixels and any(_md5(each) in pixels for each in pictures))):
                found.add(path)
    return sorted(found)


def _may_go(gone: Gone, path: Path) -> bool:
    """Whether an out lies in the workspace, and is not what the dataset lies in."""
    inside = not path.is_absolute() and ".." not in path.parts and path.parts != ()
    return inside and not gone.dataset.is_relative_to(path) and not path.is_relative_to(gone.dataset)


def _pictures(path: Path) -> list[Path]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [file for file in files if _is_picture(file.name) and file.is_file()]


def _remove_pictures(path: Path) -> None:
    """Leaves what shows nothing: weights that nobody has registered yet cannot be had again by `dvc checkout`."""
    for picture in _pictures(path):
        picture.unlink(missing_ok=True)
    if path.is_dir() and not any(file.is_file() for file in path.rglob("*")):
        shutil.rmtree(path)


def _is_picture(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in PIXELS


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return md5_of(file)


def _matching(root: Path, patterns: Iterable[str]) -> list[Path]:
    return [path.relative_to(root) for pattern in patterns for path in sorted(root.glob(pattern))]


def _older(path: Path, at: float) -> bool:
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return any(file.stat().st_mtime <= at for file in files)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _tells(file: Path, images: set[str]) -> bool:
    try:
        told = pq.read_table(file, columns=["image_sha256"])["image_sha256"].to_pylist()
    except (pa.ArrowInvalid, KeyError):
        return False  # the store takes what is damaged for missing
    return not images.isdisjoint(told)
