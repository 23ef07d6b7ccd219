"""Turns a source's values, colours and names into taxonomy ids, and counts those that nothing maps."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pipeline.formats.source import UNDRAWN, Legend, Shape
from pipeline.images import ImageError
from pipeline.taxonomy import IGNORE, Remap, Taxonomy

# Values below are counted in a table, an order of magnitude faster than by sorting.
SORTING_PAYS_FROM = 1 << 16
FARTHEST_PX = 1 << 20


@dataclass(frozen=True)
class Painted:
    """A mask in taxonomy ids.

    Attributes:
        mask: Shape (H, W), uint8; unknown values are void.
        found: Pixels by (source value as text, class name); the class is None where nothing maps the value.
    """

    mask: np.ndarray
    found: dict[tuple[str, str | None], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Labels:
    """What a source's labels mean: its remap first, then its own legend, then the taxonomy itself."""

    taxonomy: Taxonomy
    remap: Remap | None
    legend: Legend

    def of_name(self, name: str) -> str | None:
        """The class of a source's label name, None when nothing maps it."""
        if self.remap and name in self.remap.names:
            return self.remap.names[name]
        return name if name in self.taxonomy.names else None

    def of_value(self, value: int) -> str | None:
        """The class of a mask value, None when nothing maps it."""
        if self.remap and value in self.remap.values:
            return self.remap.values[value]
        if value in self.legend.ids:
            return self.of_name(self.legend.ids[value])
        if self.remap and self.remap.values:
            return None
        if value == self.taxonomy.ignore_index:
            return IGNORE
        plain = not self.legend.ids and 0 <= value < self.taxonomy.num_classes
        return self.taxonomy.names[value] if plain else None

    def of_colour(self, colour: str) -> str | None:
        """The class of a mask colour "#rrggbb", None when nothing maps it."""
        if self.remap and colour in self.remap.colours:
            return self.remap.colours[colour]
        if colour in self.legend.colours:
            return self.of_name(self.legend.colours[colour])
        if (self.remap and self.remap.colours) or self.legend.colours:
            return None
        return next((each.name for each in self.taxonomy.classes if each.colour == colour), None)

    def paint_pixels(self, pixels: np.ndarray, palette: np.ndarray | None) -> Painted:
        """Maps the pixels of a mask file.

        Args:
            pixels: Shape (H, W) int64 values or palette indices, or (H, W, 3) uint8 RGB.
            palette: Shape (n, 3), uint8, or None without one.
        """
        if self.remap and self.remap.threshold is not None:
            return self._threshold(pixels, palette)
        if palette is not None and self._by_colour():
            pixels = _pad(palette)[pixels]
        if pixels.ndim == 3:  # noqa: PLR2004 - (H, W, 3)
            packed = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
            return self._paint(packed, lambda value: f"#{value:06x}", self.of_colour)
        step = self.legend.instance_step
        values = np.where(pixels >= step, pixels // step, pixels) if step else pixels
        return self._paint(values, str, lambda text: self.of_value(int(text)))

    def paint_shapes(self, shapes: tuple[Shape, ...], height: int, width: int) -> Painted:
        """Draws outlines over each other in their order; what none covers is the label "background".

        Raises:
            ImageError: A run-length encoding does not have the size of the canvas or does not fill it, or a polygon is
                damaged.
        """
        names = [UNDRAWN, *dict.fromkeys(shape.label for shape in shapes if shape.label != UNDRAWN)]
        canvas = np.zeros((height, width), dtype=np.int64)
        for shape in shapes:
            canvas[_drawn(shape, height, width)] = names.index(shape.label)
        return self._paint(canvas, lambda value: names[value], self.of_name)

    def _by_colour(self) -> bool:
        if self.remap and (self.remap.values or self.remap.colours):
            return not self.remap.values
        return bool(self.legend.colours)

    def _threshold(self, pixels: np.ndarray, palette: np.ndarray | None) -> Painted:
        assert self.remap is not None
        assert self.remap.threshold is not None
        colours = pixels if palette is None else _pad(palette)[pixels]
        grey = colours if colours.ndim == 2 else colours.mean(axis=2)  # noqa: PLR2004 - (H, W)
        sides = {1: self.remap.above, 0: self.remap.below}
        high = (grey >= self.remap.threshold).astype(np.int64)
        texts = {1: f">= {self.remap.threshold}", 0: f"< {self.remap.threshold}"}
        return self._paint(high, lambda value: texts[value], lambda text: sides[int(text[0] == ">")])

    def _paint(
        self,
        packed: np.ndarray,
        text: Callable[[int], str],
        resolve: Callable[[str], str | None],
    ) -> Painted:
        mask = np.full(packed.shape, self.taxonomy.ignore_index, dtype=np.uint8)
        found: dict[tuple[str, str | None], int] = {}
        for value, count in _counts(packed).items():
            name = resolve(text(value))
            found[text(value), name] = count
            if name is not None:
                mask[packed == value] = self.taxonomy.id_of(name)
        return Painted(mask, found)


def _counts(packed: np.ndarray) -> dict[int, int]:
    if packed.max(initial=0) < SORTING_PAYS_FROM:
        table = np.bincount(packed.ravel())
        return {value: int(table[value]) for value in np.flatnonzero(table).tolist()}
    values, counts = np.unique(packed, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _pad(palette: np.ndarray) -> np.ndarray:
    return np.vstack([palette, np.zeros((256 - len(palette), 3), dtype=np.uint8)])


def _drawn(shape: Shape, height: int, width: int) -> np.ndarray:
    from pycocotools import mask as coco

    if shape.points:
        _check_corners(shape)
        code = coco.merge(coco.frPyObjects([list(shape.points)], height, width))
    elif shape.size == (height, width):
        _check_runs(shape)
        code = {"size": list(shape.size), "counts": shape.counts}
    else:
        raise ImageError(
            f"a run-length encoding of '{shape.label}' is {shape.size[1]}x{shape.size[0]}, "
            f"the image {width}x{height} px",
        )
    drawn: np.ndarray = coco.decode(code).astype(bool)
    return drawn


def _check_corners(shape: Shape) -> None:
    # The drawing library overruns its memory at coordinates that its integers do not hold; NaN compares false.
    if len(shape.points) % 2 or not all(abs(each) <= FARTHEST_PX for each in shape.points):
        raise ImageError(f"a polygon of '{shape.label}' is damaged: its corners are no pairs of sensible numbers")


def _check_runs(shape: Shape) -> None:
    # The decoder trusts the lengths, and writes beyond its canvas where they are wrong.
    lengths = _run_lengths(shape.counts)
    if min(lengths, default=0) < 0 or sum(lengths) != shape.size[0] * shape.size[1]:
        raise ImageError(f"a run-length encoding of '{shape.label}' is damaged: its runs do not fill the image")


def _run_lengths(counts: bytes) -> list[int]:
    """The run lengths of a compressed COCO encoding (pycocotools, maskApi.c, rleFrString); [-1] for a malformed one.

    Each number is written in base 32 with the lowest digit first, a bit for "more follows" and a sign; from the fourth
    on it is the difference to the number before the last.
    """
    lengths: list[int] = []
    value = shift = 0
    for code in counts:
        digit = code - 48
        if not 0 <= digit < 64:  # noqa: PLR2004 - 5 bits and the one for "more follows"
            return [-1]
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        signed = value - (1 << shift) if digit & 16 else value
        lengths.append(signed + (lengths[-2] if len(lengths) > 2 else 0))  # noqa: PLR2004 - see above
        value = shift = 0
    return [-1] if shift else lengths
