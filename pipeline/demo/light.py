"""What light, lens and sensor make of a rendered picture, and how a shift of the appearance changes that."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.demo.camera import CameraModel
from pipeline.params import Section

FULL = np.float32(255)


@dataclass(frozen=True)
class Lighting:
    """What is the same in every scene under one kind of light.

    Attributes:
        name: The value of the slice column `lighting`.
        gain: Brightness factor.
        tint: Colour of the light, RGB factors.
        unevenness: How strongly pools of light differ from the dark between them.
        haze: Share of stray light.
        noise: Standard deviation of the sensor noise, 0 to 255.
        shadow: How dark shadows are, 0 to 1.
    """

    name: str
    gain: float
    tint: tuple[float, float, float]
    unevenness: float
    haze: float
    noise: float
    shadow: float


LIGHTINGS = (
    Lighting("day", 1.05, (0.98, 1.00, 1.04), 0.10, 0.05, 2.2, 0.60),
    Lighting("lamps", 0.88, (1.10, 1.00, 0.82), 0.25, 0.02, 3.0, 0.75),
    Lighting("dim", 0.62, (0.95, 1.00, 1.02), 0.22, 0.00, 5.0, 0.50),
    Lighting("backlit", 0.78, (1.00, 1.00, 1.00), 0.18, 0.24, 3.2, 0.65),
)


class Shift(Section):
    """A change of the appearance of all pictures; 0 everywhere is none, and masks never change.

    Attributes:
        brightness: In stops: 1 doubles the light, -1 halves it.
        contrast: In powers of two around mid-grey: 1 doubles it, -1 halves it.
        colour: Colour profile: 1 is strongly warm, -1 strongly cold.
        blur: Sigma of a further blur, in pixels.
        noise: Standard deviation of further noise, as a share of full scale.
        texture: Share of surfaces of pallets and obstacles that get a look never seen before.
    """

    brightness: float
    contrast: float
    colour: float
    blur: float
    noise: float
    texture: float


def develop(
    picture: np.ndarray, camera: CameraModel, lighting: Lighting, shift: Shift, seeds: tuple[np.random.Generator, ...]
) -> np.ndarray:
    """Turns a rendered picture into what the camera delivers.

    Args:
        picture: Shape: (H, W, 3), uint8 RGB.
        camera: Its optics and sensor.
        lighting: The light in the hall.
        shift: The change of appearance.
        seeds: A generator for the light, one for the sensor's noise, one for the shift's noise.

    Returns:
        Shape: (H, W, 3), uint8 RGB.
    """
    for_light, for_sensor, for_shift = seeds
    height, width = picture.shape[:2]
    light = _light_map(for_light, height, width, lighting)
    gains = np.asarray(lighting.tint, np.float32) * np.asarray(camera.tint, np.float32)
    lit = picture * light[:, :, None] * gains
    lit = cv2.GaussianBlur(lit, (0, 0), camera.blur_px)
    lit = (1 - lighting.haze) * lit + lighting.haze * np.float32(205)
    lit *= np.float32(2**shift.brightness)
    lit = (lit - 128) * np.float32(2**shift.contrast) + 128
    lit *= np.array([1 + 0.3 * shift.colour, 1.0, 1 - 0.3 * shift.colour], np.float32)
    if shift.blur > 0:
        lit = cv2.GaussianBlur(lit, (0, 0), shift.blur)
    lit += _noise(for_sensor, lit.shape, lighting.noise * camera.noise)
    if shift.noise > 0:
        lit += _noise(for_shift, lit.shape, shift.noise * float(FULL))
    developed: np.ndarray = np.clip(np.rint(lit), 0, FULL).astype(np.uint8)
    return developed


def _light_map(rng: np.random.Generator, height: int, width: int, lighting: Lighting) -> np.ndarray:
    """Pools of light under a vignette. Shape: (H, W), float32."""
    pools = cv2.resize(rng.standard_normal((3, 4), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None]
    vignette = 1 - 0.22 * (rows**2 + columns**2) ** 1.5 / 2
    uneven: np.ndarray = np.clip(1 + lighting.unevenness * pools, 0.25, 2.0) * vignette * np.float32(lighting.gain)
    return uneven


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    grains: np.ndarray = rng.standard_normal(shape, dtype=np.float32) * np.float32(sigma)
    return grains
