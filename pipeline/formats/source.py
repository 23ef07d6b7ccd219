"""What a reader of a format yields: items found in a source, not yet decoded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pipeline.errors import UserError

SPLITS = ("train", "val", "test")
UNDRAWN = "background"


@dataclass(frozen=True)
class Shape:
    """One annotated outline, drawn over those before it.

    Attributes:
        label: The source's name of its class.
        points: Polygon corners x0, y0, x1, y1, ... in px; empty when the shape is run-length encoded.
        size: Height and width in px of the run-length encoding; (0, 0) for a polygon.
        counts: The COCO run-length encoding, compressed.
    """

    label: str
    points: tuple[float, ...] = ()
    size: tuple[int, int] = (0, 0)
    counts: bytes = b""


@dataclass(frozen=True)
class Facts:
    """What a source tells of an item beside its pixels; None where it tells nothing."""

    group: str | None = None
    sequence_index: int | None = None
    annotator: str | None = None
    captured_at: datetime | None = None
    slices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceItem:
    """One annotated image of a source.

    Attributes:
        name: The item's id: the image's path without split folder and suffix.
        image: The image file.
        mask: The mask file, or the shapes that draw it.
        split: The split that the source puts it in.
        facts: What else the source tells.
        problem: Why the item cannot be used; empty when nothing is known against it.
    """

    name: str
    image: Path | None = None
    mask: Path | tuple[Shape, ...] | None = None
    split: str | None = None
    facts: Facts = field(default_factory=Facts)
    problem: str = ""


@dataclass(frozen=True)
class Legend:
    """What a source says about the values in its mask files.

    Attributes:
        ids: Label name by pixel value.
        colours: Label name by "#rrggbb".
        instance_step: Values from here on are label * step + instance; 0 where values are labels only.
    """

    ids: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[str, str] = field(default_factory=dict)
    instance_step: int = 0


@dataclass(frozen=True)
class Source:
    """Everything a reader found."""

    items: list[SourceItem]
    legend: Legend = field(default_factory=Legend)


class Reader(Protocol):
    """Finds the items of a source folder; opens no image."""

    def __call__(self, root: Path) -> Source:
        """Reads the source at `root`.

        Raises:
            UserError: The folder is not what the format says it is.
        """
        ...


def leads_outside(path: Path, root: Path) -> bool:
    """Whether a path, once links and `..` are followed, lies outside the source."""
    return not path.resolve().is_relative_to(root.resolve())


def refuse_twins(items: list[SourceItem]) -> None:
    """Refuses two items of one name.

    Raises:
        UserError: Two items share a name; the message names the files of the first pair.
    """
    seen: dict[str, SourceItem] = {}
    for item in items:
        twin = seen.setdefault(item.name, item)
        if twin is not item:
            raise UserError(
                f"Two items are named '{item.name}': {twin.image or twin.mask} and {item.image or item.mask}. "
                "A name is the path without split folder and suffix, and must be unique; rename one.",
            )
