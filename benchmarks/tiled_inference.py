"""Tiled inference of a large image: ours against MONAI and the bare model on the same tiles. Run with python -m.

Each case runs in a process of its own, in turn. The bare model drops what it predicts: it is what tiling cannot avoid.
"Times model" divides a run by the time spent in its own model calls, on the same tiles in the same seconds, and so
stays true on a machine that others use; "times bare model" divides by the run of the bare model.
Memory is the peak resident set above that of the process with model and image loaded, the model's own working memory
included (Linux only).
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison import report

CLASSES, TILE_PX, OVERLAP_PX = 12, 512, 64
MB = 1_000_000


class Model:
    """A Unet with resnet18 in torch eager mode, that notes the seconds spent in it."""

    def __init__(self) -> None:
        import segmentation_models_pytorch as smp
        import torch

        torch.manual_seed(0)
        self._network = smp.create_model("unet", "resnet18", encoder_weights=None, classes=CLASSES).eval()
        self.seconds = 0.0

    def planes(self, tiles: Any) -> Any:
        """Tensor (N, 3, h, w), 0 to 255, to probabilities (N, C, h, w)."""
        import torch

        start = time.perf_counter()
        with torch.no_grad():  # MONAI blends in place, which inference mode forbids
            probabilities = self._network(tiles.float() / 255).softmax(dim=1)
        self.seconds += time.perf_counter() - start
        return probabilities

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        """Array (N, h, w, 3) uint8 to probabilities (N, C, h, w)."""
        import torch

        return self.planes(torch.from_numpy(tiles).permute(0, 3, 1, 2)).numpy()


def bare(model: Model, image: np.ndarray) -> Callable[[], object]:
    """The model on each tile and nothing else."""
    from training.tiling import TileGrid

    grid = TileGrid(*image.shape[:2], TILE_PX, OVERLAP_PX)

    def run() -> None:
        for y, x in grid.origins():
            model(np.ascontiguousarray(image[np.newaxis, y : y + TILE_PX, x : x + TILE_PX]))

    return run


def segloop(model: Model, image: np.ndarray) -> Callable[[], object]:
    """Our strips, each turned into labels as it comes."""
    from training.tiling import predict_strips

    def run() -> np.ndarray:
        options = {"tile_px": TILE_PX, "overlap_px": OVERLAP_PX, "num_classes": CLASSES, "batch_size": 1}
        labels = np.empty(image.shape[:2], np.uint8)
        for strip in predict_strips(image, model, **options):
            labels[strip.y0 : strip.y0 + strip.probabilities.shape[1]] = strip.top()[0]
        return labels

    return run


def monai(model: Model, image: np.ndarray) -> Callable[[], object]:
    """MONAI's sliding window with Gaussian weights; it wants a float image, which is made before the measurement."""
    import torch
    from monai.inferers import sliding_window_inference

    planes = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    overlap = OVERLAP_PX / TILE_PX
    return lambda: sliding_window_inference(planes, TILE_PX, 1, model.planes, overlap, mode="gaussian")[0].argmax(dim=0)


CASES = {"bare model": bare, "segloop": segloop, "monai, gaussian": monai}


def memory_mb(field: str) -> float:
    """A memory figure of this process: VmRSS is the present one, VmHWM the peak."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) * 1024 / MB


def measure(case: str, size: int) -> dict[str, float]:
    """Run one case in this process."""
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    model = Model()
    run = CASES[case](model, image)
    before = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # starts the peak anew
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "model_seconds": model.seconds, "mb": memory_mb("VmHWM") - before}


def in_own_process(case: str, size: int) -> dict[str, float]:
    """Run one case in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.tiled_inference", "--case", case, "--size", str(size)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def main() -> None:
    """Run the cases in turn and report the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=4096, help="side of the square image in pixels")
    parser.add_argument("--case", choices=CASES, help="measure only this one, here")
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(options.case, options.size)))
        return
    runs = [{case: in_own_process(case, options.size) for case in CASES} for _ in range(options.rounds)]
    medians = {
        case: {key: statistics.median(run[case][key] for run in runs) for key in runs[0][case]} for case in CASES
    }
    rows = [
        {
            "case": case,
            "seconds": figures["seconds"],
            "times bare model": figures["seconds"] / medians["bare model"]["seconds"],
            "times model": statistics.median(run[case]["seconds"] / run[case]["model_seconds"] for run in runs),
            "MB above model": figures["mb"],
            "at most": "1.10 times, 400 MB" if case == "segloop" else "",
        }
        for case, figures in medians.items()
    ]
    title = f"Tiled inference, {options.size}x{options.size}, {CLASSES} classes, median of {options.rounds}"
    report("tiled_inference", title, rows, ["numpy", "torch", "monai", "segmentation-models-pytorch"])


if __name__ == "__main__":
    main()
