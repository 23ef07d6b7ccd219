"""Which images are drawn together, because they resemble each other too much to count as several pieces of evidence."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Resampling:
    """The units that a bootstrap draws.

    Attributes:
        unit_of: Shape (N,), intp: an image's unit, in [0, count).
        count: Units U; each holds an image.
        kind: `groups`, or `blocks` of consecutive frames, which speak of these groups only.
    """

    unit_of: npt.NDArray[np.intp]
    count: int
    kind: Literal["groups", "blocks"]


def resampling(
    groups: npt.NDArray[np.str_], sequence: npt.NDArray[np.int64], *, min_groups: int, block_frames: int
) -> Resampling:
    """Chooses the units: groups where there are enough of them, else blocks of consecutive frames within groups.

    Frames of a sequence resemble their neighbours, so blocks must be longer than the resemblance lasts (Künsch 1989,
    The jackknife and the bootstrap for general stationary observations). They do not overlap, and a group's blocks
    are of equal length up to one frame: a short remainder would be drawn as often as a whole block.

    Args:
        groups: Shape (N,), str.
        sequence: Shape (N,), int64: an image's place in its group; images of equal place (-1 where it is unknown)
            stay in their order.
        min_groups: Groups from which on these are drawn.
        block_frames: Least frames of a block; a group of fewer is one block.

    Raises:
        ValueError: `min_groups` or `block_frames` is below 1, or there is no image.
    """
    if min(min_groups, block_frames, len(groups)) < 1:
        raise ValueError(f"{len(groups)} images, min_groups {min_groups}, block_frames {block_frames}: at least 1.")
    names, group_of = np.unique(groups, return_inverse=True)
    if len(names) >= min_groups:
        return Resampling(group_of.astype(np.intp), len(names), "groups")
    unit_of = np.empty(len(groups), np.intp)
    count = 0
    for group in range(len(names)):
        members = np.flatnonzero(group_of == group)
        frames = members[np.argsort(sequence[members], kind="stable")]
        blocks = max(1, len(frames) // block_frames)
        unit_of[frames] = count + np.arange(len(frames)) * blocks // len(frames)
        count += blocks
    return Resampling(unit_of, count, "blocks")
