"""Which images are drawn together, because they resemble each other too much to count as several pieces of evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

MEMORIES = 4  # a block this many times the resemblance is independent enough: docs/gate_error_rates.md


@dataclass(frozen=True)
class Resampling:
    """The units that a bootstrap draws.

    Attributes:
        unit_of: Shape (N,), intp: an image's unit, in [0, count).
        count: Units U; each holds an image.
        kind: `groups`, or `blocks` of consecutive frames, which speak of these groups only.
        block_frames: Least frames of a block; 0 for groups.
    """

    unit_of: npt.NDArray[np.intp]
    count: int
    kind: Literal["groups", "blocks"]
    block_frames: int = 0


def resampling(
    groups: npt.NDArray[np.str_],
    sequence: npt.NDArray[np.int64],
    *,
    min_groups: int,
    block_frames: int,
    influence: npt.NDArray[np.float64] | None = None,
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
        influence: Shape (N, S): how much each image moves each of S metrics. Blocks get `MEMORIES` times as long as
            the resemblance lasts in the metric where it lasts longest; None takes `block_frames` as it is.

    Raises:
        ValueError: `min_groups` or `block_frames` is below 1, or there is no image.
    """
    if min(min_groups, block_frames, len(groups)) < 1:
        raise ValueError(f"{len(groups)} images, min_groups {min_groups}, block_frames {block_frames}: at least 1.")
    names, group_of = np.unique(groups, return_inverse=True)
    if len(names) >= min_groups:
        return Resampling(group_of.astype(np.intp), len(names), "groups")
    orders = [_in_order(group_of == group, sequence) for group in range(len(names))]
    if influence is not None:
        lasts = max((memory_frames([column[each] for each in orders]) for column in influence.T), default=0.0)
        block_frames = max(block_frames, int(np.ceil(MEMORIES * lasts)))
    unit_of = np.empty(len(groups), np.intp)
    count = 0
    for frames in orders:
        blocks = max(1, len(frames) // block_frames)
        unit_of[frames] = count + np.arange(len(frames)) * blocks // len(frames)
        count += blocks
    return Resampling(unit_of, count, "blocks", block_frames)


def memory_frames(series: Sequence[npt.NDArray[np.float64]]) -> float:
    """How many consecutive frames tell as much as a single independent one.

    The integrated autocorrelation time 1 + 2 (r1 + r2 + ...), summed up to the first lag without a positive
    autocorrelation (after Geyer 1992, Practical Markov chain Monte Carlo, section 3.3), of all series together, each
    about its own mean: what tells one sequence from another is no resemblance of neighbours.

    Args:
        series: The frames' values by sequence, in order; shape (n,) each.

    Returns:
        At least 1.
    """
    centred = [each - each.mean() for each in series if len(each)]
    variance = sum(float(each @ each) for each in centred)
    if variance == 0:
        return 1.0
    time = 1.0
    for lag in range(1, max(len(each) for each in centred)):
        alike = sum(float(each[:-lag] @ each[lag:]) for each in centred if len(each) > lag) / variance
        if alike <= 0:
            break
        time += 2 * alike
    return time


def _in_order(inside: npt.NDArray[np.bool_], sequence: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    members = np.flatnonzero(inside)
    return members[np.argsort(sequence[members], kind="stable")]
