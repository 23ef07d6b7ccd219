"""What judging masks by a model's predictions costs, beside cleanlab's `find_label_issues` on the same ones.

Run with python -m; takes a workspace in which `dvc repro` was run. The predictions are made beforehand, for both: what
is timed is finding the disputed regions, not the network, nor the parts of the check that need no predictions.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np

from benchmarks.comparison import interleaved_ms, report
from benchmarks.label_errors import LIMITS, cases, predict
from pipeline.images import decode_image, decode_mask
from pipeline.label_qa.disagreement import Opinion, disputed_regions, given_probability
from pipeline.parts import read_items

IMAGES, ROUNDS = 24, 3


def main() -> None:
    """Measures both, prints and writes the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    case = next(cases("", parser.parse_args().workspace.resolve()))
    pairs = [
        (decode_image(image, LIMITS), decode_mask(mask, LIMITS))
        for _, image, mask in read_items(case.looking.dataset, case.index.iloc[:IMAGES])
    ]
    model = case.index["model"].iloc[0]
    masks = np.stack([mask for _, mask in pairs])
    predictions = np.stack([predict(model, pixels) for pixels, _ in pairs])
    # It fails on any label that is no class.
    labels = np.where(masks < predictions.shape[1], masks, predictions.argmax(axis=1)).astype(int)

    def ours() -> None:
        for mask, probabilities in zip(masks, predictions, strict=True):
            top = probabilities.argmax(axis=0).astype(np.uint8)
            said = Opinion(top, probabilities.max(axis=0), given_probability(probabilities, mask))
            disputed_regions(mask, said, len(probabilities))

    def cleanlab(downsample: int) -> None:
        from cleanlab.segmentation.filter import find_label_issues

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            find_label_issues(labels, predictions, downsample=downsample, n_jobs=1, verbose=False)

    times = interleaved_ms(
        {
            "segloop, every pixel": ours,
            "cleanlab find_label_issues, every pixel": lambda: cleanlab(1),
            "cleanlab find_label_issues, one pixel in 16": lambda: cleanlab(4),
        },
        ROUNDS,
    )
    mine = times["segloop, every pixel"]
    rows = [{"case": name, "ms an image": ms / len(masks), "times ours": ms / mine} for name, ms in times.items()]
    size = f"{masks.shape[2]}x{masks.shape[1]}, {predictions.shape[1]} classes"
    report("label_check", f"Judging masks by predictions, {len(masks)} images of {size}", rows, ["cleanlab", "numpy"])


if __name__ == "__main__":
    main()
