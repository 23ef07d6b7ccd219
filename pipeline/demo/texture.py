"""Paints the surfaces of the demo's warehouse: concrete, wood, cardboard, racks, walls."""

import cv2
import numpy as np

PX_PER_M = 32
Colour = tuple[float, ...]  # red, green, blue, 0 to 255

GOODS: tuple[Colour, ...] = (
    (168, 128, 86), (186, 150, 108), (140, 104, 70), (196, 170, 130), (120, 128, 138), (92, 112, 140), (150, 60, 52),
    (210, 205, 196), (70, 96, 76), (178, 140, 60), (60, 62, 70),
)  # fmt: skip


def clouds(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Smooth noise. Shape: (height, width), float32, mean 0, about -1 to 1."""
    coarse = rng.standard_normal((max(cells * height // max(width, 1), 2), cells), dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(0.6)


def tinted(light: np.ndarray, colour: Colour) -> np.ndarray:
    """A brightness map in a colour. Shape: (h, w) float32 about 1 to (h, w, 3) uint8."""
    # OpenCV's conversion rounds and saturates in one pass, several times as fast as clipping in numpy.
    lit = np.maximum(light, 0)
    painted: np.ndarray = cv2.merge([cv2.convertScaleAbs(lit, alpha=float(max(part, 0))) for part in colour])
    return painted


def concrete(rng: np.random.Generator, width_m: float, length_m: float, colour: Colour) -> np.ndarray:
    """A floor with slabs, stains, tyre marks and painted lanes. Shape: (length, width, 3), uint8."""
    width, length = int(width_m * PX_PER_M), int(length_m * PX_PER_M)
    light = 1 + 0.10 * clouds(rng, length, width, 9) + 0.06 * clouds(rng, length, width, 90)
    light += 0.03 * rng.standard_normal((length, width), dtype=np.float32)
    slab = int(rng.choice([1.0, 1.5, 2.5, 4.0]) * PX_PER_M)
    light[::slab] *= 0.72
    light[:, ::slab] *= 0.72
    if slab < 2 * PX_PER_M:  # small slabs are laid as tiles, each a little different
        tiles = rng.standard_normal((length // slab + 1, width // slab + 1), dtype=np.float32)
        light *= 1 + 0.05 * np.kron(tiles, np.ones((slab, slab), np.float32))[:length, :width]
    for _ in range(rng.integers(3, 9)):
        centre = (int(rng.integers(width)), int(rng.integers(length)))
        axes = (int(rng.integers(6, 34)), int(rng.integers(6, 34)))
        stain = np.zeros_like(light)
        cv2.ellipse(stain, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
        light *= 1 - float(rng.uniform(0.05, 0.3)) * stain
    return _marked(rng, tinted(light, colour))


def _marked(rng: np.random.Generator, floor: np.ndarray) -> np.ndarray:
    length, width = floor.shape[:2]
    paint = [(205, 170, 50), (215, 215, 210), (190, 70, 50)][rng.choice(3, p=[0.6, 0.3, 0.1])]
    worn = (rng.random((length, width)) < 0.86)[:, :, None]  # noqa: PLR2004 - share of the paint that is left
    lines = floor.copy()
    for side in (-1, 1):
        x = int(width / 2 + side * rng.uniform(1.4, 2.2) * PX_PER_M)
        cv2.line(lines, (x, 0), (x, length), paint, 4)
    if rng.random() < 0.6:  # noqa: PLR2004 - a walkway in most halls
        y, depth = int(rng.uniform(0.2, 0.7) * length), int(1.2 * PX_PER_M)
        for x in range(0, width, 24):
            cv2.line(lines, (x, y), (x + 12, y + depth), paint, 6)
    for _ in range(rng.integers(0, 4)):
        x, wave = int(rng.uniform(0.35, 0.65) * width), int(rng.integers(-40, 40))
        cv2.line(lines, (x, 0), (x + wave, length), (70, 68, 66), 3)
    mixed: np.ndarray = np.where(worn, lines, floor)
    return mixed


def planks(rng: np.random.Generator, boards: int, colour: Colour) -> np.ndarray:
    """Boards with dark gaps between them, as on a pallet's deck. Shape: (64, 64, 3), uint8."""
    size = 64
    pitch = size / boards
    light = 1 + 0.10 * np.repeat(rng.standard_normal((size, 4), dtype=np.float32), size // 4, axis=1)
    for board in range(boards):
        top, bottom = int(board * pitch), int((board + 1) * pitch)
        light[top:bottom] *= 1 + 0.12 * float(rng.standard_normal())
        light[bottom - max(int(pitch * 0.26), 2) : bottom] *= 0.22
    return tinted(light, colour)


def pallet_side(colour: Colour) -> np.ndarray:
    """Three blocks between two boards, with the dark openings for the forks. Shape: (24, 96, 3), uint8."""
    light = np.full((24, 96), 0.9, np.float32)
    for start in (14, 57):
        light[6:19, start : start + 25] = 0.13
    light[5:6] = 0.5
    return tinted(light, colour)


def cardboard(rng: np.random.Generator, colour: Colour) -> np.ndarray:
    """A carton's face with tape, perhaps a label or print. Shape: (48, 48, 3), uint8."""
    light = 1 + 0.05 * clouds(rng, 48, 48, 6) + 0.03 * rng.standard_normal((48, 48), dtype=np.float32)
    light[:1] *= 0.6
    light[-2:] *= 0.55
    light[:, :1] *= 0.6
    light[:, -1:] *= 0.6
    face = tinted(light, colour)
    if rng.random() < 0.6:  # noqa: PLR2004 - most cartons are taped
        face[:, 22:26] = np.clip(face[:, 22:26].astype(np.int16) + 22, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:  # noqa: PLR2004 - half have a label
        x, y = rng.integers(4, 28, 2)
        face[y : y + 11, x : x + 14] = (225, 224, 218)
        face[y + 3 : y + 8 : 2, x + 2 : x + 11] = 60
    return face


def ribbed(rng: np.random.Generator, colour: Colour) -> np.ndarray:
    """A plastic crate's or a film-wrapped load's face. Shape: (48, 48, 3), uint8."""
    wave = np.sin(np.linspace(0, float(rng.uniform(12, 40)), 48, dtype=np.float32))[:, None]
    light = 1 + 0.14 * wave + 0.14 * clouds(rng, 48, 48, 5)
    light[:2] *= 1.25
    light[-2:] *= 0.5
    return tinted(light.astype(np.float32), colour)


def novel(rng: np.random.Generator) -> np.ndarray:
    """A look that no unshifted scene has: blue film with white chevrons. Shape: (48, 48, 3), uint8."""
    rows, columns = np.mgrid[0:48, 0:48]
    chevron = ((columns + np.abs(rows % 24 - 12) * 2) // 8) % 2 == 0
    base = np.where(chevron[:, :, None], (28, 84, 190), (228, 236, 244)).astype(np.float32)
    worn = 1 + 0.08 * clouds(rng, 48, 48, 5)
    film: np.ndarray = np.clip(base * worn[:, :, None], 0, 255).astype(np.uint8)
    return film


def rack_face(rng: np.random.Generator, length_m: float, height_m: float) -> np.ndarray:
    """The aisle side of a storage rack: uprights, beams, goods in dark bays. Shape: (height, length, 3), uint8."""
    width, height = int(length_m * PX_PER_M), int(height_m * PX_PER_M)
    face = tinted(0.9 + 0.25 * clouds(rng, height, width, 30), (44, 44, 47))
    level_px = int(rng.uniform(1.2, 1.7) * PX_PER_M)
    upright = [(40, 70, 130), (60, 90, 70), (110, 112, 116)][rng.integers(3)]
    beam = [(200, 100, 30), (190, 150, 40), (120, 122, 126)][rng.integers(3)]
    for floor_px in range(height, 0, -level_px):
        _shelve(rng, face, floor_px, level_px)
        cv2.rectangle(face, (0, floor_px - 4), (width, floor_px), beam, -1)
    bay = int(rng.uniform(2.2, 2.9) * PX_PER_M)
    for x in range(0, width, bay):
        cv2.rectangle(face, (x, 0), (x + 3, height), upright, -1)
    return face


def _shelve(rng: np.random.Generator, face: np.ndarray, floor_px: int, level_px: int) -> None:
    x = 4
    while x < face.shape[1]:
        width, height = int(rng.integers(12, 40)), int(level_px * rng.uniform(0.3, 0.88))
        if rng.random() < 0.78:  # noqa: PLR2004 - the rest of the shelf is empty
            shade = float(rng.uniform(0.45, 0.85))
            colour = tuple(shade * c for c in GOODS[rng.integers(len(GOODS))])
            top = floor_px - 4 - height
            cv2.rectangle(face, (x, top), (x + width, floor_px - 5), colour, -1)
            cv2.line(face, (x + width // 2, top), (x + width // 2, floor_px - 5), tuple(1.15 * c for c in colour), 2)
            cv2.line(face, (x + width, top), (x + width, floor_px - 5), tuple(0.5 * c for c in colour), 1)
        x += width + int(rng.integers(1, 9))


def wall(rng: np.random.Generator, length_m: float, height_m: float, colour: Colour) -> np.ndarray:
    """A sheet-metal wall with doors, posters and pipes. Shape: (height, length, 3), uint8."""
    width, height = int(length_m * PX_PER_M), int(height_m * PX_PER_M)
    light = 1 + 0.10 * clouds(rng, height, width, 12) + 0.02 * rng.standard_normal((height, width), dtype=np.float32)
    light[:, :: int(rng.integers(6, 14))] *= 0.86
    face = tinted(light, colour)
    for _ in range(rng.integers(1, 4)):  # roller doors
        x, opening, top = int(rng.integers(width)), int(rng.uniform(2, 3.4) * PX_PER_M), height - int(3.2 * PX_PER_M)
        shade = float(rng.uniform(60, 215))
        cv2.rectangle(face, (x, top), (x + opening, height), (shade, shade, shade * 1.03), -1)
        for y in range(top, height, 7):
            cv2.line(face, (x, y), (x + opening, y), (shade * 0.8,) * 3, 1)
        cv2.rectangle(face, (x, top), (x + opening, height), (190, 160, 40), 3)
    for _ in range(rng.integers(2, 9)):  # posters, fire extinguishers, switch boxes, jackets on hooks
        x, y = int(rng.integers(width)), height - int(rng.uniform(0.9, 2.3) * PX_PER_M)
        w, h = int(rng.uniform(0.2, 0.9) * PX_PER_M), int(rng.uniform(0.4, 1.1) * PX_PER_M)
        paint = [(200, 60, 40), (235, 120, 20), (190, 220, 40), (40, 60, 130), (225, 225, 220)][rng.integers(5)]
        dirt = float(rng.uniform(0.6, 1))
        cv2.rectangle(face, (x, y), (x + w, y + h), tuple(dirt * c for c in paint), -1)
        cv2.rectangle(face, (x, y + h // 2), (x + w, y + h // 2 + 2), (230, 230, 225), -1)
    return face
