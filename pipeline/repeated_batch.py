"""Tells whether a batch that comes again is the one that the dataset holds, and refuses another of its name."""

from pathlib import Path

from pyarrow.parquet import read_schema

from pipeline.class_lists import class_list
from pipeline.errors import UserError
from pipeline.intake import Intake, Known, fingerprint
from pipeline.known_items import known_items, stored_items


def refuse_other(intake: Intake, folder: Path) -> str:
    """Compares a batch that was run through the intake with the one of its name.

    A migration of the taxonomy leaves a batch in the ids of before and writes later revisions; then the masks as they
    came are compared, and what became of them with those revisions.

    Args:
        intake: The batch that comes again.
        folder: The one that is there.

    Returns:
        That they are the same, as a sentence.

    Raises:
        UserError: They are not.
    """
    _refuse_regrouped(intake, folder)
    stored = {item.item_id: fingerprint(item) for item in stored_items(folder)}
    now = intake.fingerprints
    if stored == now:
        return f"Batch '{folder.name}' holds exactly these {len(now)} items already; nothing to do."
    differing = [name for name in stored.keys() & now.keys() if stored[name] != now[name]]
    as_they_came = all(stored[name][0] == now[name][0] for name in differing)
    if stored.keys() == now.keys() and as_they_came and _migrated(intake, folder, differing):
        return (
            f"Batch '{folder.name}' holds exactly these {len(now)} items already, in the ids of an earlier version of "
            "the taxonomy, and has been migrated since; nothing to do."
        )
    raise UserError(
        f"Batch '{folder.name}' exists with other content: {len(now.keys() - stored.keys())} items are new, "
        f"{len(stored.keys() - now.keys())} missing, {len(differing)} changed. Batches never change: choose another "
        "name.",
    )


def _migrated(intake: Intake, folder: Path, names: list[str]) -> bool:
    """Whether these masks became what they are now by migrations, and by nothing else such as another remap."""
    classes = [class_list(read_schema(part).metadata or {}) for part in folder.glob("part-*.parquet")]
    if all(each == list(intake.rules.class_names) for each in classes):
        return False
    later = known_items(folder.parent, set(names), folder.name)
    return all(_leads_to(intake.own[name], later.get(name), intake.fingerprints[name][1]) for name in names)


def _leads_to(own: Known, later: Known | None, mask: str) -> bool:
    """Whether a later revision is of the same source mask and now this one; another annotation tells nothing of it."""
    if later is None or later.revision <= own.revision:
        return False
    if later.content is None or own.content is None or later.content[1] != own.content[1]:
        return True
    return later.content[2] == mask


def _refuse_regrouped(intake: Intake, folder: Path) -> None:
    groups = {name: intake.plan[name].group for name in intake.fingerprints.keys() & intake.own.keys()}
    moved = sorted(name for name, group in groups.items() if group != intake.own[name].group)
    if moved:
        raise UserError(
            f"Batch '{folder.name}' exists with other groups: {len(moved)} item(s) would change theirs, first "
            f"'{moved[0]}' from '{intake.own[moved[0]].group}' to '{groups[moved[0]]}'. A group never changes: repeat "
            "the --group-by of the first ingestion.",
        )
