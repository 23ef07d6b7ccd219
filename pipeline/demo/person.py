"""The demo's people: articulated figures in work clothes, in the poses that a warehouse asks for."""

from dataclasses import dataclass

import numpy as np

from pipeline.demo.canvas import HUMAN, Canvas, Colour
from pipeline.demo.props import Prop, pick

CLOTHES: tuple[Colour, ...] = (
    (48, 56, 78), (60, 60, 62), (112, 108, 100), (128, 98, 66), (70, 84, 66), (120, 126, 134), (150, 120, 84),
    (140, 44, 40),
)  # fmt: skip
VESTS: tuple[Colour, ...] = ((236, 110, 30), (206, 224, 50), (206, 224, 50), (70, 150, 80), (190, 40, 44))
HELMETS: tuple[Colour, ...] = ((226, 190, 40), (224, 224, 220), (50, 90, 160), (190, 50, 40), (110, 112, 114))
SKINS: tuple[Colour, ...] = ((226, 180, 150), (196, 146, 110), (150, 104, 74), (98, 66, 48))
UPPER_LEG_M, LOWER_LEG_M, TRUNK_M, UPPER_ARM_M, LOWER_ARM_M = 0.44, 0.44, 0.50, 0.29, 0.27


@dataclass(frozen=True)
class Pose:
    """Joint angles in radians; forwards is positive.

    Attributes:
        lean: Of the trunk.
        hips: Of the thighs, left and right.
        knees: How far each lower leg is bent back.
        shoulders: Of the upper arms.
        elbows: How far each lower arm is bent forwards.
        spread: Of the arms to the sides.
    """

    lean: float
    hips: tuple[float, float]
    knees: tuple[float, float]
    shoulders: tuple[float, float]
    elbows: tuple[float, float]
    spread: float


POSES = (
    Pose(0.02, (0.03, -0.03), (0.0, 0.05), (0.05, -0.05), (0.15, 0.2), 0.12),
    Pose(0.08, (0.50, -0.38), (0.1, 0.45), (-0.45, 0.5), (0.4, 0.5), 0.10),
    Pose(0.10, (-0.25, 0.62), (0.6, 0.2), (0.5, -0.4), (0.6, 0.3), 0.08),
    Pose(1.15, (0.25, 0.10), (0.2, 0.3), (0.9, 1.0), (0.2, 0.3), 0.10),
    Pose(0.45, (1.75, 1.30), (2.2, 2.2), (0.7, 0.9), (0.7, 0.5), 0.20),
    Pose(0.05, (0.10, -0.08), (0.05, 0.1), (0.55, 0.6), (1.1, 1.0), 0.15),
    Pose(0.00, (0.05, -0.05), (0.0, 0.1), (2.6, 0.1), (0.3, 0.3), 0.25),
    Pose(0.25, (0.40, -0.30), (0.1, 0.3), (1.2, 1.25), (0.2, 0.2), 0.20),
    Pose(0.04, (0.04, -0.04), (0.0, 0.0), (0.3, 1.5), (0.5, 0.5), 0.75),
)


@dataclass(frozen=True)
class Outfit:
    """What a person wears, and their size; the same in all frames of a scene."""

    stature: float
    shirt: Colour
    trousers: Colour
    skin: Colour
    vest: Colour | None
    helmet: Colour | None


def dress(rng: np.random.Generator, surroundings: Colour) -> Outfit:
    """Draws an outfit; some are of the colour of what is around them, and hard to see."""
    camouflaged = rng.random() < 0.1  # noqa: PLR2004 - a tenth blend in
    shirt = pick(rng, (surroundings,) if camouflaged else CLOTHES)
    trousers = pick(rng, (surroundings, *CLOTHES[:4]) if camouflaged else CLOTHES[:6])
    vest = pick(rng, VESTS, 0.08) if not camouflaged and rng.random() < 0.6 else None  # noqa: PLR2004
    helmet = pick(rng, HELMETS, 0.08) if rng.random() < 0.55 else None  # noqa: PLR2004 - about half wear one
    return Outfit(float(rng.normal(1.0, 0.06)), shirt, trousers, pick(rng, SKINS), vest, helmet)


