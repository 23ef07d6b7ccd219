"""How well wrong masks are found, on real masks into which faults of known kind were put. Run with python -m.

Takes workspaces as NAME=FOLDER, in which `dvc repro` was run; where `segloop labels folds` was run too, its networks
are measured beside the exported model.
"""

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.comparison import RESULTS
from benchmarks.label_faults import FAULTS, WRONG, Mask
from pipeline.command import progress
from pipeline.dataset import DatasetParams
from pipeline.files import read_json, sha256_bytes, write_atomic, write_json
from pipeline.images import Limits, decode_image, decode_mask
from pipeline.inference import Rows, Segmenter
from pipeline.label_qa.disagreement import Opinion, given_probability
from pipeline.label_qa.looks import Look, Looking, Seen, see
from pipeline.label_qa.suspicion import Kind, judge, overall, ranked
from pipeline.params import read_section
from pipeline.parts import read_index, read_items
from pipeline.taxonomy import Taxonomy, load_taxonomy

DOCS = Path("docs/label_error_rates.md")
SEED = 0
RATES = (0.01, 0.05, 0.10)
DRAWS = {0.01: 6, 0.05: 4, 0.10: 3}  # fewer faults in a draw, more draws
MOST = 300  # images of a case
LEAST_SCORE = 3.0  # as params.yaml has it
JUDGES = ("without", "with", "cleanlab")
LIMITS = Limits(max_bytes=2**26, max_pixels=10**8)


@dataclass(frozen=True)
class Case:
    """Images and the model that judges them without ever having seen them.

    Attributes:
        name: In the table.
        looking: What the measurements depend on.
        taxonomy: The classes.
        index: Rows of the images, with `model`: the folder of the graph that judges each.
    """

    name: str
    looking: Looking
    taxonomy: Taxonomy
    index: pd.DataFrame


@dataclass(frozen=True)
class Measured:
    """One image under every fault: what was seen, and cleanlab's score; of a fault that changes nothing, None."""

    look: Look
    confusion: npt.NDArray[np.int64]
    seen: dict[str, tuple[Seen, float] | None]


