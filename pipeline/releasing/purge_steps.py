"""The steps of a purge, in the order in which no other row is lost and no removal is forgotten.

What stands in for a part is on every remote, and in the record, before the part goes; whoever dies in between finds the
rest of the work by looking again.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.command import progress
from pipeline.errors import OutageError, UserError
from pipeline.files import atomic_path
from pipeline.provenance import author
from pipeline.releasing.derived import drop_derived
from pipeline.releasing.purge_plan import Doomed, Plan
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
from pipeline.releasing.unharmed import opened_object, unharmed
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
    """Writes the doomed parts anew, into the cache, without the rows that go.

    Raises:
        UserError: A part is nowhere unharmed.
    """
    from dvc.fs import LocalFileSystem

    plan = purging.plan
    scratch = plan.root / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)  # what a killed purge has left may hold what goes now
    scratch.mkdir(parents=True)
    for part in progress(list(plan.doomed.values()), total=len(plan.doomed), label="rewrite"):
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            target = Path(folder) / "part.parquet"
            with _opened_part(plan, part) as source:
                rewrite_without(source, target, plan.dooms)
            with target.open("rb") as file:
                purging.new[part.md5] = md5_of(file)
            _put(plan.places[0], purging.new[part.md5], str(target), LocalFileSystem())


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
        new = purging.stand_in(md5)
        with opened_object(plan.places, new, f"the part {new}") as source, atomic_path(file) as temporary:
            assert source is not None
            with temporary.open("wb") as target:
                shutil.copyfileobj(source, target, CHUNK_BYTES)
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
    """Deletes tiles and pictures that were made of the items, here and where DVC keeps them, and stored facts."""
    for line in drop_derived(purging.plan.derived, purging.plan.places, purging.plan.root):
        purging.say(line)


Step = Callable[[Purging], None]
# The parts go last: as long as one is there, whoever looks again knows what was made of it.
STEPS: tuple[Step, ...] = (rewrite, spread, write_record, mend_workspace, forget_derived, forget)


def carry_out(purging: Purging, steps: Sequence[Step] = STEPS) -> None:
    """Takes the steps in their order."""
    for step in steps:
        step(purging)


@contextmanager
def _opened_part(plan: Plan, part: Doomed) -> Iterator[BinaryIO]:
    """The workspace's own file where there is one, since its digest has been taken; else an unharmed object."""
    for file in part.files:
        with file.open("rb") as source:
            if md5_of(source) == part.md5:
                source.seek(0)
                yield source
                return
    with opened_object(plan.places, part.md5, f"the part {part.md5}") as found:
        if found is None:
            raise UserError(f"The part {part.md5} has changed or gone while the purge looked. Run it again.")
        yield found


def _ensure(plan: Plan, place: Place, md5: str) -> None:
    if unharmed(place, md5):
        return
    source = next((each for each in plan.places if each is not place and unharmed(each, md5)), None)
    if source is None:
        raise UserError(
            f"The part {md5} stands in for one that was purged, and is unharmed neither in the cache nor on a remote: "
            "deleting the other would lose the rows that were not purged. Push it from the clone that purged: "
            "`segloop purge`."
        )
    _put(place, md5, source.odb.oid_to_path(md5), source.odb.fs)
    if not unharmed(place, md5):
        raise OutageError(f"{place.name} ({place.url}) does not keep what it is sent: {md5}. Nothing was deleted.")


def _put(place: Place, md5: str, path: str, fs: Any) -> None:
    if unharmed(place, md5):
        return
    with away("Writing", place):
        if place.has(md5):
            place.odb.delete(md5)  # it is damaged
        place.odb.add([path], fs, [md5], check_exists=False, verify=False)


def _delete(place: Place, md5: str) -> bool:
    with away("Deleting", place):
        if not place.has(md5):
            return False
        place.odb.delete(md5)
        if place.has(md5):
            raise OutageError(f"{place.name} ({place.url}) still has {md5} after its deletion. Check that storage.")
    return True