@dataclass(frozen=True)
class Figure:
    """A dressed person in a pose, at a place, facing somewhere."""

    outfit: Outfit
    pose: Pose
    place: tuple[float, float]
    heading: float
    base_m: float = 0.0

    @property
    def centre(self) -> np.ndarray:
        """Shape: (3,), world metres."""
        return np.array([self.place[0], 0.9, self.place[1]])

    def draw(self, canvas: Canvas) -> None:
        """Draws limbs, trunk and head, the far ones first."""
        pieces = [*self._legs(), *self._arms(), self._trunk(), self._head()]
        world = [(self._world(points), radii, colours) for points, radii, colours in pieces]
        for points, radii, colours in sorted(world, key=lambda each: -canvas.view.distance(each[0].mean(axis=0))):
            for i, colour in enumerate(colours):
                canvas.hull(points[i : i + 2], radii[i : i + 2] * self.outfit.stature, colour, HUMAN)
        self._wear(canvas)

    def _joints(self) -> dict[str, np.ndarray]:
        """Body coordinates: x to the right, y up, z forwards; the lower foot stands on the floor."""
        pose = self.pose
        joints: dict[str, np.ndarray] = {"pelvis": np.zeros(3)}
        joints["neck"] = TRUNK_M * _upwards(pose.lean)
        joints["head"] = joints["neck"] + 0.20 * _upwards(0.5 * pose.lean)
        for i, side in enumerate((-1, 1)):
            hip = np.array([0.09 * side, 0, 0])
            knee = hip + UPPER_LEG_M * _downwards(pose.hips[i])
            ankle = knee + LOWER_LEG_M * _downwards(pose.hips[i] - pose.knees[i])
            shoulder = joints["neck"] + [0.19 * side, -0.03, 0]
            sideways = np.array([np.sin(pose.spread) * side, 0, 0])
            elbow = shoulder + UPPER_ARM_M * (_downwards(pose.shoulders[i]) * np.cos(pose.spread) + sideways)
            hand = elbow + LOWER_ARM_M * (_downwards(pose.shoulders[i] + pose.elbows[i]) + 0.5 * sideways)
            joints |= {f"hip{i}": hip, f"knee{i}": knee, f"ankle{i}": ankle}
            joints |= {f"shoulder{i}": shoulder, f"elbow{i}": elbow, f"hand{i}": hand}
        lowest = min(joints["ankle0"][1], joints["ankle1"][1])
        return {name: joint - [0, lowest - 0.07, 0] for name, joint in joints.items()}

    def _legs(self) -> list["Piece"]:
        joints, wear = self._joints(), self.outfit
        shoe: Colour = (36, 32, 30)
        pieces: list[Piece] = []
        for i in range(2):
            toe = joints[f"ankle{i}"] + [0, -0.03, 0.15]
            points = np.stack([joints[f"hip{i}"], joints[f"knee{i}"], joints[f"ankle{i}"], toe])
            shade = 0.86 + 0.14 * i
            trousers = tuple(shade * c for c in wear.trousers)
            pieces.append((points, np.array([0.095, 0.07, 0.05, 0.04]), [trousers, trousers, shoe]))
        return pieces

    def _arms(self) -> list["Piece"]:
        joints, wear = self._joints(), self.outfit
        sleeve = tuple(0.9 * c for c in wear.shirt)
        radii = np.array([0.065, 0.05, 0.045, 0.04])
        pieces: list[Piece] = []
        for i in range(2):
            hand = joints[f"hand{i}"]
            wrist = hand + 0.25 * (joints[f"elbow{i}"] - hand)
            points = np.stack([joints[f"shoulder{i}"], joints[f"elbow{i}"], wrist, hand])
            pieces.append((points, radii, [sleeve, sleeve, wear.skin]))
        return pieces

    def _trunk(self) -> "Piece":
        joints = self._joints()
        points = np.stack([joints["pelvis"], joints["neck"] - [0, 0.08, 0]])
        return points, np.array([0.135, 0.175]), [self.outfit.vest or self.outfit.shirt]

    def _head(self) -> "Piece":
        joints = self._joints()
        top = joints["head"] + [0, 0.03, 0.01]
        hair: Colour = tuple(0.45 * c for c in self.outfit.skin)
        crown = top + np.array([0, 0.03, -0.02])
        points = np.stack([joints["neck"] - [0, 0.02, 0], joints["head"], top, crown])
        return points, np.array([0.05, 0.09, 0.09, 0.085]), [self.outfit.skin, self.outfit.skin, hair]

    def _wear(self, canvas: Canvas) -> None:
        """Reflective bands over the vest, and the helmet; drawn last, which is close enough to the truth."""
        joints, stature = self._joints(), self.outfit.stature
        if self.outfit.vest:
            facing = self._world(np.array([[0.0, 0.0, 0.13], [0.0, 0.0, -0.13]]))
            nearer = 0.13 if canvas.view.distance(facing[0]) < canvas.view.distance(facing[1]) else -0.13
            half = np.array([0.11, 0, 0])
            for share in (0.25, 0.55):
                middle = joints["pelvis"] + share * (joints["neck"] - joints["pelvis"]) + [0, 0, nearer]
                band = self._world(np.array([middle - half, middle + half]))
                canvas.hull(band, np.full(2, 0.022 * stature), (214, 216, 206), HUMAN)
        if self.outfit.helmet:
            crown, ahead = joints["head"] + [0, 0.075, 0], np.array([0, 0, 0.06])
            shell = self._world(np.array([crown - ahead / 2, crown + ahead]))
            canvas.hull(shell, np.array([0.10, 0.09]) * stature, self.outfit.helmet, HUMAN)

    def _world(self, points: np.ndarray) -> np.ndarray:
        """Body to world coordinates. Shape: (N, 3) to (N, 3), metres."""
        cosine, sine = np.cos(self.heading), np.sin(self.heading)
        turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
        moved: np.ndarray = self.outfit.stature * points @ turn.T + [self.place[0], 0, self.place[1]]
        return moved


Piece = tuple[np.ndarray, np.ndarray, list[Colour]]


def person(rng: np.random.Generator, outfit: Outfit, place: tuple[float, float]) -> Prop:
    """A person in a pose drawn at random, no two quite alike."""
    base = POSES[rng.integers(len(POSES))]
    jitter = rng.normal(0, 0.09, 4)
    pose = Pose(
        base.lean + float(jitter[0]),
        (base.hips[0] + float(jitter[1]), base.hips[1] - float(jitter[1])),
        base.knees,
        (base.shoulders[0] + float(jitter[2]), base.shoulders[1] + float(jitter[3])),
        base.elbows,
        base.spread,
    )
    return Prop(place, 0.32, [Figure(outfit, pose, place, float(rng.uniform(0, 2 * np.pi)))])


def _upwards(angle: float) -> np.ndarray:
    return np.array([0.0, np.cos(angle), np.sin(angle)])


def _downwards(angle: float) -> np.ndarray:
    return np.array([0.0, -np.cos(angle), np.sin(angle)])
