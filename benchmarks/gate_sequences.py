"""Simulated holdouts of a few long sequences whose neighbouring frames resemble each other."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from benchmarks.gate_simulation import Floats, Places, Pool, image_parts


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
