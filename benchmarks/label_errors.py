"""How well wrong masks are found, on real masks into which faults of known kind were put. Run with python -m.

Takes datasets as NAME=FOLDER, such as demo=data/demo camvid=data/dataset.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.comparison import RESULTS
from pipeline.command import progress
from pipeline.files import write_atomic, write_json
from pipeline.images import Limits, decode_image, decode_mask
from pipeline.label_qa.alignment import align
from pipeline.label_qa.looks import Look
from pipeline.label_qa.suspicion import overall, ranked, scores
from pipeline.parts import read_index, read_items

Mask = npt.NDArray[np.uint8]
Row = dict[str, Any]
Fault = Callable[[Mask, np.random.Generator], Mask]

DOCS = Path("docs/label_error_rates.md")
VOID, SEED = 255, 0
RATES = (0.01, 0.05, 0.10)
MOST = 350  # images of a dataset: more change nothing that shows
SMALL, LEAST_PX = 0.15, 60  # an object is a component of a class that covers less of the image, and not too little
LEAST_SCORE = 2.5  # as params.yaml has it
LIMITS = Limits(max_bytes=2**26, max_pixels=10**8)


def shifted(length: int) -> Fault:
    """The whole mask moved in any direction, its border repeated."""

    def fault(mask: Mask, rng: np.random.Generator) -> Mask:
        angle = rng.uniform(0, 2 * np.pi)
        move = np.array([[1, 0, round(length * np.cos(angle))], [0, 1, round(length * np.sin(angle))]], np.float32)
        size = mask.shape[1], mask.shape[0]
        moved = cv2.warpAffine(mask, move, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, np.uint8)

    return fault


def empty(mask: Mask, rng: np.random.Generator) -> Mask:
    """Nothing annotated: one class everywhere."""
    del rng
    return np.zeros_like(mask)


def dilated(mask: Mask, rng: np.random.Generator) -> Mask:
    """Every object four pixels too large."""
    del rng
    result, kernel = mask.copy(), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    for where, label in objects(mask):
        result[(cv2.dilate(where.astype(np.uint8), kernel) > 0) & (mask != VOID)] = label
    return result


def coarse(mask: Mask, rng: np.random.Generator) -> Mask:
    """Every object drawn as a polygon that strays up to six pixels."""
    del rng
    result = mask.copy()
    for where, label in objects(mask):
        outlines, _ = cv2.findContours(where.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.fillPoly(result, [cv2.approxPolyDP(outline, 6, closed=True) for outline in outlines], int(label))
    return result


def swapped(mask: Mask, rng: np.random.Generator) -> Mask:
    """One object of another class of the image."""
    found = list(objects(mask))
    if not found:
        return mask
    where, label = found[rng.integers(len(found))]
    others = np.setdiff1d(np.unique(mask), [VOID, label])
    return np.where(where, rng.choice(others), mask).astype(np.uint8) if others.size else mask


def missing(mask: Mask, rng: np.random.Generator) -> Mask:
    """One object drawn as the class that mostly surrounds it."""
    found = list(objects(mask))
    if not found:
        return mask
    where, _ = found[rng.integers(len(found))]
    ring = (cv2.dilate(where.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~where & (mask != VOID)
    return np.where(where, np.bincount(mask[ring]).argmax(), mask).astype(np.uint8) if ring.any() else mask


FAULTS: dict[str, Fault] = {
    **{f"shifted by {length} px": shifted(length) for length in (4, 8, 16, 24)},
    "empty": empty,
    "dilated by 4 px": dilated,
    "coarse, 6 px": coarse,
    "one object of a wrong class": swapped,
    "one object missing": missing,
}
WRONG = "of another image"


def objects(mask: Mask) -> Iterator[tuple[npt.NDArray[np.bool_], int]]:
    """The components that count as objects, with their class."""
    for label in np.setdiff1d(np.unique(mask), [VOID]):
        of_class = (mask == label).astype(np.uint8)
        if of_class.mean() < SMALL:
            count, components, stats, _ = cv2.connectedComponentsWithStats(of_class)
            large = [number for number in range(1, count) if stats[number, cv2.CC_STAT_AREA] >= LEAST_PX]
            yield from ((components == number, int(label)) for number in large)


def main() -> None:
    """Injects, measures, prints the table, and writes it for people and for machines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", nargs="+", metavar="NAME=FOLDER")
    options = parser.parse_args()
    rows = []
    for name, _, folder in (each.partition("=") for each in options.datasets):
        rows += list(measured(name, Path(folder)))
    console, table = Console(), Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    console.print(table)
    write_json(RESULTS / "label_errors.json", {"rows": rows})
    write(rows)


