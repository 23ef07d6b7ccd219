"""Simulated holdouts of models whose true IoU is known: groups of a real evaluation, drawn with replacement.

The truth is the evaluation's own: it is the world that holdouts are drawn from. Models of another truth are made by
moving true positives into errors and back, more in some groups than in others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit

from pipeline.gating.counts import Counts, read_counts
from pipeline.gating.measures import Measure
from training.metrics import ratio

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

BATCH = 250  # trials computed on the same draws of the bootstrap
LEAST_GROUPS = 30  # a pool of fewer is no world to draw from
SPREAD = 0.5  # how unevenly a model's change falls on the groups, in log odds


@dataclass(frozen=True)
class Evaluation:
    """A real evaluation: its name, its counts, its classes by id."""

    name: str
    counts: Counts
    classes: list[str]


@dataclass(frozen=True)
class Pool:
    """Groups to draw holdouts from, for one class of which a given share of the groups shall hold pixels.

    Attributes:
        evaluation: Where the groups are from.
        label: The class.
        prevalence: Share of the groups drawn that hold the class.
        parts: Shape (G, C, 3): true positives, false negatives and false positives of the groups, by class.
        holds: Shape (G,): whether the group holds the class.
    """

    evaluation: Evaluation
    label: int
    prevalence: float
    parts: Floats
    holds: npt.NDArray[np.bool_]

    @property
    def class_name(self) -> str:
        """The class by name."""
        return self.evaluation.classes[self.label]

    @property
    def weights(self) -> Floats:
        """Chance of each group to be drawn, (G,)."""
        chance = np.where(self.holds, self.prevalence, 1 - self.prevalence)
        weights: Floats = chance / np.where(self.holds, self.holds.sum(), (~self.holds).sum())
        return weights

    def true_iou(self, label: int | None = None) -> float:
        """The IoU that holdouts of this pool estimate."""
        hits, missed, false = self.weights @ self.parts[:, self.label if label is None else label]
        return float(hits / (hits + missed + false))

    def overlaps(self) -> Floats:
        """True positives and union of the class by group, (G, 2)."""
        each = self.parts[:, self.label]
        return np.stack([each[:, 0], each.sum(axis=1)], axis=1)

    def draw(self, groups: int, trials: int, rng: np.random.Generator) -> Places:
        """Places in `parts` of the groups of that many holdouts, (groups, trials)."""
        return rng.choice(len(self.holds), (groups, trials), p=self.weights)

    def moved(self, target: float, label: int, rng: np.random.Generator) -> "Pool":
        """The same groups with a model whose true IoU of a class is `target`.

        The odds of finding a true pixel are shifted by one amount for all groups, found by a search, plus a random
        one for each; false positives fall by the odds' factor.
        """
        hits, missed, false = self.parts[:, label].T
        noise, other = rng.normal(0, SPREAD, (2, len(hits)))
        truth = hits + missed
        odds = logit(np.clip(ratio(hits, truth), 0.02, 0.98))

        def changed(shift: float) -> "Pool":
            found = np.where(truth > 0, truth * expit(odds + shift + noise), 0)
            parts = self.parts.copy()
            parts[:, label] = np.stack([found, truth - found, false * np.exp(np.clip(other - shift, -6, 3))], axis=1)
            return replace(self, parts=parts)

        return changed(brentq(lambda shift: changed(shift).true_iou(label) - target, -12, 12, xtol=1e-9))


def read_evaluation(name: str, file: Path) -> Evaluation:
    """Reads a `confusions.parquet`, and the names of its classes from the `reference.npz` beside it if there is one.

    Where groups are too few to be drawn from, as in CamVid's two sequences, each frame stands for a group.
    """
    rows = pd.read_parquet(file)
    if rows["group"].nunique() < LEAST_GROUPS:
        rows["group"] = rows["item_id"]
    classes = int(np.sqrt(len(rows["confusion"].iloc[0])))
    reference = file.parent / "reference.npz"
    names = np.load(reference)["class_names"].tolist() if reference.exists() else [f"class {n}" for n in range(classes)]
    return Evaluation(name, read_counts(rows, classes, []), names)


def pools(evaluation: Evaluation, prevalence: float) -> list[Pool]:
    """A pool for every class that enough groups hold and, below a prevalence of 1, enough do not."""
    counts = evaluation.counts
    names, group_of = np.unique(counts.groups, return_inverse=True)
    parts = np.zeros((len(names), len(evaluation.classes), 3))
    np.add.at(parts, group_of, image_parts(counts))
    found = []
    for label in range(len(evaluation.classes)):
        holds = parts[:, label, :2].sum(axis=1) > 0
        if prevalence == 1:
            inside, enough = holds, holds.sum() >= LEAST_GROUPS
        else:
            inside, enough = np.ones_like(holds), min(holds.sum(), (~holds).sum()) >= LEAST_GROUPS
        if enough:
            found.append(Pool(evaluation, label, prevalence, parts[inside], holds[inside]))
    return found


def image_parts(counts: Counts) -> Floats:
    """True positives, false negatives and false positives by image and class, (N, C, 3)."""
    hits = np.diagonal(counts.confusion, axis1=1, axis2=2)
    missed, false = counts.confusion.sum(axis=2) - hits, counts.confusion.sum(axis=1) - hits
    return np.stack([hits, missed, false], axis=2).astype(np.float64)


def measured(overlaps: Floats, drawn: Places) -> Measure:
    """The IoU of every holdout at once: a value a trial, its images being the groups drawn for it.

    Args:
        overlaps: Shape (G, 2): of the pool.
        drawn: Shape (n, T).
    """
    trials = drawn.shape[1]
    per_group = overlaps[drawn].transpose(0, 2, 1).reshape(len(drawn), 2 * trials)
    return Measure(per_group, lambda sums: ratio(sums[..., :trials], sums[..., trials:]))


def batches(trials: int) -> Iterator[tuple[int, int]]:
    """Trials in batches: a seed of the bootstrap, and how many."""
    for seed, start in enumerate(range(0, trials, BATCH)):
        yield seed, min(BATCH, trials - start)