def main() -> None:
    """Injects, measures, and writes the tables for people and for machines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspaces", nargs="+", metavar="NAME=FOLDER")
    options = parser.parse_args()
    sections, results = [], []
    for name, _, folder in (each.partition("=") for each in options.workspaces):
        for case in cases(name, Path(folder).resolve()):
            text, rows = measured_case(case)
            print(text, flush=True)
            sections.append(text)
            results += rows
            write_json(RESULTS / "label_errors.json", {"rows": results})
            write(sections)


def cases(name: str, root: Path) -> Iterator[Case]:
    """The holdout judged by the exported model; the rest by the networks of the folds, where there are some."""
    dataset = root / read_section(DatasetParams, "dataset", root / "params.yaml").path
    taxonomy = load_taxonomy(root / "data/taxonomy.yaml")
    looking = Looking.at(dataset, taxonomy, LIMITS)
    index = read_index(dataset)
    held_out = {row["item_id"] for row in read_json(root / "data/holdout.json", "run `dvc repro`")["items"]}
    own = some(index[index["item_id"].isin(held_out)])
    yield Case(f"{name}, holdout", looking, taxonomy, own.assign(model=str(root / "data/export")))
    folds = root / "data/label_folds"
    if (folds / "items.parquet").exists():
        taught = some(index.merge(pd.read_parquet(folds / "items.parquet")[["item_id", "fold"]], on="item_id"))
        model = [str(folds / str(fold)) for fold in taught["fold"]]
        yield Case(f"{name}, out of fold", looking, taxonomy, taught.assign(model=model))


def some(index: pd.DataFrame) -> pd.DataFrame:
    """At most so many rows, whole stretches of sequences, so that frames keep their neighbours."""
    blocks = np.arange(len(index)) * (len(index) // 10 or 1) // max(len(index), 1)
    order = np.random.default_rng(SEED).permutation(blocks.max() + 1)
    keep = np.isin(blocks, order[: max(1, MOST * len(order) // max(len(index), MOST))])
    return index[keep].reset_index(drop=True)


def measured_case(case: Case) -> tuple[str, list[dict[str, Any]]]:
    """The section of the page, and its numbers."""
    every = measure(case)
    confusion = np.sum([each.confusion for each in every], axis=0)
    union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    miou = float(np.mean(np.diag(confusion)[union > 0] / union[union > 0]))
    sound = [each.look for each in every]
    judged = judge(sound, case.taxonomy.names)
    alarms = {kind.value: int((each.scores >= LEAST_SCORE).sum()) for kind, each in judged.items()}
    listed = len(ranked(sound, judged, case.taxonomy.names, LEAST_SCORE))
    rows = [row for kind in [*FAULTS, WRONG] for row in compared(case, every, kind)]
    told = ", ".join(f"{count} {kind}" for kind, count in alarms.items() if count) or "none"
    head = (
        f"## {case.name}\n\n{len(every)} images; the model has mIoU {miou:.3f} on them. Of the sound masks {listed} "
        f"are listed ({listed / len(every):.1%}): {told}.\n\n"
    )
    return head + table(rows), [{"case": case.name, "miou": miou, **row} for row in rows]


def measure(case: Case) -> list[Measured]:
    """Every image under every fault, in several processes."""
    items = list(read_items(case.looking.dataset, case.index))
    masks = [mask for _, _, mask in items]
    tasks = []
    for place, (row, image, mask) in enumerate(items):
        beside = [masks[other] for other in (place - 1, place + 1) if same_sequence(items, place, other)]
        tasks.append((case.looking, row, image, mask, beside, another(items, place), place))
    with ProcessPoolExecutor() as pool:
        done = pool.map(measure_one, *zip(*tasks, strict=True))
        return list(progress(done, total=len(tasks), label=case.name))


def same_sequence(items: Sequence[Any], place: int, other: int) -> bool:
    """Whether two items are frames of one sequence."""
    return 0 <= other < len(items) and items[place][0]["group"] == items[other][0]["group"]


def another(items: Sequence[Any], place: int) -> bytes:
    """The mask of an image of another group where there is one, else of one far away in the sequence."""
    rng = np.random.default_rng([SEED, place])
    fit = [other for other in range(len(items)) if items[other][0]["group"] != items[place][0]["group"]]
    far = [other for other in range(len(items)) if abs(other - place) > len(items) // 4]
    mask: bytes = items[rng.choice(fit or far)][2]
    return mask


def measure_one(
    looking: Looking, row: dict[str, Any], image: bytes, mask: bytes, beside: list[bytes], other: bytes, place: int
) -> Measured:
    """One image under every fault."""
    pixels, truth = decode_image(image, LIMITS), decode_mask(mask, LIMITS)
    neighbours = [decode_mask(each, LIMITS) for each in beside]
    probabilities = predict(row["model"], pixels)
    rng = np.random.default_rng([SEED, place])
    masks = {kind: fault(truth, rng) for kind, fault in FAULTS.items()}
    strange = decode_mask(other, LIMITS)
    if strange.shape == truth.shape:
        masks[WRONG] = strange

    def both(drawn: Mask) -> tuple[Seen, float]:
        top = probabilities.argmax(axis=0).astype(np.uint8)
        said = Opinion(top, probabilities.max(axis=0), given_probability(probabilities, drawn))
        return see(pixels, drawn, looking, neighbours, said), by_cleanlab(probabilities, drawn, top)

    found = {kind: None if (drawn == truth).all() else both(drawn) for kind, drawn in masks.items()}
    own = both(truth)
    facts = (row["item_id"], int(row["revision"]), row["group"], place, sha256_bytes(image), sha256_bytes(mask))
    known = truth < looking.num_classes
    pairs = truth[known].astype(np.int64) * looking.num_classes + probabilities.argmax(axis=0)[known]
    confusion = np.bincount(pairs, minlength=looking.num_classes**2).reshape(looking.num_classes, -1)
    return Measured(Look(*facts, annotator=None, seen=own[0]), confusion, {"sound": own, **found})


def predict(model: str, pixels: Mask) -> npt.NDArray[np.float32]:
    """The probabilities of every class, (C, H, W)."""
    strips: list[npt.NDArray[np.float32]] = []

    def visit(rows: Rows) -> None:
        strips.append(rows.probabilities.copy())

    segmenter(model).predict_rows(pixels, visit)
    return np.concatenate(strips, axis=1)


@lru_cache(maxsize=4)
def segmenter(model: str) -> Segmenter:
    """A graph, opened once a process."""
    return Segmenter(Path(model), threads=1)


def by_cleanlab(probabilities: npt.NDArray[np.float32], drawn: Mask, top: Mask) -> float:
    """The score that cleanlab gives a mask, larger is worse; void gets the model's own label, since it fails on 255."""
    from cleanlab.segmentation.rank import get_label_quality_scores

    labels = np.where(drawn < len(probabilities), drawn, top).astype(int)
    quality, _ = get_label_quality_scores(labels[None], probabilities[None], verbose=False)
    return 1 - float(quality[0])


