"""How often the gate is wrong, on simulated holdouts of models whose truth is known. Run with python -m.

Takes evaluations as NAME=FILE, such as demo=data/evaluation/confusions.parquet; with their groups holdouts are
simulated, with a known truth since it is that of all groups.
"""

import argparse
import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.comparison import RESULTS, interleaved_ms
from benchmarks.gate_coverage import (
    CHOSEN,
    COVERED,
    IOU,
    LEVEL,
    REPLICATES,
    coverages,
    enough_groups,
    interval_groups,
)
from benchmarks.gate_promotions import CANDIDATES, MARGIN, champion_rates, limit_rates
from benchmarks.gate_sequences import sequence_coverages
from benchmarks.gate_simulation import read_evaluation
from pipeline.files import write_atomic, write_json
from pipeline.gating import measures
from pipeline.gating.bootstrap import Bootstrap
from pipeline.gating.counts import Counts
from pipeline.gating.units import Resampling

Row = dict[str, Any]

DOCS = Path("docs/gate_error_rates.md")
PACKAGES = ("numpy", "scipy")
IMAGES, CLASSES, TARGET_S = 5000, 19, 2.0
TITLES = {
    "coverage": "Intervals, by the number of groups that hold the class",
    "sequences": "Intervals from two long sequences",
    "limit": "Promotions of a critical class against its limit",
    "champion": "Promotions of a class against the champion's",
}
ABOUT = {
    "coverage": "How often the two-sided 95% interval of a class's IoU holds the truth (`coverage`), and how often its "
    "one-sided 95% lower bound exceeds the truth (`error`, meant to be 5%). Means over the classes; `worst class` is "
    "that of the widened BCa, which the gate uses; its bound is taken a little more strictly "
    "with few groups. Models are those of the evaluation as measured, and moved to the "
    f"IoU {IOU} where service levels lie.",
    "sequences": "The same from two long sequences of which blocks of consecutive frames are drawn: of 15 frames, or, "
    "as the gate does, of four times as many as the frames are found to resemble each other for. `memory` is after "
    "how many frames the resemblance has fallen to 1/e; `speaks` is how often there are enough blocks, the rest being "
    "insufficient evidence; `error` counts a lower bound above the truth among all. Blocks speak of these sequences "
    "only: where part of the variance lies between sequences, the intervals miss the truth of all sequences.",
    "limit": f"Share of candidates whose critical class is found to keep its limit, an IoU of {IOU}, by the distance "
    "of its truth from the limit in points: left of zero a promotion is an error, from zero on a rejection is. The "
    "point estimate against the limit is what peers do. With fewer groups that hold the class than stated above the "
    "gate says insufficient evidence, which blocks.",
    "champion": "Share of candidates whose class is found no worse than the champion's by more than "
    f"{100 * MARGIN:.0f} points, by the true difference in points: beyond -{100 * MARGIN:.0f} a promotion is an error. "
    "The other classes of the candidate gain a point each, which is why the mean IoU against the champion's, the "
    "peers' rule, lets a worse class pass.",
}


@dataclass(frozen=True)
class Size:
    """How much is simulated: trials of a class for coverage, for promotions, for sequences, and what is varied."""

    trials: int
    judged: int
    holding: tuple[int, ...]
    groups: tuple[int, ...]
    sequences: int


FULL = Size(2000, 500, (5, 10, 20, 30, 50, 100, 300), (20, 50, 100, 300, 1000), 40)
QUICK = Size(100, 100, (10, 50), (20, 100), 20)


