"""What migrations made of the classes between two releases, as the later taxonomy records it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.dossiers.changes import taxonomy_changes
from pipeline.taxonomy import IGNORE, ClassSpec, Remap, Taxonomy
from pipeline.version_remaps import carried, is_version, recorded


@dataclass(frozen=True)
class ClassChange:
    """The classes of two releases.

    Attributes:
        old: Of the release before.
        new: Of the release after.
    """

    old: Taxonomy
    new: Taxonomy

    @cached_property
    def becomes(self) -> Mapping[str, str] | None:
        """The new name, or `ignore`, by the old; None where no migration lies between, or none is recorded."""
        return recorded(self.old, self.new)

    @property
    def before(self) -> list[str]:
        """What the classes of before are compared as: by their new names where these are recorded."""
        return self.old.names if self.becomes is None else self.new.names

    @property
    def same(self) -> npt.NDArray[np.bool_]:
        """Which old class is which new one, void last in both. Shape: (C_old + 1, C_new + 1).

        It is the one that migrations made of it, where that is recorded, else the one of the same name.
        """
        becomes = self.becomes or {}
        names = [becomes.get(name, name) for name in self.old.names]
        return np.array([[was == now for now in [*self.new.names, IGNORE]] for was in [*names, IGNORE]], dtype=bool)

    def folded(self, agreement: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """An agreement with the rows of `before`.

        Args:
            agreement: Pixels by old and new class, void last. Shape: (C_old + 1, C_new + 1), int64.

        Returns:
            Shape (len(before) + 1, C_new + 1), int64.
        """
        return agreement if self.becomes is None else self.same.T.astype(np.int64) @ agreement

    def share_name(self, name: str) -> str:
        """By which name an old class's share is compared: its new one, or its own where its pixels became void."""
        target = (self.becomes or {}).get(name, name)
        return name if target == IGNORE else target

    def sentences(self) -> list[str]:
        """The differences of the taxonomies, a sentence each; none when they are equal."""
        if self.becomes is None:
            return taxonomy_changes(self.old, self.new)
        return [*_recorded_sentences(self.becomes, self.new), *taxonomy_changes(self._migrated(), self.new)]

    def _migrated(self) -> Taxonomy:
        """The old taxonomy as migrations alone would have left it: whatever else differs, a person changed."""
        becomes = self.becomes or {}
        theirs = {name: each for name, each in self.new.remaps.items() if is_version(name)}
        own = {
            name: Remap.model_validate(carried(each, lambda target: becomes.get(target, target)))
            for name, each in self.old.remaps.items()
            if not is_version(name)
        }
        # Not checked: a person may have changed the rest in any way.
        return self.old.model_copy(
            update={
                "classes": tuple(_origin(each, self.old, becomes) for each in self.new.classes),
                "remaps": own | theirs,
            }
        )


def _origin(now: ClassSpec, old: Taxonomy, becomes: Mapping[str, str]) -> ClassSpec:
    """A new class as it was before: of those merged the one that stayed; itself where it came in."""
    sources = [each for each in old.classes if becomes[each.name] == now.name]
    if not sources:
        return now
    stayed = min(sources, key=lambda each: (each.name != now.name, each.colour != now.colour))
    return stayed.model_copy(update={"id": now.id, "name": now.name})


def _recorded_sentences(becomes: Mapping[str, str], new: Taxonomy) -> list[str]:
    found = [f"class {name} was turned to void" for name, target in becomes.items() if target == IGNORE]
    for target in new.names:
        sources = [name for name, into in becomes.items() if into == target]
        others = [name for name in sources if name != target]
        if not sources:
            found.append(f"class {target} was added")
        elif len(sources) == 1:
            found += [f"class {name} is called {target}" for name in others]
        else:
            found += [f"class {name} was merged into {target}" for name in others]
    return found
