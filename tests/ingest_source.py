"""A workspace and seeded sources for tests that ingest through the real command."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.command import run
from pipeline.ingest import main

TAXONOMY = {
    "version": 1,
    "classes": [
        {"id": 0, "name": "background", "colour": "#000000"},
        {"id": 1, "name": "floor", "colour": "#0ac81e"},
        {"id": 2, "name": "human", "colour": "#c80063", "critical": True},
    ],
    "remaps": {"tens": {"values": {0: "background", 10: "floor", 20: "human", 30: "ignore"}}},
}
PARAMS = {
    "limits": {"max_bytes": 10**6, "max_pixels": 10**6},
    "dataset": {"path": "data/dataset", "splits": "data/splits.csv"},
    "splits": {"val": 0.25, "test": 0.25, "salt": "s"},
    "ingest": {"workers": 1},
}
Ingest = Callable[..., int]


GROUPED = ("--group-by", "^([^_]+)_")


def ingest_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Ingest:
    """Makes a workspace, and returns what runs the command in it and returns its exit code."""
    monkeypatch.chdir(folder)
    Path("data").mkdir()
    Path("data/taxonomy.yaml").write_text(yaml.safe_dump(TAXONOMY))
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS))

    def call(src: Path, batch: str, *options: str) -> int:
        with pytest.raises(SystemExit) as ended:
            run(main, [str(src), "--format", "folders", "--batch", batch, *options])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return call


def write_source(root: Path, names: list[str], seed: int = 0, mask_values: int = 3) -> Path:
    """Writes seeded images and masks of 8x6 px; a name may lie in a split folder."""
    rng = np.random.default_rng(seed)
    for name in names:
        pixels = {"images": rng.integers(0, 256, (6, 8, 3)), "masks": rng.integers(0, mask_values, (6, 8))}
        for folder, values in pixels.items():
            file = root / folder / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(file)
    return root


def names(*groups: str, count: int = 2) -> list[str]:
    """Names of `count` items per group, like g1_0."""
    return [f"{group}_{number}" for group in groups for number in range(count)]


def world(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, to see that nothing changed."""
    return {str(file): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}
