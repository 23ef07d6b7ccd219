"""What extending a dataset costs against making it, and a no-op `dvc repro` against `dvc status`.

Makes a workspace of its own with a dataset of many small items, through the real commands; every figure is wall-clock
time of a whole process, start included. Its pipeline is one stage that depends on the dataset; `--demo` measures the
whole pipeline as well, in a workspace where it has run.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer
import yaml
from PIL import Image
from rich.console import Console
from rich.table import Table

from pipeline.command import progress, run
from pipeline.files import write_json

ROOT = Path(__file__).resolve().parent.parent
SIZE_PX = (240, 320)
CLASSES = 5
GROUP_ITEMS = 20
APPEND_BAR = 0.05
REPRO_BAR = 1.5
PARAMS = {
    "limits": {"max_bytes": 2**26, "max_pixels": 10**8},
    "dataset": {"path": "data/dataset", "splits": "data/splits.csv"},
    "splits": {"val": 0.15, "test": 0.15, "salt": "benchmark"},
    "ingest": {"workers": 0},
}


def main(
    items: Annotated[int, typer.Option(help="Items of the dataset.")] = 20_000,
    added: Annotated[int, typer.Option(help="Items added to it.")] = 100,
    repeats: Annotated[int, typer.Option(help="Batches added, and times a DVC command is run; the median counts.")] = 5,
    demo: Annotated[Path | None, typer.Option(help="A workspace whose pipeline has run.")] = None,
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = ROOT / "benchmarks/results/append.json",
) -> None:
    """Measure what adding items to a large dataset costs.

    Example: python benchmarks/append.py --items 20000 --added 100
    """
    with tempfile.TemporaryDirectory() as folder:
        workspace = make_workspace(Path(folder))
        seconds = measure(workspace, items, added, repeats)
    if demo:
        seconds |= {f"demo, {what}": value for what, value in measure_noop(demo, repeats).items()}
    append = (seconds["add batch"] + seconds["dvc add, again"]) / (seconds["ingest"] + seconds["dvc add"])
    repro = seconds["no-op dvc repro"] / seconds["dvc status"]
    print_table(seconds, append, repro)
    figures = {"items": items, "added": added, "seconds": seconds, "append_ratio": append, "repro_ratio": repro}
    bars = {"append_bar": APPEND_BAR, "repro_bar": REPRO_BAR}
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    write_json(out, {**figures, **bars, **machine})


def make_workspace(folder: Path) -> Path:
    """Makes a git and DVC workspace with params, the demo's taxonomy and one stage that depends on the dataset."""
    workspace = folder / "workspace"
    (workspace / "data").mkdir(parents=True)
    (workspace / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (workspace / "data/taxonomy.yaml").write_bytes((ROOT / "data/taxonomy.yaml").read_bytes())
    stage = {"cmd": "echo done > listing.txt", "deps": ["data/dataset"], "outs": ["listing.txt"]}
    (workspace / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"listing": stage}}))
    call(workspace, "git", "init", "--quiet")
    call(workspace, sys.executable, "-m", "dvc", "init", "--quiet")
    call(workspace, sys.executable, "-m", "dvc", "config", "core.analytics", "false")
    return workspace


def measure(workspace: Path, items: int, added: int, repeats: int) -> dict[str, float]:
    """Runs and times every command; seconds by what was run."""
    write_source(workspace.parent / "first", items, seed=0)
    batches = [f"further-{number}" for number in range(repeats)]
    for number, name in enumerate(batches):
        write_source(workspace.parent / name, added, seed=1 + number)
    dvc = (sys.executable, "-m", "dvc")
    seconds = {
        "ingest": timed(lambda: ingest(workspace, "first")),
        "dvc add": timed(partial(call, workspace, *dvc, "add", "--quiet", "data/dataset")),
    }
    add = (*dvc, "add", "--quiet", "data/dataset")
    adding = [(timed(partial(ingest, workspace, name)), timed(partial(call, workspace, *add))) for name in batches]
    batch, again = zip(*adding, strict=True)
    seconds |= {"add batch": median(batch), "dvc add, again": median(again)}
    call(workspace, *dvc, "repro", "--quiet")
    return seconds | measure_noop(workspace, repeats)


def measure_noop(workspace: Path, repeats: int) -> dict[str, float]:
    """Times `dvc status` and a `dvc repro` that has nothing to do."""
    dvc = (sys.executable, "-m", "dvc")
    assert "up to date" in call(workspace, *dvc, "repro")
    # Turn about, so that a busy moment of the machine strikes both.
    pairs = [
        (timed(lambda: call(workspace, *dvc, "status")), timed(lambda: call(workspace, *dvc, "repro")))
        for _ in range(repeats)
    ]
    status, repro = zip(*pairs, strict=True)
    return {"dvc status": median(status), "no-op dvc repro": median(repro)}


def write_source(folder: Path, items: int, seed: int) -> None:
    """Writes seeded JPEG images with smooth content and blocky masks, in the folders format."""
    rng = np.random.default_rng(seed)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in progress(range(items), total=items, label=f"write {folder.name}"):
        name = f"{folder.name}{number // GROUP_ITEMS:04d}_{number:06d}"
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize(SIZE_PX[::-1], Image.Resampling.BILINEAR).save(folder / "images" / f"{name}.jpg", quality=90)
        blocks = rng.integers(0, CLASSES, (6, 8), dtype=np.uint8)
        Image.fromarray(np.kron(blocks, np.ones((40, 40), dtype=np.uint8))).save(folder / "masks" / f"{name}.png")


def ingest(workspace: Path, batch: str) -> None:
    """Ingests a source as a batch of its name."""
    command = [sys.executable, "-m", "pipeline.ingest", str(workspace.parent / batch), "--format", "folders"]
    call(workspace, *command, "--batch", batch, "--group-by", "^([^_]+)_")


def call(workspace: Path, *command: str) -> str:
    """Runs a command in the workspace with this checkout's code and returns what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_SITE_CACHE_DIR": str(workspace.parent / "site")}
    return subprocess.run(command, cwd=workspace, env=environment, check=True, capture_output=True, text=True).stdout


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall-clock time that a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def print_table(seconds: dict[str, float], append: float, repro: float) -> None:
    """Prints the figures beside their bars."""
    table = Table("what", "seconds", title="extending a dataset")
    for what, value in seconds.items():
        table.add_row(what, f"{value:.2f}")
    table.add_section()
    table.add_row("adding / making", f"{append:.3f} (bar {APPEND_BAR})")
    table.add_row("no-op repro / status", f"{repro:.2f} (bar {REPRO_BAR})")
    Console().print(table)


if __name__ == "__main__":
    run(main)
