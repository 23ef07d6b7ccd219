"""Composes and renders the demo's scenes: one warehouse aisle each, seen a few times by one camera."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.demo.camera import CAMERAS, CameraModel, View, look
from pipeline.demo.canvas import BACKGROUND, FLOOR, Canvas, Colour
from pipeline.demo.light import LIGHTINGS, Lighting, Shift, develop
from pipeline.demo.person import Outfit, dress, person
from pipeline.demo.props import Prop, Surfaces, barrel, barrier, column, cone, pallet, rack_frame, sign, truck
from pipeline.demo.texture import concrete, rack_face, wall

FLOORS: tuple[Colour, ...] = ((150, 148, 142), (128, 130, 132), (168, 158, 140), (112, 116, 112), (140, 124, 108))
WALLS: tuple[Colour, ...] = ((166, 170, 172), (136, 144, 150), (180, 172, 156), (118, 124, 118))
OBSTACLES = (cone, barrel, sign, barrier, truck)
OBSTACLE_SHARES = (0.30, 0.24, 0.14, 0.16, 0.16)


@dataclass(frozen=True)
class SceneOptions:
    """What all scenes of a dataset share.

    Attributes:
        seed: Of the whole dataset.
        frames: Pictures per scene.
        size: Width and height of a picture in pixels.
        human_share: Share of the scenes that people work in.
        shift: The change of appearance.
    """

    seed: int
    frames: int
    size: tuple[int, int]
    human_share: float
    shift: Shift


@dataclass(frozen=True)
class Frame:
    """One rendered picture, (H, W, 3) uint8 RGB, and its true mask, (H, W) uint8."""

    image: np.ndarray
    mask: np.ndarray
    camera: str
    lighting: str


@dataclass(frozen=True)
class Hall:
    """The empty warehouse: half the aisle's width, its length, and its surfaces."""

    half_m: float
    length_m: float
    floor: np.ndarray
    floor_colour: Colour
    back: np.ndarray
    sides: tuple[np.ndarray, np.ndarray]


HALL_HEIGHT_M = 6.0
STEPS = 6
RENDERING_STREAM = 0
FLOOR_HALF_M = 9.0


def random_streams(entropy: list[int], count: int) -> list[np.random.Generator]:
    """Independent generators, the same whatever process draws from them and in what order."""
    return [np.random.default_rng(each) for each in np.random.SeedSequence(entropy).spawn(count)]


def render(options: SceneOptions, scene: int) -> Iterator[Frame]:
    """Renders the frames of one scene: same hall and things, people and a moving camera differ.

    Args:
        options: What all scenes share.
        scene: The scene's number.
    """
    streams = random_streams([options.seed, scene, RENDERING_STREAM], 5 + 3 * options.frames)
    layout, surface, outfits, camera_stream, choice = streams[:5]
    camera = CAMERAS[choice.integers(len(CAMERAS))]
    lighting = LIGHTINGS[choice.integers(len(LIGHTINGS))]
    hall = _hall(layout)
    things = _things(layout, Surfaces(surface, options.shift.texture), hall)
    crew = _crew(outfits, hall, options.human_share)
    light_seed = int(choice.integers(2**32))
    views = list(_views(camera_stream, camera, options))
    for i in range(options.frames):
        people, sensor, shifted = streams[5 + 3 * i : 8 + 3 * i]
        props = [*things, *_place_people(people, crew, things, hall)]
        picture, mask = _draw(views[i], hall, props, lighting)
        seeds = (np.random.default_rng(light_seed), sensor, shifted)
        image = develop(picture, camera, lighting, options.shift, seeds)
        yield Frame(image, mask, camera.name, lighting.name)


def _hall(rng: np.random.Generator) -> Hall:
    half, length = float(rng.uniform(2.8, 4.6)), float(rng.uniform(13, 22))
    colour = FLOORS[rng.integers(len(FLOORS))]
    wall_colour = WALLS[rng.integers(len(WALLS))]
    sides = [
        rack_face(rng, length, HALL_HEIGHT_M)
        if rng.random() < 0.8  # noqa: PLR2004 - most aisles run between racks
        else wall(rng, length, HALL_HEIGHT_M, wall_colour)
        for _ in range(2)
    ]
    floor = concrete(rng, 2 * FLOOR_HALF_M, length + 4, colour)
    return Hall(half, length, floor, colour, wall(rng, 4 * half, HALL_HEIGHT_M, wall_colour), (sides[0], sides[1]))


