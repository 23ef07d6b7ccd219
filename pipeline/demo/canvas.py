"""Draws textured planes and shaded solids into a picture and its mask at once, so that the two always agree."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.demo.camera import View, clip_near

SUPERSAMPLING = 2
SUBPIXEL_BITS = 4
CIRCLE = np.linspace(0, 2 * np.pi, 14, endpoint=False)
LIGHT = np.array([-0.35, 0.85, -0.40])

BACKGROUND, FLOOR, PALLET, HUMAN, OBSTACLE = range(5)
CLASS_NAMES = ("background", "floor", "pallet", "human", "obstacle")

Colour = tuple[float, ...]  # red, green, blue, 0 to 255


@dataclass
class Canvas:
    """A picture in the making, larger than the result by the supersampling factor.

    Attributes:
        view: The camera, at the canvas's size.
        pixels: Shape: (H, W, 3), uint8 RGB.
        labels: Shape: (H, W), uint8 class ids.
    """

    view: View
    pixels: np.ndarray
    labels: np.ndarray

    @classmethod
    def blank(cls, view: View) -> "Canvas":
        """A canvas for a view of the result's size: an unlit ceiling, all of it background."""
        large = view.enlarged(SUPERSAMPLING)
        rows = np.linspace(60, 96, large.height).astype(np.uint8)[:, None, None]
        pixels = np.broadcast_to(rows, (large.height, large.width, 3)).copy()
        return cls(large, pixels, np.full((large.height, large.width), BACKGROUND, np.uint8))

    def plane(self, plane: np.ndarray, texture: np.ndarray, shade: float, label: int) -> None:
        """Draws a textured parallelogram.

        Args:
            plane: Columns: the edge along the texture's width, the edge along its height, the corner at its origin;
                world metres. Shape: (3, 3).
            texture: Shape: (h, w, 3), uint8.
            shade: Brightness factor.
            label: The class of what is drawn.
        """
        along, down, corner = plane.T
        outline = self.view.project(np.array([corner, corner + along, corner + along + down, corner + down]))
        place = self._place(outline)
        if place is None:
            return
        x0, y0, width, height = place
        texture = _fitting(texture, width * height)
        scale = np.diag([1 / texture.shape[1], 1 / texture.shape[0], 1])
        shift = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]])
        homography = shift @ self.view.homography(plane) @ scale
        source = cv2.convertScaleAbs(texture, alpha=shade)
        warped = cv2.warpPerspective(source, homography, (width, height), borderMode=cv2.BORDER_REPLICATE)
        self._lay(place, outline, warped, label)

    def solid(self, outline: np.ndarray, colour: Colour, label: int, roundness: float = 0.45) -> None:
        """Fills a convex outline with a colour that darkens towards the right, as round things do.

        Args:
            outline: Shape: (N, 2), pixels.
            colour: RGB, 0 to 255.
            label: The class of what is drawn.
            roundness: How much darker the right edge is than the left.
        """
        place = self._place(outline)
        if place is None:
            return
        ramp = 1.08 - roundness * np.linspace(0, 1, place[2], dtype=np.float32) ** 1.5
        row = np.clip(ramp[None, :, None] * np.asarray(colour, np.float32), 0, 255).astype(np.uint8)
        self._lay(place, outline, np.repeat(row, place[3], axis=0), label)

    def hull(self, points: np.ndarray, radii: np.ndarray, colour: Colour, label: int) -> None:
        """Draws the hull of spheres: limbs, trunks, heads.

        Args:
            points: Centres. Shape: (N, 3), world metres.
            radii: Shape: (N,), metres.
            colour: RGB, 0 to 255.
            label: The class of what is drawn.
        """
        in_camera = self.view.to_camera(points)
        if (in_camera[:, 2] < 2 * radii + 0.2).any():
            return
        centres = self.view.to_pixels(in_camera)
        radii_px = radii * self.view.focal_px / in_camera[:, 2]
        rim = np.stack([np.cos(CIRCLE), np.sin(CIRCLE)], axis=1)
        spots = (centres[:, None] + radii_px[:, None, None] * rim).reshape(-1, 2)
        self.solid(cv2.convexHull(spots.astype(np.float32))[:, 0], colour, label)

    def disc(self, centre: np.ndarray, radius: float) -> np.ndarray:
        """The outline of a horizontal disc. Shape: (N, 2), pixels; empty when it lies behind the camera."""
        rim = np.stack([np.cos(CIRCLE), np.zeros_like(CIRCLE), np.sin(CIRCLE)], axis=1)
        in_camera = self.view.to_camera(centre + radius * rim)
        return self.view.to_pixels(in_camera) if len(clip_near(in_camera)) == len(in_camera) else np.empty((0, 2))

    def shadow(self, footprints: list[tuple[np.ndarray, float]], strength: float) -> None:
        """Darkens the floor around what stands on it, in two layers: a wide soft one and one at the contact.

        Args:
            footprints: Centre and radius of each thing, world metres.
            strength: How much light a full shadow takes away, 0 to 1.
        """
        small = np.zeros((self.view.height // 4, self.view.width // 4), np.uint8)
        for centre, radius in footprints:
            for offset, size, depth in ((0.35 * radius, 1.3, 110), (0.1 * radius, 0.95, 190)):
                outline = self.disc(centre + offset * np.array([1.0, 0.0, 0.6]), size * radius)
                if len(outline):
                    cv2.fillConvexPoly(small, _fixed(outline / 4), depth, cv2.LINE_AA, SUBPIXEL_BITS)
        soft = cv2.GaussianBlur(small, (0, 0), 2.0)
        wide = cv2.resize(soft, (self.view.width, self.view.height), interpolation=cv2.INTER_LINEAR)
        wide[self.labels != FLOOR] = 0
        light = 255 - cv2.convertScaleAbs(wide, alpha=strength)
        self.pixels = cv2.multiply(self.pixels, cv2.merge([light] * 3), scale=1 / 255)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """The picture, (H, W, 3) uint8 RGB, and its mask, (H, W) uint8, at the size of the result."""
        size = (self.view.width // SUPERSAMPLING, self.view.height // SUPERSAMPLING)
        return cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA), np.ascontiguousarray(
            self.labels[::SUPERSAMPLING, ::SUPERSAMPLING],
        )

    def _place(self, outline: np.ndarray) -> tuple[int, int, int, int] | None:
        """The visible bounding box as x, y, width, height; None when nothing is to be seen."""
        if len(outline) < len("xyz"):
            return None
        low = np.maximum(np.floor(outline.min(axis=0)), 0)
        high = np.minimum(np.ceil(outline.max(axis=0)) + 1, [self.view.width, self.view.height])
        width, height = (high - low).astype(int)
        return (int(low[0]), int(low[1]), int(width), int(height)) if width > 0 and height > 0 else None

    def _lay(self, place: tuple[int, int, int, int], outline: np.ndarray, source: np.ndarray, label: int) -> None:
        x, y, width, height = place
        stencil = np.zeros((height, width), np.uint8)
        cv2.fillConvexPoly(stencil, _fixed(outline - [x, y]), 1, cv2.LINE_8, SUBPIXEL_BITS)
        window = np.s_[y : y + height, x : x + width]
        cv2.copyTo(source, stencil, self.pixels[window])
        self.labels[window][stencil.view(bool)] = label


def _fixed(outline: np.ndarray) -> np.ndarray:
    """Fixed-point coordinates as OpenCV's subpixel drawing takes them, kept within its 16-bit range."""
    shifted: np.ndarray = np.round(np.clip(outline, -8000, 8000) * 2**SUBPIXEL_BITS).astype(np.int32)
    return shifted


def _fitting(texture: np.ndarray, area_px: int) -> np.ndarray:
    """Halves a texture until it is no finer than the place it goes to, which keeps it from flickering."""
    while texture.shape[0] * texture.shape[1] > 4 * area_px and min(texture.shape[:2]) >= 4:  # noqa: PLR2004 - halving
        texture = cv2.resize(texture, (texture.shape[1] // 2, texture.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return texture
