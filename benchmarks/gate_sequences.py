"""Simulated holdouts of a few long sequences whose neighbouring frames resemble each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from benchmarks.gate_coverage import LEVEL, REPLICATES, SEED
from benchmarks.gate_simulation import Evaluation, Floats, Places, Pool, image_parts, measured, pools
from pipeline.gating import measures
from pipeline.gating.bootstrap import Bootstrap
from pipeline.gating.claims import deciding_level
from pipeline.gating.units import Resampling, resampling

Row = dict[str, Any]
LEAST_FRAMES = 15  # of a block, as params.yaml has it


@dataclass(frozen=True)
class Sequences:
    """What the sequences of a holdout are like.

    Attributes:
        count: Sequences.
        frames: Frames of each.
        memory_frames: Frames after which the resemblance of two has fallen to 1/e.
        between: Share of the variance that lies between sequences rather than within them.
    """

    count: int
    frames: int
    memory_frames: float
    between: float

    def draw(self, pool: Pool, trials: int, rng: np.random.Generator) -> tuple[Floats, Places]:
        """Holdouts of real images in an order in which neighbours are alike in what decides the IoU.

        A Gaussian autoregression decides each frame's rank among the images, which are sorted by their influence on
        the IoU: every image is as likely as any other at every frame, so the truth is the images' own.

        Returns:
            Overlaps of the images, (N, 2), and the places there of the frames, (count * frames, trials).
        """
        each = image_parts(pool.evaluation.counts)[:, pool.label]
        overlaps = np.stack([each[:, 0], each.sum(axis=1)], axis=1)
        truth = overlaps[:, 0].sum() / overlaps[:, 1].sum()
        overlaps = overlaps[np.argsort(overlaps[:, 0] - truth * overlaps[:, 1])]
        keep = np.exp(-1 / self.memory_frames)
        state = rng.normal(size=(self.count, trials))
        own = rng.normal(size=(self.count, trials)) * np.sqrt(self.between)
        found = np.empty((self.count, self.frames, trials))
        for frame in range(self.frames):
            found[:, frame] = own + state * np.sqrt(1 - self.between)
            state = keep * state + np.sqrt(1 - keep**2) * rng.normal(size=state.shape)
        places = (ndtr(found) * len(overlaps)).astype(np.intp).clip(0, len(overlaps) - 1)
        return overlaps, places.reshape(-1, trials)


def sequence_coverages(evaluations: Sequence[Evaluation], enough: int, trials: int) -> Iterator[Row]:
    """What the gate says of two sequences, by their length and how long neighbours resemble each other.

    Args:
        evaluations: Where images are from.
        enough: Blocks below which the gate says insufficient evidence.
        trials: Holdouts simulated of each class.
    """
    rng = np.random.default_rng(SEED)
    lasting = [Sequences(2, frames, memory, 0.0) for frames in (120, 300, 600) for memory in (1, 5, 20)]
    for evaluation in evaluations:
        for kind in [*lasting, Sequences(2, 600, 5, 0.3)]:
            drawn = [kind.draw(pool, trials, rng) for pool in pools(evaluation, 1.0)]
            for rule in ("fixed", "as long as needed"):
                found = np.concatenate([_judged(kind, *each, rule == "fixed") for each in drawn])
                speaks = found[:, 0] >= enough
                yield {
                    "evaluation": evaluation.name,
                    "sequences x frames": f"{kind.count} x {kind.frames}",
                    "memory, frames": kind.memory_frames,
                    "variance between sequences": kind.between,
                    "blocks of frames": rule,
                    "blocks": round(float(found[:, 0].mean())),
                    "speaks": float(speaks.mean()),
                    "coverage where it speaks": float(found[speaks, 1].mean()) if speaks.any() else None,
                    "error of all": float((found[:, 2] * speaks).mean()),
                }


def _judged(kind: Sequences, overlaps: Floats, drawn: Places, fixed: bool) -> Floats:
    """By trial: blocks, whether the interval holds the truth, whether the lower bound exceeds it; (T, 3)."""
    hits, union = overlaps.sum(axis=0)
    truth = hits / union
    rows = []
    for seed, places in enumerate(drawn.T):
        measure = measured(overlaps, places[:, np.newaxis])
        units = _units(kind, None if fixed else measures.influence(measure))
        found = Bootstrap(units, REPLICATES, seed).replicate(measure)
        (low, high), lower = found.interval(LEVEL), found.lower(deciding_level(LEVEL, units.count))
        rows.append([units.count, (low[0] <= truth) & (truth <= high[0]), lower[0] > truth])
    return np.array(rows, np.float64)


def _units(kind: Sequences, influence: Floats | None) -> Resampling:
    names = np.repeat([f"sequence {number}" for number in range(kind.count)], kind.frames)
    order = np.tile(np.arange(kind.frames), kind.count)
    return resampling(names, order, min_groups=kind.count + 1, block_frames=LEAST_FRAMES, influence=influence)