def _things(rng: np.random.Generator, surfaces: Surfaces, hall: Hall) -> list[Prop]:
    """Pallets, obstacles and what hides them, at places where they do not stand in each other."""
    props: list[Prop] = []
    for _ in range(rng.integers(1, 5)):
        _add(props, pallet(rng, surfaces, _spot(rng, hall, 3.4)))
    for _ in range(rng.choice(4, p=[0.22, 0.38, 0.28, 0.12])):
        maker = OBSTACLES[rng.choice(len(OBSTACLES), p=OBSTACLE_SHARES)]
        _add(props, maker(rng, surfaces, _spot(rng, hall, 3.0)))
    if rng.random() < 0.35:  # noqa: PLR2004 - a third of the cameras look past a rack
        side = float(rng.choice([-1, 1]))
        props.append(rack_frame(rng, (side * float(rng.uniform(1.0, 2.2)), float(rng.uniform(2.4, 4.2)))))
    if rng.random() < 0.35:  # noqa: PLR2004 - a third of the halls have pillars in sight
        _add(props, column(rng, _spot(rng, hall, 4.0)))
    return props


def _spot(rng: np.random.Generator, hall: Hall, nearest_m: float) -> tuple[float, float]:
    across = hall.half_m - 0.7
    return float(rng.uniform(-across, across)), nearest_m + float(rng.beta(1.2, 1.8)) * (hall.length_m - nearest_m - 2)


def _add(props: list[Prop], prop: Prop) -> None:
    if all(_apart(prop.place, prop.radius, other) for other in props):
        props.append(prop)


def _apart(place: Sequence[float] | np.ndarray, radius: float, other: Prop) -> bool:
    return float(np.hypot(place[0] - other.place[0], place[1] - other.place[1])) > 0.85 * (radius + other.radius)


def _crew(rng: np.random.Generator, hall: Hall, share: float) -> list[tuple[Outfit, tuple[float, float]]]:
    """Who is in the scene, and around where."""
    present = rng.random() < share
    count = int(rng.choice([1, 2, 3], p=[0.55, 0.35, 0.10]))
    crew = [(dress(rng, hall.floor_colour), _person_spot(rng, hall)) for _ in range(count)]
    return crew if present else []


def _person_spot(rng: np.random.Generator, hall: Hall) -> tuple[float, float]:
    return float(rng.uniform(-0.6, 0.6)) * (hall.half_m - 0.6), float(rng.uniform(3.0, 6.2))


def _place_people(
    rng: np.random.Generator, crew: list[tuple[Outfit, tuple[float, float]]], things: list[Prop], hall: Hall
) -> list[Prop]:
    people: list[Prop] = []
    across = hall.half_m - 0.4
    for outfit, (x, z) in crew:
        steps = np.array([x, z]) + rng.normal(0, 1, (STEPS, 2)) * np.linspace(0.4, 1.2, STEPS)[:, None]
        steps = np.clip(steps, [-across, 3.0], [across, hall.length_m - 1])
        free = [step for step in steps if all(_apart(step, 0.3, other) for other in [*things, *people])]
        if free:
            people.append(person(rng, outfit, (float(free[0][0]), float(free[0][1]))))
    return people


def _views(rng: np.random.Generator, camera: CameraModel, options: SceneOptions) -> Iterator[View]:
    x, yaw, pitch = float(rng.normal(0, 0.5)), float(rng.normal(0, 7)), float(rng.normal(0, 1.5))
    for i in range(options.frames):
        sway = rng.normal(0, 0.25 if camera.drive_m == 0 else 0.8, 2)
        angles = (yaw + float(sway[0]), pitch + 0.5 * float(sway[1]))
        yield look(camera, options.size, x, i * camera.drive_m, angles)


def _draw(view: View, hall: Hall, props: list[Prop], lighting: Lighting) -> tuple[np.ndarray, np.ndarray]:
    """Draws the hall, then what stands in it from far to near."""
    canvas = Canvas.blank(view)
    _draw_hall(canvas, hall)
    standing = [(np.array([p.place[0], 0.0, p.place[1]]), p.radius) for p in props if p.shadow]
    canvas.shadow(standing, lighting.shadow)
    for prop in sorted(props, key=lambda each: -view.distance((each.place[0], 0.0, each.place[1]))):
        prop.draw(canvas)
    return canvas.result()


def _draw_hall(canvas: Canvas, hall: Hall) -> None:
    up = np.array([0, -HALL_HEIGHT_M, 0])
    start = -2.0
    along = np.array([0, 0, hall.length_m - start])
    floor = [[2 * FLOOR_HALF_M, 0, 0], [0, 0, hall.length_m + 4], [-FLOOR_HALF_M, 0, -4]]
    canvas.plane(np.array(floor, float).T, hall.floor, 1.0, FLOOR)
    back = [[4 * hall.half_m, 0, 0], up, [-2 * hall.half_m, HALL_HEIGHT_M, hall.length_m]]
    canvas.plane(np.array(back, float).T, hall.back, 0.9, BACKGROUND)
    for side, texture in zip((-1, 1), hall.sides, strict=True):
        corner = np.array([side * hall.half_m, HALL_HEIGHT_M, start])
        canvas.plane(np.stack([along, up, corner], axis=1), texture, 0.85, BACKGROUND)