def compared(case: Case, every: Sequence[Measured], kind: str) -> Iterator[dict[str, Any]]:
    """A row a rate: how well the faults of a kind are told from sound masks, by whom; means over the draws."""
    able = [place for place, each in enumerate(every) if each.seen.get(kind)]
    for rate, draws in DRAWS.items():
        count = max(1, round(rate * len(every)))
        if len(able) < count:
            continue
        found = [one_draw(case, every, kind, np.random.default_rng([SEED, each]), able, count) for each in range(draws)]
        yield {"fault": kind, "rate": rate, **pd.DataFrame(found).mean().round(4).to_dict()}


def one_draw(
    case: Case, every: Sequence[Measured], kind: str, rng: np.random.Generator, able: list[int], count: int
) -> dict[str, float]:
    """One dataset with so many faults, judged as a whole."""
    bad = set(map(int, rng.permutation(able)[:count]))
    drawn = [each.seen[kind if place in bad else "sound"] for place, each in enumerate(every)]
    looks = [
        Look(**{**vars(each.look), "seen": seen[0], "mask": f"{place in bad}"}) if seen else each.look
        for place, (each, seen) in enumerate(zip(every, drawn, strict=True))
    ]
    judged = judge(looks, case.taxonomy.names)
    truth = np.array([place in bad for place in range(len(every))])
    scores = {
        "without": overall({name: each for name, each in judged.items() if name is not Kind.DISPUTED}),
        "with": overall(judged),
        "cleanlab": np.array([seen[1] if seen else 0.0 for seen in drawn]),
    }
    listed = {each.item_id for each in ranked(looks, judged, case.taxonomy.names, LEAST_SCORE)}
    row = {"listed": float(np.mean([looks[place].item_id in listed for place in bad]))}
    for judge_, score in scores.items():
        clean = np.nan_to_num(score)
        row[f"auroc {judge_}"] = float(roc_auc_score(truth, clean))
        row[f"ap {judge_}"] = float(average_precision_score(truth, clean))
        row[f"precision {judge_}"] = float(truth[np.argsort(-clean, kind="stable")[:count]].mean())
    return row


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line a fault; each cell without a model / with it / cleanlab."""
    columns = [("AUROC at 5% (random 0.50)", "auroc", 0.05)]
    columns += [(f"AP at {rate:.0%} (random {rate:.2f})", "ap", rate) for rate in RATES]
    columns += [(f"precision in budget at {rate:.0%} (random {rate:.2f})", "precision", rate) for rate in RATES]
    by_rate = {(row["fault"], row["rate"]): row for row in rows}
    lines = [["fault", *(name for name, _, _ in columns), "listed at 5%"], ["---"] * (len(columns) + 2)]
    for fault in dict.fromkeys(row["fault"] for row in rows):
        cells = [cell(by_rate.get((fault, rate)), what) for _, what, rate in columns]
        at_five = by_rate.get((fault, 0.05))
        lines.append([fault, *cells, f"{at_five['listed']:.0%}" if at_five else ""])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def cell(row: dict[str, Any] | None, what: str) -> str:
    """Three figures; cleanlab's in bold where it is better than both of ours."""
    if row is None:
        return ""
    ours = [row[f"{what} {judge_}"] for judge_ in JUDGES]
    theirs = f"**{ours[2]:.2f}**" if ours[2] > max(ours[:2]) + 0.005 else f"{ours[2]:.2f}"
    return f"{ours[0]:.2f} / {ours[1]:.2f} / {theirs}"


def write(sections: Sequence[str]) -> None:
    """The page of the docs."""
    text = f"""# How well wrong masks are found

Faults were put into real masks, one kind at a time, at three rates; the whole dataset was then judged by `segloop
labels check` as anyone would run it, without a model / with one that never saw the images / by cleanlab's quality
scores of the same predictions (void given the model's own label: it fails on any other value). Means over 3 to 6 draws.

`AP` is the average precision of the ranking (chance gives the rate itself), `precision in budget` the share of faults
among as many of the worst masks as there are faults, `listed` how many of the faulty masks score at least
{LEAST_SCORE}, the threshold of `params.yaml`. Bold is where cleanlab is better than both of ours. Shifts are in any
direction by exactly that length; an object is a component of at least 60 pixels that covers less than 15% of the image.
What the check takes for granted (how foreign masks agree by chance, the weights of the kinds) was set on CamVid; the
demo had no part in it.

{"".join(section + chr(10) for section in sections)}
Made by `python -m benchmarks.label_errors NAME=WORKSPACE...`; at most {MOST} images of a case.
"""
    write_atomic(DOCS, text)


if __name__ == "__main__":
    main()
