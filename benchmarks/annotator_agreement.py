"""How well annotators of known skill are told apart, and what their consensus is worth. Run with python -m.

The demo's scenes have a true mask; annotators of known skill draw it, with an unsteady hand and with faults.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.comparison import RESULTS
from pipeline.agreement.annotators import own_errors
from pipeline.agreement.consensus import Consensus, by_staple, majority
from pipeline.agreement.joint import joint, locate
from pipeline.command import progress
from pipeline.demo.annotation import NUM_CLASSES, DemoDataParams
from pipeline.demo.faults import draw_kind, fault_weights, inject, jitter
from pipeline.demo.scene import render
from pipeline.files import write_atomic, write_json
from pipeline.params import read_section
from training.confusion import confusion_matrix
from training.metrics import iou, mean_iou, pixel_accuracy

Mask = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]
Row = dict[str, Any]

DOCS = Path("docs/annotator_agreement.md")
VOID, HUMAN, SEED = 255, 3, 0
JITTER_PX = 3.0
RATES = {"shifted": 0.05, "swapped": 0.05, "missing": 0.05, "dilated": 0.05, "coarse": 0.05, "empty": 0.0}
SIZES = (10, 20, 50, 100, 200)
DRAWS = 200
VOID_BELOW = 0.9


def main() -> None:
    """Draws, compares, prints the tables, and writes them for people and for machines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    options = parser.parse_args()
    section = read_section(DemoDataParams, "demo_data", options.params)
    section = section.model_copy(
        update={"faults": section.faults.model_copy(update=RATES), "jitter_px": JITTER_PX, "frames_per_scene": 1}
    )
    images = list(progress(drawn(section, options.scenes), total=options.scenes, label="scenes"))
    tables = {
        "skills": skills(section, images),
        "orders": orders(section, images),
        "consensus": consensus(section, images),
    }
    for name, rows in tables.items():
        show(name, rows)
    write_json(RESULTS / "annotator_agreement.json", {"scenes": options.scenes} | tables)
    write(tables, options.scenes)


def drawn(section: DemoDataParams, scenes: int) -> Iterator[tuple[Mask, list[Mask]]]:
    """The true mask of each scene, and that of each annotator in the order of their names."""
    weights = fault_weights(section.annotators)
    for scene in range(scenes):
        truth = next(iter(render(section.scene_options(), scene))).mask
        rng = np.random.default_rng([SEED, scene])
        masks = []
        for name in sorted(section.annotators):
            mask, _ = jitter(truth, section.jitter_px * (1 - section.annotators[name]), rng)
            kind = draw_kind(rng, section.faults, weights[name])
            masks.append(inject(mask, kind, section.fault_sizes, rng)[0] if kind else mask)
        yield truth, masks


def skills(section: DemoDataParams, images: Sequence[tuple[Mask, list[Mask]]]) -> list[Row]:
    """Each annotator's true error beside what pairs alone tell, each image drawn by two of the three."""
    names = sorted(section.annotators)
    pairs = paired(names, images, np.random.default_rng(SEED))
    found, partners = own_errors(pairs), with_partner(pairs)
    rows = []
    for place, name in enumerate(names):
        true = sum(confusion_matrix(truth, masks[place], NUM_CLASSES, VOID) for truth, masks in images)
        rows.append({
            "annotator": name,
            "skill": section.annotators[name],
            "pixels wrong": f"{1 - pixel_accuracy(true):.2%}",
            "own error, from pairs": f"{found[name]:.2%}",
            "differs from the partner": f"{partners[name]:.2%}",
            "mIoU with the truth": f"{mean_iou(true):.3f}",
        })  # fmt: skip
    return rows


def orders(section: DemoDataParams, images: Sequence[tuple[Mask, list[Mask]]]) -> list[Row]:
    """How often the order of the three is right, by the number of images that two of them drew."""
    names = sorted(section.annotators)
    wanted = sorted(names, key=lambda name: -section.annotators[name])
    rng = np.random.default_rng(SEED)
    each = [per_image(masks) for _, masks in images]
    rows = []
    for size in SIZES:
        right = np.zeros(2)
        for _ in range(DRAWS):
            chosen = rng.choice(len(each), min(size, len(each)), replace=False)
            pairs = pooled(names, [each[place] for place in chosen], rng)
            scores = own_errors(pairs), with_partner(pairs)
            right += [
                bool(score) and sorted(names, key=lambda name: score.get(name, 1.0)) == wanted for score in scores
            ]
        own, plain = right / DRAWS
        rows.append(
            {"images": size, "by own error": f"{own:.0%}", "by the difference from the partner": f"{plain:.0%}"}
        )
    return rows


