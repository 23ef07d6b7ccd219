"""What stages made of purged items: tiles and pictures in DVC's cache and remotes, facts in the catalogue's store."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from pipeline.releasing.history import commits_of, versions
from pipeline.releasing.pointer import LOCK
from pipeline.releasing.purge_plan import Plan, opened_object
from pipeline.releasing.purged import Record
from pipeline.releasing.storage import away

# What holds pixels. `dvc repro` makes all of it again; weights and figures hold none, and stay.
PIXELS = {".npy", ".npz", ".png", ".webp", ".jpg", ".jpeg", ".html"}
FACTS = Path(".segloop/catalog")
# What actions show and keep of items; each is made anew by its command.
REPORTS = ("data/labels", "data/diff", "data/agreement", "data/dossiers", ".segloop/label_folds", ".segloop/inbox")


def drop_derived(plan: Plan, record: Record) -> Iterator[str]:
    """Deletes what holds pixels of purged items among the outs of stages, wherever DVC keeps it, and stored facts.

    Yields:
        A sentence for each thing that was deleted.
    """
    objects, kept = _objects(plan, record)
    for place in plan.places:
        count = 0
        with away("Deleting", place):
            for md5 in objects - kept:
                if place.has(md5):
                    place.odb.delete(md5)
                    count += 1
        if count:
            yield f"deleted {count} tile shard(s) and picture(s) made from such parts from {place.name} ({place.url})"
    for report in (plan.root / name for name in REPORTS):
        if report.is_dir():
            shutil.rmtree(report)
            yield f"deleted {report.relative_to(plan.root)}, which may show them"
    facts = sum(_drop_facts(file, record) for file in sorted((plan.root / FACTS).glob("*.parquet")))
    if facts:
        yield f"deleted the stored facts of {facts} part(s)"


def _objects(plan: Plan, record: Record) -> tuple[set[str], set[str]]:
    """Objects with pixels that were made from parts that are gone, and those that were made from others."""
    gone = {md5 for md5, listed in plan.lists.items() if any(part in record.parts for part in listed.values())}
    tainted: set[str] = set()
    outs: set[str] = set()
    for lock in _locks(plan):
        stages = list((lock.get("stages") or {}).values())
        outs |= {md5 for stage in stages for md5 in _md5s(stage, "outs")}
        tainted |= _downstream(stages, gone)
    of_tainted = {md5 for each in tainted for md5 in _with_pixels(plan, each)}
    of_others = {md5 for each in outs - tainted for md5 in _with_pixels(plan, each)}
    return of_tainted, of_others


def _locks(plan: Plan) -> Iterator[dict[str, Any]]:
    for text in versions(plan.git, commits_of(plan.git, LOCK.as_posix()), LOCK):
        content = yaml.safe_load(text)
        if isinstance(content, dict):
            yield content


def _downstream(stages: list[dict[str, Any]], gone: set[str]) -> set[str]:
    """The outs of all stages that read any of these, and so on down the graph."""
    reached: set[str] = set()
    before = -1
    while len(reached) != before:
        before = len(reached)
        for stage in stages:
            if _md5s(stage, "deps") & (gone | reached):
                reached |= _md5s(stage, "outs")
    return reached


def _md5s(stage: dict[str, Any], kind: str) -> set[str]:
    return {str(entry["md5"]) for entry in stage.get(kind) or [] if "md5" in entry}


def _with_pixels(plan: Plan, md5: str) -> set[str]:
    if not md5.endswith(".dir"):
        return set()
    with opened_object(plan.places, md5) as file:
        entries = json.load(file) if file else []
    return {entry["md5"] for entry in entries if PurePosixPath(entry["relpath"]).suffix.lower() in PIXELS}


def _drop_facts(file: Path, record: Record) -> bool:
    try:
        images = pq.read_table(file, columns=["image_sha256"])["image_sha256"].to_pylist()
    except (pa.ArrowInvalid, KeyError):
        return False  # the store takes what is damaged for missing
    if record.images.keys().isdisjoint(images):
        return False
    file.unlink()
    return True
