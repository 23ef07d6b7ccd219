"""The steps of a purge, in the order in which no other row is lost and no removal is forgotten.

What stands in for a part is on every remote, and in the record, before the part goes; whoever dies in between finds the
rest of the work by looking again.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.command import progress
from pipeline.errors import OutageError, UserError
from pipeline.files import atomic_path
from pipeline.provenance import author
from pipeline.releasing.derived import drop_derived
from pipeline.releasing.purge_plan import Plan, opened_object
from pipeline.releasing.purged import (
    RECORD,
    SCHEMA,
    Purge,
    PurgedItem,
    PurgedPart,
    Record,
    append_purge,
    item_digest,
)
from pipeline.releasing.rewriting import rewrite_without
from pipeline.releasing.storage import Place, away
from pipeline.releasing.verification import CHUNK_BYTES, md5_of

SCRATCH = Path(".segloop/purge")


@dataclass
class Purging:
    """A purge under way.

    Attributes:
        plan: What was found.
        note: Why.
        anonymous: The record keeps no names, only digests of them.
        say: Takes a line for the terminal.
        new: What stands in for each doomed part.
        record: As it is by now.
    """

    plan: Plan
    note: str
    anonymous: bool = False
    say: Callable[[str], None] = print
    new: dict[str, str] = field(default_factory=dict)
    record: Record = field(init=False)

    def __post_init__(self) -> None:
        """Starts from the record as it was found."""
        self.record = self.plan.record

    def stand_in(self, md5: str) -> str:
        """What holds today what is left of a part, this purge included."""
        md5 = self.record.stand_in(md5)
        return self.record.stand_in(self.new.get(md5, md5))


def rewrite(purging: Purging) -> None:
    """Writes the doomed parts anew, into the cache, without the rows that go."""
    plan = purging.plan
    scratch = plan.root / SCRATCH
    scratch.mkdir(parents=True, exist_ok=True)
    cache = plan.places[0]
    for part in progress(list(plan.doomed.values()), total=len(plan.doomed), label="rewrite"):
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            target = Path(folder) / "part.parquet"
            with opened_object(plan.places, part.md5) as file:
                rewrite_without(file or part.files[0], target, plan.dooms)
            with target.open("rb") as file:
                purging.new[part.md5] = md5_of(file)
            _add(cache, target, purging.new[part.md5])


def spread(purging: Purging) -> None:
    """Makes sure that every place that loses a part has what stands in for it, read back unharmed.

    Raises:
        UserError: What stands in for a part of an earlier purge is nowhere.
        OutageError: A remote does not keep what it is sent.
    """
    plan = purging.plan
    old = [*purging.new, *plan.record.parts]
    for place in plan.places:
        with away("Looking", place):
            wanted = {purging.stand_in(md5) for md5 in old if place.has(md5)}
        if place is plan.places[0]:
            wanted |= {purging.stand_in(md5) for md5 in plan.stale.values()}
        for md5 in progress(sorted(wanted), total=len(wanted), label=f"send to {place.name}"):
            _ensure(plan, place, md5)


def write_record(purging: Purging) -> None:
    """Writes down what goes, before it goes."""
    if not purging.new:
        return
    plan = purging.plan
    rows = {name: sum(part.rows.get(name, 0) for part in plan.doomed.values()) for name in plan.items}
    purge = Purge(
        version=SCHEMA,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        by=author(plan.root),
        note=purging.note,
        items=tuple(
            PurgedItem(
                item_sha256=item_digest(name),
                item_id=None if purging.anonymous else name,
                images=tuple(sorted(images)),
                rows=rows[name],
            )
            for name, images in sorted(plan.items.items())
        ),
        parts=tuple(
            PurgedPart(old=part.md5, new=purging.new[part.md5], items=tuple(sorted(map(item_digest, part.rows))))
            for part in plan.doomed.values()
        ),
        releases=tuple(sorted({tag for part in plan.doomed.values() for tag in part.releases})),
    )
    purging.record = append_purge(plan.root / RECORD, purge)


def mend_workspace(purging: Purging) -> None:
    """Puts the parts that stand in into the workspace's dataset, and records it with DVC.

    Raises:
        UserError: DVC refuses.
    """
    from dvc.exceptions import DvcException

    plan = purging.plan
    files = {**plan.stale, **{file: part.md5 for part in plan.doomed.values() for file in part.files}}
    for file, md5 in sorted(files.items()):
        with opened_object(plan.places, purging.stand_in(md5)) as source, atomic_path(file) as temporary:
            assert source is not None
            with temporary.open("wb") as target:
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)
    if not files and not plan.pointer_is_stale:
        return
    if not (plan.root / plan.dataset.with_name(f"{plan.dataset.name}.dvc")).exists():
        return  # DVC does not know the dataset yet
    try:
        plan.repo.add(str(plan.root / plan.dataset))
    except DvcException as error:
        raise UserError(f"`dvc add {plan.dataset}` failed: {error}") from None


def forget(purging: Purging) -> None:
    """Deletes the parts from the cache and from every remote."""
    for place in purging.plan.places:
        gone = [md5 for md5 in purging.record.parts if _delete(place, md5)]
        if gone:
            purging.say(f"deleted {len(gone)} part(s) from {place.name} ({place.url})")


def forget_derived(purging: Purging) -> None:
    """Deletes tiles and pictures that were made from the items, as far as DVC keeps them, and the facts of them."""
    for line in drop_derived(purging.plan, purging.record):
        purging.say(line)


Step = Callable[[Purging], None]
STEPS: tuple[Step, ...] = (rewrite, spread, write_record, mend_workspace, forget, forget_derived)


def carry_out(purging: Purging, steps: Sequence[Step] = STEPS) -> None:
    """Takes the steps in their order."""
    for step in steps:
        step(purging)


def _ensure(plan: Plan, place: Place, md5: str) -> None:
    if _unharmed(place, md5):
        return
    source = next((each for each in plan.places if each is not place and _unharmed(each, md5)), None)
    if source is None:
        raise UserError(
            f"The part {md5} stands in for one that was purged, and is neither in the cache nor on a remote: deleting "
            "the other would lose the rows that were not purged. Push it from the clone that purged: `segloop purge`."
        )
    with away("Sending", place):
        path = source.odb.oid_to_path(md5)
        place.odb.add([path], source.odb.fs, [md5], check_exists=False, verify=False)
    if not _unharmed(place, md5):
        raise OutageError(f"{place.name} ({place.url}) does not keep what it is sent: {md5}. Nothing was deleted.")


def _unharmed(place: Place, md5: str) -> bool:
    with away("Reading back", place):
        if not place.has(md5):
            return False
        with place.odb.fs.open(place.odb.oid_to_path(md5), "rb") as file:
            return md5_of(file) == md5


def _add(cache: Place, file: Path, md5: str) -> None:
    from dvc.fs import LocalFileSystem

    local: Any = LocalFileSystem()
    with away("Writing", cache):
        cache.odb.add([str(file)], local, [md5], check_exists=False, verify=False)


def _delete(place: Place, md5: str) -> bool:
    with away("Deleting", place):
        if not place.has(md5):
            return False
        place.odb.delete(md5)
        if place.has(md5):
            raise OutageError(f"{place.name} ({place.url}) still has {md5} after its deletion. Check that storage.")
    return True