def consensus(section: DemoDataParams, images: Sequence[tuple[Mask, list[Mask]]]) -> list[Row]:
    """Every annotator, and every consensus of all three, against the truth."""
    names = sorted(section.annotators)
    best_first = sorted(range(len(names)), key=lambda place: -section.annotators[names[place]])
    total: dict[str, Counts] = {}
    void: dict[str, int] = {}
    for truth, masks in progress(images, total=len(images), label="consensus"):
        together, places = locate(masks, NUM_CLASSES, VOID)
        voted, weighed = majority(together, best_first), by_staple(together)
        made = dict(zip((f"{name}, skill {section.annotators[name]}" for name in names), masks, strict=True))
        made |= {"majority": painted(voted, places, 0), "STAPLE": painted(weighed, places, 0)}
        made[f"majority, void below {VOID_BELOW}"] = painted(voted, places, VOID_BELOW)
        made[f"STAPLE, void below {VOID_BELOW}"] = painted(weighed, places, VOID_BELOW)
        for name, mask in made.items():
            judged = np.where(mask == VOID, VOID, truth).astype(np.uint8)
            matrix = confusion_matrix(judged, np.where(mask == VOID, 0, mask).astype(np.uint8), NUM_CLASSES, VOID)
            total[name] = total.get(name, 0) + matrix
            void[name] = void.get(name, 0) + int((mask == VOID).sum())
    pixels = sum(truth.size for truth, _ in images)
    return [
        {
            "mask": name,
            "mIoU": f"{mean_iou(matrix):.3f}",
            "IoU human": f"{iou(matrix)[HUMAN]:.3f}",
            "pixels wrong": f"{1 - pixel_accuracy(matrix):.2%}",
            "void": f"{void[name] / pixels:.2%}",
        }
        for name, matrix in total.items()
    ]


def painted(made: Consensus, places: npt.NDArray[np.int64], void_below: float) -> Mask:
    """Its mask."""
    return made.paint(places, VOID, void_below, NUM_CLASSES)[0]


def per_image(masks: Sequence[Mask]) -> dict[tuple[int, int], Counts]:
    """The confusion of every two annotators on an image."""
    together = joint(masks, NUM_CLASSES, VOID)
    return {pair: together.pair(*pair) for pair in combinations(range(len(masks)), 2)}


def paired(
    names: Sequence[str], images: Sequence[tuple[Mask, list[Mask]]], rng: np.random.Generator
) -> dict[tuple[str, str], Counts]:
    """The confusions where each image was drawn by two, by chance."""
    return pooled(names, [per_image(masks) for _, masks in images], rng)


def pooled(
    names: Sequence[str], each: Sequence[dict[tuple[int, int], Counts]], rng: np.random.Generator
) -> dict[tuple[str, str], Counts]:
    """The same of confusions of images."""
    found: dict[tuple[str, str], Counts] = {}
    for image in each:
        one, other = list(image)[rng.integers(len(image))]
        pair = names[one], names[other]
        found[pair] = found.get(pair, 0) + image[one, other]
    return found


def with_partner(pairs: dict[tuple[str, str], Counts]) -> dict[str, float]:
    """The share of pixels on which each annotator differs from whoever drew the image too."""
    names = {name for pair in pairs for name in pair}
    return {
        name: 1 - float(pixel_accuracy(sum(matrix for pair, matrix in pairs.items() if name in pair)))  # type: ignore[arg-type]
        for name in names
    }


def show(title: str, rows: Sequence[Row]) -> None:
    """Prints a table."""
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


def markdown(rows: Sequence[Row]) -> str:
    """The same for the page."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(map(str, row.values())) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(tables: dict[str, list[Row]], scenes: int) -> None:
    """The page of the docs."""
    faults = ", ".join(f"{kind} {rate:.0%}" for kind, rate in RATES.items() if rate)
    text = f"""# How well annotators are told apart, and what their consensus is worth

Annotators of known skill drew {scenes} scenes of the demo, whose true masks are known: outlines strayed by
{JITTER_PX:g} px times what they lack in skill, and masks had faults in proportion to it ({faults} on average).

## Who is how good, when each image is drawn by two of three

`own error` is solved from the pairs alone (`pipeline/agreement/annotators.py`); `differs from the partner` is what one
would take without it, and blames a good annotator for the partners.

{markdown(tables["skills"])}

How often the three come out in the order of their skill, of {DRAWS} draws of so many images:

{markdown(tables["orders"])}

## What one mask out of three is worth

Against the truth; void is left out of the scores, and its share told. STAPLE judges each image by itself, and with
three annotators it soon is all but sure: a limit on its confidence makes little void, one on the votes all of what is
in dispute.

{markdown(tables["consensus"])}

Made by `python -m benchmarks.annotator_agreement --scenes {scenes}`.
"""
    write_atomic(DOCS, text)


if __name__ == "__main__":
    main()
