"""Compares the evaluated model with what needs no learning: the majority class, and the same network untrained.

Run after `dvc repro`: python -m benchmarks.baselines
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from benchmarks.comparison import report
from training.network import NetworkSettings, build_network

DATA = Path("data")
SEED = 1


def main() -> None:
    """Exports and evaluates the network with random weights on the same holdout, and prints the three scores."""
    trained = json.loads((DATA / "evaluation" / "metrics.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        untrained = measure_untrained(Path(folder))
    majority = trained["majority"]
    rows = [
        {"predictor": "trained", "miou": trained["miou"], **trained["iou"]},
        {
            "predictor": f"majority class ({majority['class']})",
            "miou": majority["miou"],
            **dict.fromkeys(trained["iou"], ""),
        },
        {"predictor": "same network, untrained", "miou": untrained["miou"], **untrained["iou"]},
    ]
    report("baselines", f"IoU on {trained['items']} holdout images", rows, ["torch", "onnxruntime"])


def measure_untrained(folder: Path) -> dict[str, Any]:
    """The metrics of the trained network's architecture with seeded random weights."""
    training = folder / "training"
    shutil.copytree(DATA / "training", training)
    facts = json.loads((training / "model.json").read_text())
    torch.manual_seed(SEED)
    settings = {name: facts[name] for name in ("architecture", "encoder", "options")}
    network = build_network(NetworkSettings(encoder_weights=None, **settings), facts["num_classes"])
    save_file(
        {name: value.contiguous() for name, value in network.state_dict().items()}, training / "model.safetensors"
    )
    _stage("export", "--training", training, "--tiles", DATA / "tiles", "--out", folder / "export")
    dataset = yaml.safe_load(Path("params.yaml").read_text())["dataset"]["path"]
    inputs = ("--dataset", dataset, "--holdout", DATA / "holdout.json", "--validation", DATA / "validation")
    _stage("evaluate", "--export", folder / "export", *inputs, "--out", folder / "evaluation")
    metrics: dict[str, Any] = json.loads((folder / "evaluation" / "metrics.json").read_text())
    return metrics


def _stage(name: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-m", f"pipeline.{name}", *map(str, arguments)], check=True)


if __name__ == "__main__":
    main()