def measured(name: str, dataset: Path) -> Iterator[Row]:
    """A row a kind of fault: how well it is told from sound masks."""
    rng = np.random.default_rng(SEED)
    index = read_index(dataset)
    index = index.iloc[np.sort(rng.permutation(len(index))[:MOST])]
    pairs = [
        (row["group"], decode_image(image, LIMITS), decode_mask(mask, LIMITS))
        for row, image, mask in read_items(dataset, index)
    ]
    sound = seen([(image, mask) for _, image, mask in pairs], f"{name}: sound")
    alarms = len(ranked(sound, LEAST_SCORE))
    for kind, fault in FAULTS.items():
        faulty = [(image, fault(mask, rng)) for _, image, mask in pairs]
        changed = [pair for pair, (_, _, mask) in zip(faulty, pairs, strict=True) if (pair[1] != mask).any()]
        yield compared(name, kind, sound, seen(changed, f"{name}: {kind}"), alarms)
    others = [mask_of_another(pairs, place, rng) for place in range(len(pairs))]
    strange = [(image, other) for (_, image, _), other in zip(pairs, others, strict=True) if other is not None]
    yield compared(name, WRONG, sound, seen(strange, f"{name}: {WRONG}"), alarms)


def mask_of_another(pairs: Sequence[tuple[str, Mask, Mask]], place: int, rng: np.random.Generator) -> Mask | None:
    """The mask of an image of equal size and, where there are several groups, of another group."""
    group, _, own = pairs[place]
    fit = [mask for other, _, mask in pairs if other != group and mask.shape == own.shape]
    return fit[rng.integers(len(fit))] if fit else None


def seen(pairs: Sequence[tuple[Mask, Mask]], label: str) -> pd.DataFrame:
    """What the check sees of these images and masks."""
    looks = []
    for number, (image, mask) in enumerate(progress(pairs, total=len(pairs), label=label)):
        found = align(image, mask, VOID)
        classes = len(np.setdiff1d(np.unique(mask), [VOID]))
        facts = {} if found is None else vars(found)
        looks.append(vars(Look(f"{label}-{number}", classes=classes, **facts)))
    return pd.DataFrame(looks, columns=list(Look.__dataclass_fields__))


def compared(name: str, kind: str, sound: pd.DataFrame, faulty: pd.DataFrame, alarms: int) -> Row:
    """AUROC, and at each rate of faults the average precision and the precision in a budget of as many masks."""
    score = np.nan_to_num(overall(scores(pd.concat([sound.astype(object), faulty.astype(object)], ignore_index=True))))
    truth = np.repeat([0, 1], [len(sound), len(faulty)])
    row = {"dataset": name, "fault": kind, "masks": len(faulty), "AUROC": f"{roc_auc_score(truth, score):.3f}"}
    for rate in RATES:
        weight = np.where(truth == 1, rate / len(faulty), (1 - rate) / len(sound))
        row[f"AP at {rate:.0%}"] = f"{average_precision_score(truth, score, sample_weight=weight):.3f}"
        row[f"precision in budget at {rate:.0%}"] = f"{in_budget(score, truth, weight, rate):.3f}"
    listed = float((score[truth == 1] >= LEAST_SCORE).mean())
    return {**row, "listed": f"{listed:.1%}", "sound listed": f"{alarms} of {len(sound)}"}


def in_budget(score: npt.NDArray[Any], truth: npt.NDArray[Any], weight: npt.NDArray[Any], rate: float) -> float:
    """Share of faults among the worst masks, as many as there are faults."""
    order = np.argsort(-score, kind="stable")
    inside = np.cumsum(weight[order]) <= rate
    taken = weight[order][inside]
    return float((taken * truth[order][inside]).sum() / max(taken.sum(), 1e-12))


def write(rows: Sequence[Row]) -> None:
    """The page of the docs."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(map(str, row.values())) for row in rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    text = f"""# How well wrong masks are found without a model

`segloop labels check` looks at outlines alone: they lie on the image's edges, or elsewhere, or nowhere. Faults were put
into real masks, one kind at a time. `AP` is the average precision when that share of the masks has the fault (chance
gives the share itself), `precision in budget` the share of faults among as many masks as there are faults, `listed`
what the threshold of `params.yaml` lists of the faulty, `sound listed` its false alarms.

What changes no outline much is not found: an object of a wrong class keeps its outline, and a missing one leaves the
others. Those need a model's opinion, which the check does not have yet.

{table}

Made by `python -m benchmarks.label_errors NAME=FOLDER...`; at most {MOST} images of a dataset.
"""
    write_atomic(DOCS, text)


if __name__ == "__main__":
    main()
