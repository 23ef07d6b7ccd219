"""How often a batch is warned of without and with a drift. Run with python -m.

Renders demo datasets, one as it is and one for each shift; batches are drawn from their groups.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.comparison import report
from pipeline.batch_drift import Groups, compare, drifted, of_groups
from pipeline.catalog import build_catalog
from pipeline.checks import ValidateParams
from pipeline.command import progress
from pipeline.demo_data import DemoDataParams, make_demo_data
from pipeline.evidence import stack
from pipeline.files import write_atomic
from pipeline.images import Limits
from pipeline.item_facts import FactSettings
from pipeline.params import parse, read_section
from pipeline.splits import SplitParams
from pipeline.taxonomy import Taxonomy, load_taxonomy

DOCS, PARAMS = Path("docs/batch_drift.md"), Path("params.yaml")
SIZES = (8, 20, 50)
SEED = 0
SHIFTS: dict[str, dict[str, Any]] = {
    "a third of a stop brighter": {"shift": {"brightness": 0.33}},
    "a sixth of a stop brighter": {"shift": {"brightness": 0.17}},
    "flatter contrast": {"shift": {"contrast": -0.3}},
    "warmer light": {"shift": {"colour": 0.3}},
    "blurred by 0.7 px": {"shift": {"blur": 0.7}},
    "noise of 2%": {"shift": {"noise": 0.02}},
    "half the obstacles and pallets look new": {"shift": {"texture": 0.5}},
    "people in all scenes, not in 45%": {"human_share": 1.0},
}


def main() -> None:
    """Measure, print, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=200, help="scenes of each dataset")
    parser.add_argument("--draws", type=int, default=1000, help="batches drawn of each size")
    options = parser.parse_args()
    params, classes = read_section(ValidateParams, "validate", PARAMS), load_taxonomy(Path("data/taxonomy.yaml"))
    with tempfile.TemporaryDirectory() as scratch:
        plain = groups_of(Path(scratch) / "plain", {}, 2 * options.scenes, 0, classes)
        rows = [row("none", plain, plain, options.draws, params)]
        for number, (name, changes) in enumerate(progress(SHIFTS.items(), total=len(SHIFTS), label="shifts"), start=1):
            # Other scenes than those of the dataset, as a batch has.
            shifted = groups_of(Path(scratch) / str(number), changes, options.scenes, number, classes)
            rows.append(row(name, plain, shifted, options.draws, params))
    report("batch_drift", "Share of the batches that are warned of", rows, ["scipy"])
    head = f"| {' | '.join(rows[0])} |\n|{' --- |' * len(rows[0])}\n"
    lines = (f"| {' | '.join(map(str, each.values()))} |\n" for each in rows)
    write_atomic(DOCS, intro(params, plain, options.draws) + head + "".join(lines))


def intro(params: ValidateParams, plain: Groups, draws: int) -> str:
    """What the table says."""
    return f"""# How often a batch is warned of, without and with a drift

`segloop validate` compares each batch with the rest of the dataset, by Mann and Whitney's test over the means of
groups, for {plain.means.shape[1]} statistics: brightness, contrast, saturation, blur, and the share of each class. It
warns where the chance is at most {params.batch_drift_chance:g} a batch (Bonferroni) and Cliff's delta at least
{params.batch_drift_effect:g}.
Batches were drawn {draws} times from the groups of demo scenes, {len(plain.means)} groups in the dataset. Without a
shift, batch and rest are drawn from the same: what is warned of there is a false alarm. With one, the batch is drawn
from other scenes with the shift. What changes neither the light nor the shares of classes, such as things that look
new, is not seen here; that takes a model.

"""


def groups_of(folder: Path, changes: dict[str, Any], scenes: int, seed: int, classes: Taxonomy) -> Groups:
    """Renders a dataset and takes its groups' means."""
    settings = yaml.safe_load(PARAMS.read_text())["demo_data"]
    shift = settings["shift"] | changes.get("shift", {})
    settings |= {"seed": seed, "scenes": scenes, "preview_scenes": 0} | changes | {"shift": shift}
    make_demo_data(folder, parse(DemoDataParams, settings, "demo_data"), read_section(SplitParams, "splits", PARAMS))
    facts = FactSettings(classes.num_classes, classes.ignore_index, 16, 50, 150, read_section(Limits, "limits", PARAMS))
    table = build_catalog(folder, facts, folder / "store", 0).to_pandas()
    return of_groups(table, stack(table["class_px"], classes.num_classes), classes)


def row(name: str, plain: Groups, batch: Groups, draws: int, params: ValidateParams) -> dict[str, Any]:
    """A line: shares of the batches that are warned of, by size, and what most of them were warned of."""
    shares: dict[str, Any] = {"shift": name}
    rng = np.random.default_rng(SEED)
    count = np.zeros(len(plain.names))
    for size in SIZES:
        warned = np.stack([drawn(plain, batch, size, rng, params) for _ in range(draws)])
        shares[f"{size} groups"] = f"{warned.any(axis=1).mean():.1%}"
        count += warned.mean(axis=0)
    told = [plain.names[place] for place in np.argsort(-count) if count[place] / len(SIZES) >= 0.25]
    return shares | {"mostly by": ", ".join(told)}


def drawn(plain: Groups, batch: Groups, size: int, rng: np.random.Generator, params: ValidateParams) -> np.ndarray:
    """Which statistics are warned of in one batch. Shape: (statistics,)."""
    places = rng.permutation(len(batch.means))
    mine = batch.means[places[:size]]
    rest = batch.means[places[size:]] if batch is plain else plain.means
    return drifted(*compare(mine, rest), params)


if __name__ == "__main__":
    main()
