"""Facts about both versions, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.dossiers.wording import UNKNOWN


@dataclass(frozen=True)
class Fact:
    """A fact about both versions; the champion's is empty without one."""

    name: str
    candidate: str
    champion: str

    @property
    def differs(self) -> bool:
        """Whether the two are known and not the same."""
        return UNKNOWN not in {self.candidate, self.champion} and self.champion not in {"", self.candidate}


def beside(ours: Mapping[str, str], theirs: Mapping[str, str] | None) -> list[Fact]:
    """The candidate's facts, each with the champion's."""
    return [Fact(name, content, (theirs or {}).get(name, "")) for name, content in ours.items()]
