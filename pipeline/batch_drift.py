"""Whether a batch's images differ from the rest of the dataset: class shares and image statistics, group by group."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.checks import ValidateParams
from pipeline.taxonomy import Taxonomy

Values = npt.NDArray[np.float64]
STATISTICS = ("brightness", "contrast", "saturation", "blur")
# Stands for the batch of images that came with an earlier one: no batch has no name.
EARLIER = ""
COLUMNS = ["key", "place", "statistic", "class_id", "groups", "median", "rest_median", "effect", "chance", "drift"]


@dataclass(frozen=True)
class Groups:
    """The statistics' names, their means over each group of a batch (groups, statistics), and the batch of each."""

    names: tuple[str, ...]
    means: Values
    batch: npt.NDArray[np.object_]


def drift_evidence(
    accepted: pd.DataFrame, class_px: np.ndarray, taxonomy: Taxonomy, params: ValidateParams
) -> pd.DataFrame:
    """Compares each batch with all others, by Mann and Whitney's test over the groups' means.

    Frames of a group resemble each other, so that a test over frames would take every new scene for a drift; the
    groups are what was drawn. The chance that the largest of so many differences arises without any drift is bounded
    by Bonferroni. With many groups a trifle is certain too: the effect has to be of a size as well.

    Args:
        accepted: Rows of `item_evidence` that passed every item check.
        class_px: Pixels by class of each row. Shape: (N, C).
        taxonomy: The classes.
        params: Error rate, least effect, least groups.

    Returns:
        A row per batch and statistic: key, place (the batch), statistic, class_id (negative for image statistics),
        groups, median and rest_median (over groups), effect (Cliff's delta, -1 to 1: how much likelier a group of the
        batch lies higher than lower), chance (p times the statistics compared), and drift, the sentence where both
        limits are met, else null. A batch that holds half of the groups is what others are compared with; one with
        few groups tells nothing.
    """
    groups = of_groups(accepted, class_px, taxonomy)
    rows: list[dict[str, object]] = []
    for batch in sorted(set(groups.batch) - {EARLIER}):
        mine = groups.batch == batch
        if params.batch_min_groups <= mine.sum() <= (~mine).sum():
            rows += _compared(str(batch), groups.names, groups.means[mine], groups.means[~mine], params)
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(COLUMNS[4:9], np.float64))


def of_groups(accepted: pd.DataFrame, class_px: np.ndarray, taxonomy: Taxonomy) -> Groups:
    """Means of the statistics over each group of a batch; a revision of an item stays with what was there before."""
    shares = class_px / np.maximum(class_px.sum(axis=1, keepdims=True), 1)
    values = np.hstack([accepted[list(STATISTICS)].to_numpy(np.float64), shares])
    names = (*STATISTICS, *(f"share of {each.name}" for each in taxonomy.classes))
    table = pd.DataFrame(values, columns=range(len(names)))
    batch = accepted["batch"].where(accepted["revision"] == 1, EARLIER).to_numpy(object)
    means = table.groupby([batch, accepted["group"].to_numpy(object)]).mean()
    return Groups(names, means.to_numpy(np.float64), means.index.get_level_values(0).to_numpy(object))


def compare(mine: Values, rest: Values) -> tuple[Values, Values]:
    """Effect and chance of each statistic, column by column.

    Args:
        mine: Shape (groups of the batch, statistics).
        rest: Shape (other groups, statistics).

    Returns:
        Cliff's delta, shape (statistics,), and p times their number, at most 1.
    """
    from scipy.stats import mannwhitneyu

    found = mannwhitneyu(mine, rest, axis=0, method="asymptotic")
    effect = 2 * found.statistic / (len(mine) * len(rest)) - 1
    # Where every group has one value there is nothing to rank.
    chance = np.where(np.isnan(found.pvalue), 1.0, found.pvalue) * mine.shape[1]
    return effect, np.minimum(chance, 1.0)


def drifted(effect: Values, chance: Values, params: ValidateParams) -> npt.NDArray[np.bool_]:
    """Which statistics differ by more than chance and by more than a trifle."""
    return (chance <= params.batch_drift_chance) & (np.abs(effect) >= params.batch_drift_effect)


def _compared(
    batch: str, names: tuple[str, ...], mine: Values, rest: Values, params: ValidateParams
) -> Iterator[dict[str, object]]:
    effect, chance = compare(mine, rest)
    told = drifted(effect, chance, params)
    for place, name in enumerate(names):
        median, others = np.median(mine[:, place]), np.median(rest[:, place])
        facts: dict[str, Any] = {"groups": len(mine), "median": median, "rest_median": others}
        words = (
            f"{name} is {'higher' if effect[place] > 0 else 'lower'}: median {median:.4g} over {len(mine)} groups, "
            f"{others:.4g} over {len(rest)} others, effect {effect[place]:+.2f}"
        )
        facts |= {"effect": effect[place], "chance": chance[place], "drift": words if told[place] else None}
        names_of = {"key": f"{batch}: {name}", "place": batch, "statistic": name}
        yield names_of | {"class_id": place - len(STATISTICS)} | facts
