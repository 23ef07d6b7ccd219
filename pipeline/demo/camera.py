"""The demo's cameras: where they hang, how they project the warehouse, how their optics and sensor look."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

NEAR_M = 0.15


@dataclass(frozen=True)
class CameraModel:
    """What is the same in every picture that a camera takes.

    Attributes:
        name: The value of the slice column `camera`.
        height_m: Height of the lens above the floor.
        pitch_deg: Downward tilt.
        field_of_view_deg: Horizontal field of view.
        drive_m: How far it moves forward between two frames; 0 for a camera on a wall.
        blur_px: Sigma of its optical blur.
        noise: Its sensor noise relative to the others.
        tint: Its colour response per channel, RGB.
    """

    name: str
    height_m: float
    pitch_deg: float
    field_of_view_deg: float
    drive_m: float
    blur_px: float
    noise: float
    tint: tuple[float, float, float]


CAMERAS = (
    CameraModel("dock", 4.4, 27.0, 66.0, 0.0, 0.55, 1.0, (1.00, 1.00, 1.00)),
    CameraModel("mezzanine", 3.3, 19.0, 58.0, 0.0, 0.40, 0.8, (0.97, 1.00, 1.05)),
    CameraModel("forklift", 2.2, 11.0, 74.0, 0.35, 0.70, 1.3, (1.04, 1.00, 0.94)),
    CameraModel("robot", 1.1, 5.0, 68.0, 0.25, 0.60, 1.6, (0.98, 1.02, 0.97)),
)


@dataclass(frozen=True)
class View:
    """A camera at one instant.

    World axes: x right, y up, z along the aisle, in metres. Camera axes: x right, y down, z into the picture.

    Attributes:
        position: Shape: (3,), metres.
        rotation: World to camera. Shape: (3, 3).
        focal_px: Focal length.
        width: Picture width in pixels.
        height: Picture height in pixels.
    """

    position: np.ndarray
    rotation: np.ndarray
    focal_px: float
    width: int
    height: int

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World to camera coordinates. Shape: (N, 3) to (N, 3), metres."""
        moved: np.ndarray = (points - self.position) @ self.rotation.T
        return moved

    def project(self, points: np.ndarray) -> np.ndarray:
        """World to pixel coordinates; what lies behind the near plane is cut off. Shape: (N, 3) to (M, 2)."""
        return self.to_pixels(clip_near(self.to_camera(points)))

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Camera to pixel coordinates of points before the near plane. Shape: (N, 3) to (N, 2)."""
        centre = np.array([self.width, self.height]) / 2
        pixels: np.ndarray = points[:, :2] / points[:, 2:] * self.focal_px + centre
        return pixels

    def homography(self, plane: np.ndarray) -> np.ndarray:
        """Maps plane coordinates to homogeneous pixels, also where part of the plane lies behind the camera.

        Args:
            plane: Columns: the direction of s, the direction of t, the origin; world metres. Shape: (3, 3).
        """
        in_camera = self.rotation @ (plane - np.outer(self.position, [0, 0, 1]))
        intrinsics = np.array(
            [[self.focal_px, 0, self.width / 2], [0, self.focal_px, self.height / 2], [0, 0, 1]],
        )
        mapped: np.ndarray = intrinsics @ in_camera
        return mapped

    def distance(self, point: Sequence[float] | np.ndarray) -> float:
        """Metres from the lens to a point of the world."""
        return float(np.linalg.norm(np.asarray(point) - self.position))

    def enlarged(self, factor: int) -> "View":
        """The same view with more pixels, for supersampling."""
        return replace(self, focal_px=self.focal_px * factor, width=self.width * factor, height=self.height * factor)


def clip_near(polygon: np.ndarray) -> np.ndarray:
    """Cuts a polygon at the near plane (Sutherland and Hodgman). Shape: (N, 3) to (M, 3), camera metres."""
    depth = polygon[:, 2] - NEAR_M
    if (depth > 0).all():
        return polygon
    kept: list[np.ndarray] = []
    for i in range(len(polygon)):
        previous = i - 1
        if (depth[i] > 0) != (depth[previous] > 0):
            share = depth[previous] / (depth[previous] - depth[i])
            kept.append(polygon[previous] + share * (polygon[i] - polygon[previous]))
        if depth[i] > 0:
            kept.append(polygon[i])
    return np.array(kept).reshape(-1, 3)


def look(model: CameraModel, size: tuple[int, int], x_m: float, z_m: float, yaw_pitch_deg: tuple[float, float]) -> View:
    """Points a camera down the aisle.

    Args:
        model: The camera.
        size: Picture width and height in pixels.
        x_m: Place across the aisle.
        z_m: Place along the aisle.
        yaw_pitch_deg: Turn to the right, and tilt beyond the camera's own.
    """
    yaw, pitch = np.deg2rad([yaw_pitch_deg[0], model.pitch_deg + yaw_pitch_deg[1]])
    forward = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    down = np.cross(right, forward)
    focal_px = size[0] / 2 / np.tan(np.deg2rad(model.field_of_view_deg) / 2)
    rotation = np.stack([right, down, forward])
    return View(np.array([x_m, model.height_m, z_m]), rotation, float(focal_px), *size)
