"""Fixtures shared by the tests: tiny seeded datasets on disk, made by the real writers."""

import logging
import os

# One thread a worker: the workers share the machine, and threads that spin slow each other down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

# Datumaro puts a lazy twin, without submodules, in the place of a pandas that is loaded already. First, it cannot.
import datumaro  # noqa: F401
import pytest
import yaml
from hypothesis import settings
from tiny import tiny_items

from pipeline.images import Limits
from pipeline.part_writer import write_batch
from pipeline.splits import LedgerRow, append_ledger, read_ledger

# Wall-clock deadlines fail on a busy machine; the examples are what counts.
settings.register_profile("segloop", deadline=None, derandomize=True)
settings.load_profile("segloop")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """No test sees what another exported: MLflow, for one, writes the address of its store into the environment.

    DVC's log keeps writing to the stream that an earlier test captured, and fails since that is closed.
    """
    before = dict(os.environ)
    logging.getLogger("dvc").handlers.clear()
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def limits() -> Limits:
    """Limits that every honest test image meets."""
    return Limits(max_bytes=2**24, max_pixels=2**22)


@pytest.fixture
def taxonomy_file(tmp_path: Path) -> Path:
    """The demo's taxonomy, copied."""
    target = tmp_path / "data" / "taxonomy.yaml"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "data" / "taxonomy.yaml", target)
    return target


@pytest.fixture
def params_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes the project's params with some sections' keys replaced: `params_file(prepare={"tile_px": 16})`."""

    def write(**changes: dict[str, object]) -> Path:
        sections = yaml.safe_load((ROOT / "params.yaml").read_text())
        for section, keys in changes.items():
            sections[section] |= keys
        target = tmp_path / "params.yaml"
        target.write_text(yaml.safe_dump(sections))
        return target

    return write


@pytest.fixture
def tiny_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiny dataset with its ledger: `tiny_dataset(groups=6)` gives the folder, `splits.csv` in it."""

    def write(name: str = "dataset", **options: int) -> Path:
        root = tmp_path / "data" / name
        items = list(tiny_items(**options))  # type: ignore[arg-type] # the options are all ints but `size`
        write_batch(root, "first", items, ["camera"])
        groups = sorted({item.group for item in items})
        cycle = ("train", "val", "test", "train")
        rows = [LedgerRow(group, cycle[number % len(cycle)], "first") for number, group in enumerate(groups)]
        append_ledger(root / "splits.csv", read_ledger(root / "splits.csv"), rows)
        return root

    return write
