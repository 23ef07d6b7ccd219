"""A migration of the taxonomy: the file that describes it, and what becomes of classes, remaps and mask values."""

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.errors import UserError
from pipeline.files import digest_json
from pipeline.params import parse, read_yaml
from pipeline.taxonomy import IGNORE, Colour, Taxonomy
from pipeline.version_remaps import carried_remaps

VALUES = 256
Lookup = npt.NDArray[np.uint8]


class Added(BaseModel):
    """A class that comes in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    colour: Colour
    critical: bool = False


class Migration(BaseModel):
    """The file: from which version, and what happens to which classes, each by its name in that version.

    Attributes:
        from_version: The taxonomy's version before; afterwards it is one higher.
        note: Why.
        rename: New name by old name; nothing else changes.
        merge: Old class by old class: the first becomes the second, which stays.
        void: Classes whose pixels become void, to be annotated anew.
        add: Classes that come in, at the end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    from_version: int = Field(alias="from")
    note: str = Field(min_length=1)
    rename: dict[str, str] = Field(default_factory=dict)
    merge: dict[str, str] = Field(default_factory=dict)
    void: tuple[str, ...] = ()
    add: tuple[Added, ...] = ()

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        named = [*self.rename, *self.merge, *self.void]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ValueError(f"a class is renamed, merged or turned to void once, received twice: {twice}")
        gone = sorted(set(self.merge.values()) & {*self.merge, *self.void})
        if gone:
            raise ValueError(f"what others are merged into must stay, received {gone}, which goes itself")
        if not (named or self.add):
            raise ValueError("nothing to do: name something under rename, merge, void or add")
        return self

    @property
    def digest(self) -> str:
        """Of what it does; the note is no part of it."""
        return digest_json(self.model_dump(mode="json", exclude={"note"}))

    def becomes(self, name: str) -> str:
        """What a class, or `ignore`, is called afterwards; `ignore` where its pixels become void."""
        if name in self.void:
            return IGNORE
        kept = self.merge.get(name, name)
        return self.rename.get(kept, kept)


@dataclass(frozen=True)
class Change:
    """A migration and the classes before and after it."""

    migration: Migration
    before: tuple[str, ...]
    after: Taxonomy

    @property
    def lookup(self) -> Lookup:
        """The mask value afterwards by the value before. Shape: (256,), uint8.

        Values that were no class and not void stay such: a new class must not take them in.
        """
        void = self.after.ignore_index
        free = next(value for value in range(VALUES - 1, -1, -1) if value != void)
        table = np.arange(VALUES, dtype=np.uint8)
        table[: self.after.num_classes] = free
        table[: len(self.before)] = [self.after.id_of(self.migration.becomes(name)) for name in self.before]
        table[void] = void
        return table


def read_migration(file: Path) -> Migration:
    """Reads a migration file.

    Raises:
        UserError: It is missing, malformed, or contradicts itself.
    """
    return parse(Migration, read_yaml(file), str(file))


def migrated(migration: Migration, taxonomy: Taxonomy) -> Taxonomy:
    """The taxonomy afterwards: ids are contiguous again, in the former order, and remaps lead to the new classes.

    Further remaps say what the ids of either version mean.

    Raises:
        UserError: The migration names no class of the taxonomy, or leads to one that is none.
    """
    named = {*migration.rename, *migration.merge, *migration.merge.values(), *migration.void}
    unknown = sorted(named - set(taxonomy.names))
    if unknown:
        raise UserError(f"The taxonomy has no class {unknown}; it has {taxonomy.names}.")
    gone = {*migration.merge, *migration.void}
    kept = [
        each.model_dump() | {"name": migration.becomes(each.name)} for each in taxonomy.classes if each.name not in gone
    ]
    classes = [*kept, *(each.model_dump() for each in migration.add)]
    content = {
        "version": taxonomy.version + 1,
        "ignore_index": taxonomy.ignore_index,
        "classes": [each | {"id": number} for number, each in enumerate(classes)],
        "remaps": carried_remaps(taxonomy, migration.becomes),
    }
    return parse(Taxonomy, content, "the taxonomy after the migration")


def taxonomy_text(taxonomy: Taxonomy, former: str) -> str:
    """The taxonomy as a file: with the comment that the former file begins with, a class a line."""
    head = list(takewhile(lambda line: line.startswith("#") or not line.strip(), former.splitlines()))
    critical = {True: ", critical: true", False: ""}
    classes = [
        f'  - {{id: {each.id}, name: {_scalar(each.name)}, colour: "{each.colour}"{critical[each.critical]}}}'
        for each in taxonomy.classes
    ]
    body = [f"version: {taxonomy.version}", f"ignore_index: {taxonomy.ignore_index}", "classes:", *classes]
    remaps = {name: each.model_dump(exclude_defaults=True, exclude_none=True) for name, each in taxonomy.remaps.items()}
    style: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "default_flow_style": None, "width": 120}
    told = yaml.safe_dump({"remaps": remaps}, **style) if remaps else ""
    return "\n".join([*head, *body]) + "\n" + told


def _scalar(text: str) -> str:
    return yaml.safe_dump(text, default_style='"', allow_unicode=True).strip()
