"""The remaps named version-N: what ids, colours and names of an earlier taxonomy mean in today's."""

import re
from collections.abc import Callable
from typing import Any

from pipeline.errors import UserError
from pipeline.formats.source import Legend
from pipeline.taxonomy import IGNORE, Remap, Taxonomy

NAME = re.compile(r"version-\d+")
Becomes = Callable[[str], str]


def version_name(version: int) -> str:
    """The remap's name."""
    return f"version-{version}"


def is_version(source: str) -> bool:
    """Whether a remap's name says a version of the taxonomy, and not where data comes from."""
    return NAME.fullmatch(source) is not None


def carried_remaps(taxonomy: Taxonomy, becomes: Becomes) -> dict[str, Any]:
    """The remaps once the taxonomy's version is one higher: the former ones, and those of both versions.

    Args:
        taxonomy: Of before.
        becomes: What a class, or `ignore`, is called afterwards.

    Raises:
        UserError: A source's remap has a name that is needed.
    """
    before, after = version_name(taxonomy.version), version_name(taxonomy.version + 1)
    for name in (before, after):
        if taxonomy.remaps.get(name, Remap()) != Remap():
            raise UserError(
                f"The taxonomy has a remap '{name}', a name that the migration gives to what ids of that version mean. "
                "Give the source's remap another name."
            )
    remaps = {source: carried(remap, becomes) for source, remap in taxonomy.remaps.items()}
    return remaps | {before: _as_drawn(taxonomy, becomes), after: {}}


def carried(remap: Remap, becomes: Becomes) -> dict[str, Any]:
    """A remap that leads to the new classes."""
    content = remap.model_dump()
    for key in ("values", "colours", "names"):
        content[key] = {source: becomes(name) for source, name in content[key].items()}
    for key in ("above", "below"):
        content[key] = None if content[key] is None else becomes(content[key])
    return content


def chosen_remap(taxonomy: Taxonomy, source: str, legend: Legend, version: int | None = None) -> Remap | None:
    """The remap by which a source is read.

    What a source's own remap leads to are today's classes, whenever its masks were drawn; a version's remap says what
    is meant where the source's is silent. A legend says what ids and colours are: then a version's names alone count.

    Args:
        taxonomy: Today's.
        source: Name of a remap, of a source or of a version; "" for none.
        legend: What the source itself says.
        version: The version of the taxonomy that the masks were drawn with, where that is known.
    """
    own = taxonomy.remaps.get(source)
    drawn = taxonomy.remaps.get(source if is_version(source) else version_name(version or taxonomy.version))
    if drawn is not None and (legend.ids or legend.colours):
        drawn = Remap(names=drawn.names)
    if own is None or is_version(source):
        return drawn
    if drawn is None:
        return own
    names = {**drawn.names, **own.names}
    if _reads_pixels(own):
        return own.model_copy(update={"names": names})
    return drawn.model_copy(update={"names": names})


def refuse_undated(taxonomy: Taxonomy, source: str, legend: Legend) -> None:
    """Refuses mask files in plain ids of which nobody knows by which version of the taxonomy they were drawn.

    Args:
        taxonomy: Today's; nothing is refused before its first migration.
        source: Name of a remap; "" for none.
        legend: What the source itself says.

    Raises:
        UserError: Old ids would be taken for today's.
    """
    versions = sorted(
        (name for name in taxonomy.remaps if is_version(name)), key=lambda name: int(name.rpartition("-")[2])
    )
    own = taxonomy.remaps.get(source, Remap())
    if not versions or is_version(source) or legend.ids or legend.colours or _reads_pixels(own):
        return
    today = version_name(taxonomy.version)
    earlier = " or ".join(f"`--source {name}`" for name in versions if name != today)
    said = f"the remap '{source}' says nothing of ids" if source else "ids of before would be taken for others"
    raise UserError(
        f"The taxonomy is at version {taxonomy.version}: say which ids the masks were drawn with, {earlier}, or "
        f"`--source {today}` for today's; {said}. A source whose remap has `values` needs no version."
    )


def recorded(old: Taxonomy, new: Taxonomy) -> dict[str, str] | None:
    """What each class of an earlier taxonomy is called in a later one, or `ignore`, as its migrations recorded it.

    Returns:
        None where nothing is recorded, or where the record is not of these classes.
    """
    remap = new.remaps.get(version_name(old.version))
    if remap is None or new.version <= old.version or remap.names.keys() != set(old.names):
        return None
    fits = all(remap.values.get(each.id) == remap.names[each.name] for each in old.classes)
    return dict(remap.names) if fits else None


def _as_drawn(taxonomy: Taxonomy, becomes: Becomes) -> dict[str, Any]:
    colours: dict[str, str] = {}
    for each in taxonomy.classes:
        colours.setdefault(each.colour, becomes(each.name))  # of two classes of one colour the first is meant, as ever
    return {
        "values": {each.id: becomes(each.name) for each in taxonomy.classes} | {taxonomy.ignore_index: IGNORE},
        "colours": colours,
        "names": {each.name: becomes(each.name) for each in taxonomy.classes},
    }


def _reads_pixels(remap: Remap) -> bool:
    return bool(remap.values or remap.colours) or remap.threshold is not None
