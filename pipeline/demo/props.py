"""The things that stand in the demo's warehouse: loaded pallets, obstacles, rack frames, columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from pipeline.demo.canvas import BACKGROUND, LIGHT, OBSTACLE, PALLET, Canvas, Colour
from pipeline.demo.texture import GOODS, cardboard, novel, pallet_side, planks, ribbed

WOODS: tuple[Colour, ...] = ((176, 136, 92), (150, 116, 80), (196, 160, 112), (128, 108, 86), (168, 150, 126))
SIGNAL: tuple[Colour, ...] = ((228, 96, 30), (226, 180, 30), (196, 50, 40))
MACHINES: tuple[Colour, ...] = ((214, 150, 30), (196, 84, 30), (170, 40, 36), (120, 126, 130), (52, 90, 120))


class Part(Protocol):
    """A drawable thing, and what decides on its turn."""

    @property
    def base_m(self) -> float:
        """How high above the floor it begins."""

    @property
    def centre(self) -> np.ndarray:
        """Shape: (3,), world metres."""

    def draw(self, canvas: Canvas) -> None:
        """Draws itself over what is there."""


@dataclass(frozen=True)
class Box:
    """An upright box, turned about the vertical."""

    place: tuple[float, float]
    base_m: float
    size: tuple[float, float, float]
    yaw: float
    side: np.ndarray
    top: np.ndarray
    label: int

    @property
    def centre(self) -> np.ndarray:
        """Shape: (3,), world metres."""
        return np.array([self.place[0], self.base_m + self.size[1] / 2, self.place[1]])

    def draw(self, canvas: Canvas) -> None:
        """Draws the faces that look at the camera; of a convex body they never overlap."""
        width, height, depth = self.size
        across = np.array([np.cos(self.yaw), 0.0, np.sin(self.yaw)])
        along = np.array([-np.sin(self.yaw), 0.0, np.cos(self.yaw)])
        up = np.array([0.0, height, 0.0])
        for normal, edge, half in ((across, along * depth, width / 2), (along, across * width, depth / 2)):
            for sign in (-1, 1):
                middle = self.centre + sign * half * normal
                if sign * normal @ (canvas.view.position - middle) > 0:
                    shade = 0.80 + 0.28 * float(sign * normal @ LIGHT)
                    canvas.plane(
                        np.stack([edge, -up, middle - edge / 2 + up / 2], axis=1), self.side, shade, self.label
                    )
        if canvas.view.position[1] > self.base_m + height:
            corner = self.centre + up / 2 - across * width / 2 - along * depth / 2
            canvas.plane(np.stack([across * width, along * depth, corner], axis=1), self.top, 1.08, self.label)


@dataclass(frozen=True)
class Round:
    """A barrel, a cone or a band of one: an upright frustum."""

    place: tuple[float, float]
    base_m: float
    radii: tuple[float, float]
    height_m: float
    colour: Colour
    label: int

    @property
    def centre(self) -> np.ndarray:
        """Shape: (3,), world metres."""
        return np.array([self.place[0], self.base_m + self.height_m / 2, self.place[1]])

    def draw(self, canvas: Canvas) -> None:
        """Draws the silhouette, then the lid when it is seen from above."""
        bottom = np.array([self.place[0], self.base_m, self.place[1]])
        top = bottom + np.array([0, self.height_m, 0])
        rims = [canvas.disc(bottom, self.radii[0]), canvas.disc(top, self.radii[1])]
        if not all(len(rim) for rim in rims):
            return
        outline = cv2.convexHull(np.concatenate(rims).astype(np.float32))[:, 0]
        canvas.solid(outline, self.colour, self.label, 0.6)
        if canvas.view.position[1] > top[1]:
            canvas.solid(rims[1], tuple(1.15 * c for c in self.colour), self.label, 0.1)


@dataclass(frozen=True)
class Prop:
    """Something that stands on the floor.

    Attributes:
        place: x and z, metres.
        radius: Of the circle around its footprint, metres.
        parts: What it consists of.
        shadow: Whether it stands flat on the floor and darkens it.
    """

    place: tuple[float, float]
    radius: float
    parts: Sequence[Part]
    shadow: bool = True

    def draw(self, canvas: Canvas) -> None:
        """Draws the parts from the floor upwards, the far ones first."""
        for part in sorted(self.parts, key=lambda each: (each.base_m, -canvas.view.distance(each.centre))):
            part.draw(canvas)


Surface = Callable[[np.random.Generator, Colour], np.ndarray]


@dataclass(frozen=True)
class Surfaces:
    """Chooses surfaces; a share of them is replaced by the novel one when the appearance is shifted.

    Attributes:
        rng: Decides on and paints novel surfaces, so that their share changes nothing else of a scene.
        novel_share: Share of the surfaces that are novel, 0 to 1.
    """

    rng: np.random.Generator
    novel_share: float

    def __call__(self, usual: np.ndarray) -> np.ndarray:
        """The usual surface or a novel one instead. Shape: (h, w, 3), uint8."""
        return novel(self.rng) if self.rng.random() < self.novel_share else usual


def flat(colour: Colour) -> np.ndarray:
    """A surface of one colour. Shape: (4, 4, 3), uint8."""
    return np.full((4, 4, 3), np.clip(colour, 0, 255), np.uint8)


def pick(rng: np.random.Generator, colours: Sequence[Colour], spread: float = 0.12) -> Colour:
    """One of the colours, a little lighter or darker."""
    red, green, blue = colours[int(rng.integers(len(colours)))]
    factor = float(1 + spread * rng.standard_normal())
    return red * factor, green * factor, blue * factor


def pallet(rng: np.random.Generator, surfaces: Surfaces, place: tuple[float, float]) -> Prop:
    """A wooden pallet: a stack of empty ones, or one with cartons, crates or a wrapped load."""
    wood, yaw = pick(rng, WOODS), float(rng.uniform(-0.6, 0.6))
    deck, side = surfaces(planks(rng, int(rng.integers(5, 8)), wood)), pallet_side(wood)
    stack = int(rng.integers(2, 7)) if rng.random() < 0.2 else 1  # noqa: PLR2004 - a fifth are stacks of empties
    parts: list[Part] = [
        Box(place, 0.15 * i, (1.2, 0.145, 0.9), yaw + float(rng.normal(0, 0.03)), side, deck, PALLET)
        for i in range(stack)
    ]
    if stack == 1 and rng.random() < 0.78:  # noqa: PLR2004 - the rest stand empty
        parts += _load(rng, surfaces, place, yaw)
    return Prop(place, 0.72, parts)


def _load(rng: np.random.Generator, surfaces: Surfaces, place: tuple[float, float], yaw: float) -> list[Part]:
    colour = pick(rng, GOODS)
    surface: Surface = cardboard if rng.random() < 0.65 else ribbed  # noqa: PLR2004 - cartons are usual
    if rng.random() < 0.25:  # noqa: PLR2004 - a quarter are wrapped as one block
        face = surfaces(ribbed(rng, pick(rng, ((200, 204, 206), (60, 62, 66), (170, 180, 186)))))
        return [Box(place, 0.15, (1.12, float(rng.uniform(0.6, 1.5)), 0.84), yaw, face, face, PALLET)]
    across, along = (int(n) for n in rng.integers(1, 4, 2))
    width, depth, height = 1.16 / across, 0.88 / along, float(rng.uniform(0.22, 0.5))
    parts: list[Part] = []
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    for layer in range(int(rng.integers(1, 4))):
        for i, j in np.ndindex(across, along):
            offset = turn @ [(i + 0.5) * width - 0.58, (j + 0.5) * depth - 0.44]
            if layer == 0 or rng.random() < 0.75:  # noqa: PLR2004 - upper layers have gaps
                face = surfaces(surface(rng, pick(rng, (colour,), 0.07)))
                spot = (place[0] + float(offset[0]), place[1] + float(offset[1]))
                parts.append(Box(spot, 0.15 + layer * height, (width, height, depth), yaw, face, face, PALLET))
    return parts


def cone(rng: np.random.Generator, surfaces: Surfaces, place: tuple[float, float]) -> Prop:
    """A traffic cone with a reflective band."""
    colour, height = pick(rng, SIGNAL[:1] * 3 + SIGNAL), float(rng.uniform(0.5, 0.8))
    band: Colour = (222, 222, 216)
    foot = surfaces(flat(tuple(0.5 * c for c in colour)))
    rings = [(0.0, 0.38, colour), (0.38, 0.62, band), (0.62, 1.0, colour)]
    parts: list[Part] = [Box(place, 0.0, (0.4, 0.04, 0.4), float(rng.uniform(0, 1.5)), foot, foot, OBSTACLE)]
    parts += [
        Round(place, 0.04 + low * height, (_taper(low), _taper(high)), (high - low) * height, paint, OBSTACLE)
        for low, high, paint in rings
    ]
    return Prop(place, 0.3, parts)


def _taper(share: float) -> float:
    return 0.17 - 0.145 * share


def barrel(rng: np.random.Generator, surfaces: Surfaces, place: tuple[float, float]) -> Prop:
    """A steel drum, with a crate of tools on it now and then."""
    colour = pick(rng, ((40, 70, 130), (60, 110, 80), (150, 40, 36), (84, 86, 90), (200, 160, 40)))
    rings: list[Part] = []
    for i in range(3):
        rings.append(Round(place, 0.3 * i, (0.29, 0.29), 0.27, colour, OBSTACLE))
        rings.append(Round(place, 0.3 * i + 0.27, (0.31, 0.31), 0.03, tuple(0.75 * c for c in colour), OBSTACLE))
    if rng.random() < 0.3:  # noqa: PLR2004 - some carry a box
        face = surfaces(ribbed(rng, pick(rng, MACHINES)))
        rings.append(Box(place, 0.9, (0.4, 0.25, 0.3), float(rng.uniform(0, 1.5)), face, face, OBSTACLE))
    return Prop(place, 0.4, rings)


def sign(rng: np.random.Generator, surfaces: Surfaces, place: tuple[float, float]) -> Prop:
    """A folding sign that warns of a wet floor."""
    face = np.full((40, 24, 3), pick(rng, ((232, 196, 30), (226, 222, 214)), 0.05), np.uint8)
    cv2.fillPoly(face, [np.array([[12, 5], [20, 18], [4, 18]], np.int32)], (40, 36, 30))
    face[24:34:4, 5:19] = (70, 62, 40)
    painted = surfaces(face)
    board = Box(place, 0.0, (0.38, 0.68, 0.16), float(rng.normal(0, 0.5)), painted, painted, OBSTACLE)
    return Prop(place, 0.3, [board])


def barrier(rng: np.random.Generator, surfaces: Surfaces, place: tuple[float, float]) -> Prop:
    """A striped board on two legs; the floor shows beneath it."""
    stripe = (np.add.outer(np.arange(12), np.arange(96)) // 10) % 2 == 0
    paint = np.where(stripe[:, :, None], pick(rng, SIGNAL, 0.05), (222, 222, 218)).astype(np.uint8)
    board, yaw, length = surfaces(paint), float(rng.normal(0, 0.5)), float(rng.uniform(1.0, 1.7))
    across = np.array([np.cos(yaw), np.sin(yaw)]) * (length / 2 - 0.08)
    metal = flat((90, 92, 96))
    legs = [(place[0] + s * float(across[0]), place[1] + s * float(across[1])) for s in (-1, 1)]
    parts: list[Part] = [Box(leg, 0.0, (0.07, 0.85, 0.3), yaw, metal, metal, OBSTACLE) for leg in legs]
    parts.append(Box(place, 0.6, (length, 0.24, 0.05), yaw, board, board, OBSTACLE))
    return Prop(place, length / 2 + 0.1, parts)


def truck(rng: np.random.Generator, surfaces: Surfaces, place: tuple[float, float]) -> Prop:
    """A forklift: body, wheels, guard on four posts, mast and forks."""
    paint, yaw = pick(rng, MACHINES), float(rng.uniform(-0.9, 0.9)) + float(rng.choice([0.0, np.pi]))
    dark: Colour = (44, 44, 48)
    boxes = [  # x, z, base, size, colour
        (0.0, -0.35, 0.22, (1.05, 0.75, 1.0), paint),
        (0.0, 0.35, 0.22, (1.0, 0.32, 0.6), tuple(0.8 * c for c in paint)),
        (0.0, 0.1, 1.02, (0.45, 0.5, 0.15), dark), (0.0, -0.1, 1.98, (1.0, 0.07, 1.1), dark),
        *[(x, z, 0.5, (0.07, 1.5, 0.07), dark) for x in (-0.46, 0.46) for z in (-0.6, 0.42)],
        *[(x, z, 0.0, (0.2, 0.46, 0.46), (30, 30, 32)) for x in (-0.46, 0.46) for z in (-0.5, 0.4)],
        *[(x, 0.75, 0.05, (0.1, 2.15, 0.12), (64, 66, 70)) for x in (-0.32, 0.32)],
        *[(x, 1.3, 0.06, (0.12, 0.05, 1.1), (54, 56, 60)) for x in (-0.28, 0.28)],
    ]  # fmt: skip
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    parts: list[Part] = []
    for x, z, base, size, colour in boxes:
        spot = turn @ [x, z]
        face = surfaces(flat(colour)) if colour is paint else flat(colour)
        parts.append(Box((place[0] + float(spot[0]), place[1] + float(spot[1])), base, size, yaw, face, face, OBSTACLE))
    return Prop(place, 1.1, parts)


def rack_frame(rng: np.random.Generator, place: tuple[float, float]) -> Prop:
    """An open rack between the camera and the aisle: posts and beams that hide what is behind them."""
    paint, beam = flat(pick(rng, ((40, 70, 130), (70, 92, 76), (110, 112, 116)))), flat(pick(rng, SIGNAL))
    length, yaw = float(rng.uniform(1.2, 2.2)), float(rng.normal(0, 0.15))
    spots = [(place[0] + s * length / 2, place[1]) for s in (-1, 1)]
    parts: list[Part] = [Box(spot, 0.0, (0.11, 4.5, 0.11), yaw, paint, paint, BACKGROUND) for spot in spots]
    for level in np.arange(float(rng.uniform(0.3, 1.2)), 4.4, 1.4):
        parts.append(Box(place, float(level), (length, 0.12, 0.08), yaw, beam, beam, BACKGROUND))
        for x in np.arange(-length / 2 + 0.3, length / 2 - 0.2, 0.5):
            if rng.random() < 0.45:  # noqa: PLR2004 - half of the rack is empty, or nothing would be seen
                face = cardboard(rng, pick(rng, GOODS))
                size = (0.46, float(rng.uniform(0.2, 0.7)), 0.4)
                spot = (place[0] + float(x), place[1])
                parts.append(Box(spot, float(level) + 0.12, size, yaw, face, face, BACKGROUND))
    return Prop(place, length / 2, parts, shadow=False)


def column(rng: np.random.Generator, place: tuple[float, float]) -> Prop:
    """A pillar with a striped guard around its foot."""
    stripes = np.where((np.arange(24) // 6 % 2 == 0)[:, None, None], (206, 166, 40), (36, 36, 38))
    guard = np.repeat(stripes, 8, axis=1).astype(np.uint8)
    plaster = flat(pick(rng, ((150, 150, 148), (120, 122, 126), (176, 170, 160))))
    width = float(rng.uniform(0.25, 0.45))
    parts: list[Part] = [
        Box(place, 0.0, (width + 0.04, 1.0, width + 0.04), 0.0, guard, guard, BACKGROUND),
        Box(place, 1.0, (width, 6.0, width), 0.0, plaster, plaster, BACKGROUND),
    ]
    return Prop(place, 0.35, parts)
