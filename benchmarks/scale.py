"""Memory of the catalogue and of validation per item, as the dataset grows. Run with python -m.

Tiny items in several batches; each stage in a process of its own, whose peak is read from Linux. What its imports take
is not counted: it does not grow.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.comparison import report
from pipeline.files import sha256_bytes
from pipeline.part_writer import write_batch
from pipeline.parts import Item
from pipeline.splits import Ledger, LedgerRow, append_ledger, place
from pipeline.splits import SplitParams as Shares

ROOT = Path(__file__).parent.parent
SIZE, CLASSES, PER_GROUP, BATCHES, SEED = 32, 5, 10, 10, 0
CLASS_NAMES = ("background", "floor", "pallet", "human", "obstacle")
SHARES = Shares(val=0.15, test=0.25, salt="scale")
TARGET_BYTES = 2000
# Imports first; then the stage, and the highest memory since.
CHILD = """
import importlib, json, re, sys, time
from pathlib import Path
for name in {imports!r}:
    importlib.import_module(name)
def memory(key):
    return int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
Path("/proc/self/clear_refs").write_text("5")
before, start = memory("VmRSS"), time.perf_counter()
importlib.import_module("pipeline." + {stage!r}).main(**{{k: Path(v) for k, v in {arguments!r}.items()}})
print(json.dumps({{"before": before, "peak": memory("VmHWM"), "seconds": time.perf_counter() - start}}))
"""
IMPORTS = {
    "catalog": ["pipeline.catalog", "cv2"],
    "validate": ["pipeline.validate", "pipeline.data_docs", "great_expectations.expectations", "rich.table"],
}


def main() -> None:
    """Measure the curve and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--keep", type=Path, help="folder for the datasets, to measure them again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        rows = [row for count in options.items for row in measured(folder / str(count), count)]
    report("scale", f"Memory above the imports; items of {SIZE}x{SIZE} px", rows, ["pandas", "pyarrow"])


def measured(folder: Path, count: int) -> list[dict[str, Any]]:
    """The rows of one size: the catalogue anew, the catalogue with nothing new, validation."""
    if not (folder / "dataset").exists():
        make(folder, count)
    (folder / "catalog.parquet").unlink(missing_ok=True)
    for file in (folder / "store").glob("*"):
        file.unlink()
    catalog = {"dataset": folder / "dataset", "out": folder / "catalog.parquet", "store": folder / "store"}
    validate = {
        "dataset": folder / "dataset", "catalog": folder / "catalog.parquet", "splits": folder / "splits.csv",
        "out": folder / "validation",
    }  # fmt: skip
    cases = {"catalog": catalog, "catalog, nothing new": catalog, "validate": validate}
    return [row(case, count, run(case.split(",")[0], arguments)) for case, arguments in cases.items()]


def row(case: str, count: int, seen: dict[str, float]) -> dict[str, Any]:
    """A line of the table."""
    above = seen["peak"] - seen["before"]
    return {
        "stage": case, "items": count, "imports MB": seen["before"] / 1e6, "above MB": above / 1e6,
        "above, bytes an item": above / count, "at most": TARGET_BYTES, "seconds": seen["seconds"],
    }  # fmt: skip


def run(stage: str, arguments: dict[str, Path]) -> dict[str, float]:
    """Runs a stage in a process of its own, in the project's folder, and reads its memory."""
    paths = {name: str(path.resolve()) for name, path in arguments.items()}
    code = CHILD.format(imports=IMPORTS[stage], stage=stage, arguments=paths)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{stage} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    found: dict[str, float] = json.loads(re.findall(r"^\{.*\}$", done.stdout, re.MULTILINE)[-1])
    return found


def make(folder: Path, count: int) -> None:
    """Writes the dataset and its ledger."""
    start = time.perf_counter()
    for batch in range(BATCHES):
        items = tiny_items(batch * count // BATCHES, (batch + 1) * count // BATCHES)
        write_batch(folder / "dataset", f"batch-{batch:02d}", items, ["camera", "site"], CLASS_NAMES)
    groups = sorted({group_of(number) for number in range(count)})
    append_ledger(folder / "splits.csv", Ledger(), [LedgerRow(g, place(g, "uniform", SHARES), "made") for g in groups])
    print(f"made {count} items in {time.perf_counter() - start:.0f} s", file=sys.stderr)


def group_of(number: int) -> str:
    """The group of an item by its number."""
    return f"group-{number // PER_GROUP:06d}"


def tiny_items(first: int, last: int) -> Iterator[Item]:
    """Items whose images have next to nothing in common, and whose masks hold every class."""
    rng = np.random.default_rng([SEED, first])
    for number in range(first, last):
        image, mask = png(rough(rng, 3)), png(rough(rng, 1)[..., 0] % CLASSES)
        yield Item(
            item_id=f"scene-{number:07d}", image=image, mask=mask, image_path="", mask_path="",
            group=group_of(number), sha256=sha256_bytes(image), mask_source_sha256=sha256_bytes(mask), source="made",
            sequence_index=number % PER_GROUP, annotator="ada", slices={"camera": f"c{number % 3}", "site": "north"},
        )  # fmt: skip


def rough(rng: np.random.Generator, channels: int) -> np.ndarray:
    """Blocks of random values. Shape: (SIZE, SIZE, channels), uint8."""
    return rng.integers(0, 256, (8, 8, channels), dtype=np.uint8).repeat(SIZE // 8, axis=0).repeat(SIZE // 8, axis=1)


def png(pixels: np.ndarray) -> bytes:
    """The pixels as PNG."""
    return bytes(cv2.imencode(".png", pixels)[1])


if __name__ == "__main__":
    main()
