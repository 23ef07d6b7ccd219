"""The classes, their colours, and the remaps that turn a source's labels into them."""

from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.params import parse, read_yaml

IGNORE = "ignore"
VOID = "void"  # what pixels without a class are called in tables
IGNORE_GREY = 200


def _colour(value: str) -> str:
    if len(value) != len("#rrggbb") or not value.startswith("#"):
        raise ValueError("a colour is written '#rrggbb'")
    int(value[1:], 16)
    return value.lower()


def _class_name(value: str) -> str:
    if not value.strip() or not value.isprintable() or value in {IGNORE, VOID}:
        raise ValueError(f"a class name is printable, not empty, and not '{IGNORE}' or '{VOID}', received {value!r}")
    return value


ClassName = Annotated[str, AfterValidator(_class_name)]
Colour = Annotated[str, AfterValidator(_colour)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassSpec(_Model):
    """One class: its id in the masks, its name, its colour in pictures, whether it is safety-critical."""

    id: int
    name: ClassName
    colour: Colour
    critical: bool = False


class Remap(_Model):
    """How one source's values, colours or label names become classes; `ignore` stands for void.

    With `threshold`, masks are anti-aliased grey: values at or above it are `above`, the others `below`.
    """

    values: dict[int, str] = Field(default_factory=dict)
    colours: dict[Colour, str] = Field(default_factory=dict)
    names: dict[str, str] = Field(default_factory=dict)
    threshold: int | None = None
    above: str | None = None
    below: str | None = None

    @model_validator(mode="after")
    def _threshold_names_both_sides(self) -> Self:
        if self.threshold is not None and (self.above is None or self.below is None):
            raise ValueError("a remap with a threshold names the classes 'above' and 'below' it")
        return self

    def targets(self) -> set[str]:
        """Every class name that this remap maps to."""
        named = {*self.values.values(), *self.colours.values(), *self.names.values()}
        return named | {name for name in (self.above, self.below) if name is not None}


class Taxonomy(_Model):
    """The classes of a dataset, contiguous from 0, and the remaps of its sources."""

    version: int
    ignore_index: int = 255
    classes: tuple[ClassSpec, ...]
    remaps: dict[str, Remap] = Field(default_factory=dict)

    @field_validator("classes")
    @classmethod
    def _contiguous(cls, classes: tuple[ClassSpec, ...]) -> tuple[ClassSpec, ...]:
        ids = [each.id for each in classes]
        if ids != list(range(len(ids))) or not ids:
            raise ValueError(f"class ids must run 0, 1, 2, ... without a gap, received {ids}")
        names = [each.name for each in classes]
        if len(set(names)) != len(names):
            raise ValueError(f"class names must be unique, received {names}")
        return classes

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not len(self.classes) <= self.ignore_index <= np.iinfo(np.uint8).max:
            raise ValueError(f"ignore_index must lie between the classes and 255, received {self.ignore_index}")
        for source, remap in self.remaps.items():
            unknown = remap.targets() - {*self.names, IGNORE}
            if unknown:
                raise ValueError(f"remap '{source}' names no class of this taxonomy: {sorted(unknown)}")
        return self

    @property
    def names(self) -> list[str]:
        """Class names by id."""
        return [each.name for each in self.classes]

    @property
    def num_classes(self) -> int:
        """How many classes there are, void not counted."""
        return len(self.classes)

    @property
    def critical_ids(self) -> list[int]:
        """The ids of the safety-critical classes."""
        return [each.id for each in self.classes if each.critical]

    def id_of(self, name: str) -> int:
        """The id of a class by name; the ignore index for `ignore`.

        Raises:
            KeyError: No class has this name.
        """
        if name == IGNORE:
            return self.ignore_index
        return {each.name: each.id for each in self.classes}[name]

    def palette(self) -> np.ndarray:
        """Colours by mask value. Shape: (256, 3), uint8 RGB; what is no class is light grey."""
        palette = np.full((256, 3), IGNORE_GREY, dtype=np.uint8)
        for each in self.classes:
            palette[each.id] = list(bytes.fromhex(each.colour[1:]))
        return palette


def load_taxonomy(path: Path) -> Taxonomy:
    """Reads and checks a taxonomy file.

    Raises:
        UserError: The file is missing or malformed: a gap in the ids, a repeated name, a remap to no class.
    """
    return parse(Taxonomy, read_yaml(path), str(path))