def main() -> None:
    """Simulates, prints the tables, and writes them for people and for machines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("evaluations", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--quick", action="store_true", help="few trials, to see that it runs; writes nothing")
    options = parser.parse_args()
    size, start = (QUICK if options.quick else FULL), time.perf_counter()
    pairs = [each.partition("=") for each in options.evaluations]
    evaluations = [read_evaluation(name, Path(file)) for name, _, file in pairs]
    coverage = shown("coverage", coverages(evaluations, size.holding, size.trials))
    enough = enough_groups(coverage, size.trials) or max(size.holding)
    tables = {
        "coverage": coverage,
        "sequences": shown("sequences", sequence_coverages(evaluations, enough, size.sequences)),
        "limit": shown("limit", limit_rates(evaluations, size.groups, enough, size.judged)),
        "champion": shown("champion", champion_rates(evaluations, size.groups, enough, size.judged)),
    }
    found = findings(tables, enough, size) | {"simulated_s": time.perf_counter() - start}
    print(*told(found), sep="\n")
    if not options.quick:
        write(tables, found)


def findings(tables: dict[str, list[Row]], enough: int, size: Size) -> Row:
    """What the tables say, as numbers; 0 groups where no measured number was enough."""
    columns = {"mean": f"coverage {CHOSEN}", "worst_class": "coverage worst class"}
    judged = [row for name in ("limit", "champion") for row in tables[name] if row["rule"] == "gate"]
    wrong = [rate for row in judged for truth, rate in row.items() if truth.startswith("-")]
    return {
        "trials": size.trials,
        "trials_of_promotions": size.judged,
        "min_groups": enough,
        "interval_groups": {name: interval_groups(tables["coverage"], each) for name, each in columns.items()},
        "largest_wrong_promotion": max(wrong),
        "bounds_of_large_holdout_s": large_holdout_s(),
    }


def told(found: Row) -> list[str]:
    """The findings in sentences."""
    low, high = (f"{100 * share:.0f}" for share in COVERED)
    groups, seconds = found["interval_groups"], found["bounds_of_large_holdout_s"]
    chance = 200 * np.sqrt(LEVEL * (1 - LEVEL) / found["trials"])

    def onwards(count: int) -> str:
        return f"from {count} groups on" if count else "for none of the numbers of groups"

    worst = 100 * found["largest_wrong_promotion"]
    return [
        f"From {found['min_groups']} groups that hold a class on, the lower bound errs in at most 5%, but for chance.",
        f"From there on intervals hold the truth in {low} to {high}%, as the former in the mean over the classes.",
        f"With fewer than {found['min_groups']} such groups the gate simulated here says insufficient evidence.",
        f"For the worst class the intervals do {onwards(groups['worst_class'])}.",
        f"The gate promotes what violates its limit in at most {worst:.1f}% of the trials of a row below.",
        f"A rate of 5% in {found['trials']} trials of a class is uncertain by {chance:.1f} points (two deviations).",
        f"Promotions have {found['trials_of_promotions']} trials of each class, by {CANDIDATES} random candidates.",
        f"Bounds of {IMAGES} images, {CLASSES} classes and a champion take {seconds:.2f} s (wanted: {TARGET_S:.0f} s).",
    ]


def large_holdout_s() -> float:
    """Seconds for the bounds of a holdout of 5,000 images with 19 classes, each image a group, draws included."""
    rng = np.random.default_rng(0)
    one, other = (_large(rng) for _ in range(2))
    units = Resampling(np.arange(IMAGES), IMAGES, "groups")

    def bounds() -> None:
        draws = Bootstrap(units, REPLICATES, 0)
        change = measures.difference(measures.iou(one), measures.iou(other))
        for measure in (measures.iou(one), measures.miou(one), change):
            found = draws.replicate(measure)
            found.interval()
            found.lower()

    return interleaved_ms({"bounds": bounds}, rounds=3)["bounds"] / 1000


def _large(rng: np.random.Generator) -> Counts:
    confusion = rng.poisson(rng.gamma(0.3, 50, (IMAGES, CLASSES, CLASSES)))
    empty = np.zeros((IMAGES, 4, CLASSES), np.int64)
    names = [str(number) for number in range(IMAGES)]
    return Counts(names, np.array(names), np.full(IMAGES, -1), confusion, empty, np.zeros((IMAGES, 3, 1)), {})


def shown(name: str, made: Iterable[Row]) -> list[Row]:
    """Prints a table once it is made."""
    rows = list(made)
    table = Table(*rows[0], title=TITLES[name])
    for row in rows:
        table.add_row(*map(cell, row.values()))
    Console().print(table)
    return rows


def cell(value: Any) -> str:
    """A share in percent, anything else as it is; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.1f}" if isinstance(value, float) else str(value)


def write(tables: dict[str, list[Row]], found: Row) -> None:
    """Writes the results, and the page of the docs."""
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    versions = {each: version(each) for each in PACKAGES}
    write_json(
        RESULTS / "gate_error_rates.json",
        {"tables": tables, "findings": found, "machine": machine, "versions": versions},
    )
    parts = ["# How often the gate is wrong", "\n".join(f"- {each}" for each in told(found)), "Rates in percent."]
    parts += [f"## {TITLES[name]}\n\n{ABOUT[name]}\n\n{markdown(rows)}" for name, rows in tables.items()]
    parts.append("Made by `python -m benchmarks.gate_error_rates NAME=FILE...`.")
    write_atomic(DOCS, "\n\n".join(parts) + "\n")


def markdown(rows: Sequence[Row]) -> str:
    """A table in Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(map(cell, row.values())) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
