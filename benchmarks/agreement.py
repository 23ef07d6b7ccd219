"""Agreement of 1,000 pairs of 1024x1024 masks against the time to decode them, and against peers. Run with python -m.

Every pair is a mask of the demo as two annotators would draw it. A pair is decoded, compared and, if it is one of the
first, given to the peers before the next is touched, so that a busy machine is busy for all.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its usual name
from sklearn.metrics import cohen_kappa_score, jaccard_score

from benchmarks.comparison import report
from pipeline.agreement.copies import Copies
from pipeline.agreement.images import Compared, How, compare
from pipeline.command import progress
from pipeline.demo.annotation import NUM_CLASSES, DemoDataParams
from pipeline.demo.faults import jitter
from pipeline.demo.scene import render
from pipeline.images import Limits, decode_mask, encode_mask
from pipeline.params import read_section

SIDE_PX, SCENES, VOID, HUMAN = 1024, 50, 255, 3
JITTER_PX = (0.9, 1.8)  # two of the demo's annotators, of skill 0.7 and 0.4, at 3 px
PEER_PAIRS = 25  # they are slow
LIMITS = Limits(max_bytes=2**26, max_pixels=10**8)
HOW = How(NUM_CLASSES, VOID, critical=(HUMAN,), tolerance_px=2, look_below=0.5, look_px=50, limits=LIMITS)
NAMES = ("decode both masks", "segloop: everything of a pair")
OVERLAPS = "SimpleITK LabelOverlapMeasures: Dice and IoU per class only"
KAPPA = "scikit-learn: kappa and IoU per class only"
MOST = 3

Pair = tuple[np.ndarray, np.ndarray]


def main() -> None:
    """Check that the peers agree, time all, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    options = parser.parse_args()
    seconds: dict[str, list[float]] = defaultdict(list)
    warm_up()
    for number, codes in enumerate(
        progress(encoded(options.pairs, options.params), total=options.pairs, label="pairs")
    ):
        masks: Pair = timed(seconds[NAMES[0]], partial(decoded, codes))
        found: Compared = timed(seconds[NAMES[1]], partial(compare, copies(masks), HOW))
        if number < PEER_PAIRS:
            check(found, timed(seconds[OVERLAPS], partial(overlaps, masks)))
            timed(seconds[KAPPA], partial(by_scikit, masks))
    rows = [
        {
            "case": name,
            "pairs": len(values),
            "ms a pair": float(np.mean(values)) * 1000,
            "times decoding the same": sum(values) / sum(seconds[NAMES[0]][: len(values)]),
            "at most": MOST if name == NAMES[1] else "",
        }
        for name, values in seconds.items()
    ]
    title = f"Agreement of pairs of {SIDE_PX}x{SIDE_PX} masks, {NUM_CLASSES} classes"
    report(
        "agreement", title, rows, ["numba", "numpy", "opencv-python-headless", "pillow", "scikit-learn", "simpleitk"]
    )


def timed(seconds: list[float], call: Callable[[], Any]) -> Any:
    """Calls, and adds the time."""
    start = time.perf_counter()
    result = call()
    seconds.append(time.perf_counter() - start)
    return result


def encoded(pairs: int, params: Path) -> Iterator[tuple[bytes, bytes]]:
    """PNG masks by two annotators, each pair drawn anew."""
    section = read_section(DemoDataParams, "demo_data", params)
    section = section.model_copy(update={"width": SIDE_PX, "height": SIDE_PX, "frames_per_scene": 1})
    rng = np.random.default_rng(0)
    scenes = [next(iter(render(section.scene_options(), scene))).mask for scene in range(min(SCENES, pairs))]
    for number in range(pairs):
        one, other = (jitter(scenes[number % len(scenes)], amplitude, rng)[0] for amplitude in JITTER_PX)
        yield encode_mask(one), encode_mask(other)


def decoded(codes: tuple[bytes, bytes]) -> Pair:
    """Both masks."""
    return decode_mask(codes[0], LIMITS), decode_mask(codes[1], LIMITS)


def copies(masks: Pair) -> Copies:
    """The pair as the command has it."""
    return Copies("", "", ("one", "other"), ("ada", "ben"), masks, {})


def overlaps(masks: Pair) -> dict[int, float]:
    """IoU by class, from the filter that gives Dice and IoU by class."""
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.SetNumberOfThreads(1)
    measures.Execute(*map(sitk.GetImageFromArray, masks))
    return {label: measures.GetJaccardCoefficient(label) for label in range(1, NUM_CLASSES)}


def by_scikit(masks: Pair) -> tuple[float, np.ndarray]:
    """Kappa, and the IoU by class."""
    one, other = (mask.ravel() for mask in masks)
    labels = range(NUM_CLASSES)
    return cohen_kappa_score(one, other), jaccard_score(one, other, labels=labels, average=None, zero_division=0.0)


def check(found: Compared, wanted: dict[int, float]) -> None:
    """Ours is what the peer says, where the class is there at all."""
    confusion = found.pairs[0].confusion
    for label, value in wanted.items():
        either = confusion[label].sum() + confusion[:, label].sum() - confusion[label, label]
        if either:
            np.testing.assert_allclose(confusion[label, label] / either, value)


def warm_up() -> None:
    """Loads libraries and compiled code; silences the peer where a class is in neither mask."""
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    masks = np.zeros((64, 64), np.uint8), np.eye(64, dtype=np.uint8)
    compare(copies(masks), HOW)
    overlaps(masks)
    by_scikit(masks)
    decoded((encode_mask(masks[0]), encode_mask(masks[1])))


if __name__ == "__main__":
    main()
