"""Batches that differ from the rest of the dataset."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.batch_drift import compare, drift_evidence
from pipeline.checks import ValidateParams
from pipeline.drift_page import write_page
from pipeline.params import read_section
from pipeline.taxonomy import Taxonomy, load_taxonomy

ROOT = Path(__file__).parent.parent.parent
PARAMS = read_section(ValidateParams, "validate", ROOT / "params.yaml")


@pytest.fixture
def taxonomy(taxonomy_file: Path) -> Taxonomy:
    """The demo's taxonomy: 5 classes."""
    return load_taxonomy(taxonomy_file)


def items(batches: dict[str, int], per_group: int = 3, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Accepted items of so many groups a batch, whose frames resemble each other, and their pixels by class."""
    rng = np.random.default_rng(seed)
    rows, px = [], []
    for batch, groups in batches.items():
        for group in range(groups):
            centre, share = rng.normal(100, 20, 4), rng.integers(50, 150, 5)
            for frame in range(per_group):
                facts = dict(
                    zip(("brightness", "contrast", "saturation", "blur"), centre + rng.normal(0, 1, 4), strict=True)
                )
                rows.append(
                    {"item_id": f"{batch}-{group}-{frame}", "batch": batch, "group": f"{batch}-{group}", "revision": 1}
                    | facts
                )
                px.append(share)
    return pd.DataFrame(rows), np.array(px)


def told(rows: pd.DataFrame) -> list[str]:
    """The keys of what is warned of."""
    return rows.loc[rows["drift"].notna(), "key"].tolist()


def test_a_shifted_batch_is_told_with_its_effect(taxonomy: Taxonomy) -> None:
    """Darker images of one batch are named, with both medians; nothing else is."""
    accepted, px = items({"old": 80, "new": 20})
    accepted.loc[accepted["batch"] == "new", "brightness"] -= 40
    found = drift_evidence(accepted, px, taxonomy, PARAMS)
    assert told(found) == ["new: brightness"]
    row = found[found["key"] == "new: brightness"].iloc[0]
    assert row["drift"].startswith("brightness is lower: median ")
    assert row["effect"] < -0.8
    assert row["groups"] == 20


def test_a_class_that_became_frequent_is_told(taxonomy: Taxonomy) -> None:
    """Shares of the labelled pixels are compared like the statistics of images."""
    accepted, px = items({"old": 80, "new": 20})
    px[(accepted["batch"] == "new").to_numpy(), 3] *= 4
    assert "new: share of human" in told(drift_evidence(accepted, px, taxonomy, PARAMS))


def test_frames_of_a_group_count_once(taxonomy: Taxonomy) -> None:
    """Fifty frames of each of a few groups are no more evidence than one: no warning without a drift."""
    warned = [
        told(drift_evidence(*items({"old": 40, "new": 8}, per_group=50, seed=seed), taxonomy, PARAMS))
        for seed in range(10)
    ]
    assert warned == [[]] * 10


@pytest.mark.parametrize("batches", [{"old": 80, "new": 7}, {"old": 80}, {}])
def test_too_few_groups_tell_nothing(batches: dict[str, int], taxonomy: Taxonomy) -> None:
    """A batch of few groups, the only batch and an empty dataset are compared with nothing."""
    accepted, px = items(batches)
    if accepted.empty:
        accepted, px = items({"old": 1})[0].head(0), np.zeros((0, 5), np.int64)
    assert drift_evidence(accepted, px, taxonomy, PARAMS).empty


def test_a_relabelled_item_is_no_new_image(taxonomy: Taxonomy) -> None:
    """A batch of further revisions brings no image, so that it is not compared."""
    accepted, px = items({"old": 80, "new": 20})
    accepted.loc[accepted["batch"] == "new", "brightness"] -= 40
    accepted.loc[accepted["batch"] == "new", "revision"] = 2
    assert drift_evidence(accepted, px, taxonomy, PARAMS).empty


def test_effect_and_chance_are_those_of_counting_pairs() -> None:
    """Cliff's delta is the share of pairs that are higher less that of lower ones; equal values have no drift."""
    mine, rest = np.array([[1.0, 5.0], [4.0, 5.0]]), np.array([[2.0, 5.0], [0.0, 5.0], [1.0, 5.0]])
    effect, chance = compare(mine, rest)
    pairs = np.sign(mine[:, None, 0] - rest[None, :, 0])
    assert effect.tolist() == [pytest.approx(pairs.mean()), 0]
    assert chance[1] == 1


def test_the_page_shows_both_sides_and_escapes_names(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """Each difference has a histogram and three pictures of either side; names cannot become markup."""
    accepted, px = items({"old": 80, "new": 20})
    accepted["batch"] = accepted["batch"].replace("new", "<b>new")
    accepted.loc[accepted["batch"] == "<b>new", "brightness"] -= 60
    found = drift_evidence(accepted, px, taxonomy, PARAMS)
    asked: list[int] = []

    def pictures(rows: pd.DataFrame) -> list[np.ndarray | None]:
        asked.append(len(rows))
        return [np.zeros((300, 400, 3), np.uint8) for _ in range(len(rows) - 1)] + [None]

    drift = found[found["drift"].notna()]
    write_page(drift, accepted, px / px.sum(axis=1, keepdims=True), pictures, tmp_path / "drift.html")
    page = (tmp_path / "drift.html").read_text()
    assert asked == [3, 3] * len(drift)
    assert page.count("<svg") == len(drift)
    assert page.count("<img") == 4 * len(drift)
    assert "&lt;b&gt;new: brightness is lower" in page
    assert "<b>" not in page
    assert not any(word in page for word in ("http:", "https:", "<script"))
