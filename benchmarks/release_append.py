"""What a release of a few more items moves, beside the first release of the dataset. Run with python -m.

Makes a workspace of its own with many tiny items and a local remote, through the real commands; validation included.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.comparison import report
from benchmarks.scale import BATCHES, CLASS_NAMES, SHARES, group_of, make, tiny_items
from pipeline.part_writer import write_batch
from pipeline.splits import LedgerRow, append_ledger, place, read_ledger

ROOT = Path(__file__).parent.parent
# Blocks of random colours all look alike to a perceptual hash, and classes of noise are everywhere.
TINY = {"near_duplicate_bits": 0, "max_islands_per_10k_px": 1e9}


def main() -> None:
    """Releases twice and prints what each time reached the remote."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--added", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = workspace(Path(scratch), options.items)
        rows = [released(root, "first", options.items)]
        extend(root, options.items, options.added)
        rows.append(released(root, "more", options.added))
    share = rows[1]["MB moved"] / rows[0]["MB moved"]
    title = f"A release of +{options.added} on {options.items} items moves {share:.3%} of the first's bytes"
    report("release_append", title, rows, ["dvc"])


def workspace(folder: Path, items: int) -> Path:
    """A clone of this checkout with a dataset of its own, committed."""
    root = folder / "workspace"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
    call(root, "git", "remote", "remove", "origin")
    call(root, "git", "config", "user.name", "Ada")
    call(root, "git", "config", "user.email", "ada@localhost")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["dataset"] = {"path": "data/dataset", "splits": "data/splits.csv"}
    params["validate"] |= TINY
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    make(root / "data", items)
    call(root, "git", "add", "-A")
    call(root, "git", "commit", "--quiet", "--message", "data")
    return root


def extend(root: Path, items: int, added: int) -> None:
    """One more batch, in groups of its own."""
    batch = f"batch-{BATCHES:02d}"
    write_batch(root / "data/dataset", batch, tiny_items(items, items + added), ["camera", "site"], CLASS_NAMES)
    groups = sorted({group_of(number) for number in range(items, items + added)})
    ledger = root / "data/splits.csv"
    rows = [LedgerRow(group, place(group, "uniform", SHARES), batch) for group in groups]
    append_ledger(ledger, read_ledger(ledger), rows)


def released(root: Path, message: str, items: int) -> dict[str, Any]:
    """Releases, and tells what is new on the remote."""
    before, start = objects(root), time.perf_counter()
    call(root, sys.executable, "-m", "pipeline.release", "--message", message)
    new = {name: size for name, size in objects(root).items() if name not in before}
    seconds = time.perf_counter() - start
    return {"items": items, "objects moved": len(new), "MB moved": sum(new.values()) / 1e6, "seconds": seconds}


def objects(root: Path) -> dict[str, int]:
    """The remote's objects and their sizes."""
    files = (root.parent / "segloop-remote/files/md5").glob("*/*")
    return {f"{file.parent.name}{file.name}": file.stat().st_size for file in files}


def call(root: Path, *command: str) -> None:
    """Runs a command in the workspace; what it says is shown when it fails."""
    environment = {**os.environ, "DVC_SITE_CACHE_DIR": str(root.parent / "site")}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


if __name__ == "__main__":
    main()
