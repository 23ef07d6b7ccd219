"""A tiny folder of training tiles, as the stage that prepares tiles writes it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

COLOURS = ((60, 60, 70), (150, 140, 120), (200, 60, 60))
VOID = 255
PER_SHARD = 5


def write_tiles(root: Path, train: int = 12, val: int = 5, side: int = 32, seed: int = 0) -> Path:
    """Writes tiles of three classes (background, floor, human), told apart by their colours; human is rare."""
    rng = np.random.default_rng(seed)
    totals = {name: _write_split(root / name, rng, count, side) for name, count in (("train", train), ("val", val))}
    names = ("background", "floor", "human")
    classes = [
        {"id": number, "name": name, "colour": "#{:02x}{:02x}{:02x}".format(*COLOURS[number]), "critical": number == 2}
        for number, name in enumerate(names)
    ]
    facts = {
        "schema": 1,
        "tile_px": side,
        "overlap_px": 8,
        "scale": 1.0,
        "num_classes": 3,
        "ignore_index": VOID,
        "classes": classes,
        "taxonomy_version": 1,
        "tiles": {"train": train, "val": val},
        "class_px": totals["train"],
        "dataset_digest": "d",
        "digest": f"{train}-{val}-{side}-{seed}",
    }
    (root / "tiles.json").write_text(json.dumps(facts))
    return root


def _write_split(folder: Path, rng: np.random.Generator, count: int, side: int) -> list[int]:
    folder.mkdir(parents=True)
    tiles = np.stack([_tile(rng, side, number) for number in range(count)])
    for shard, first in enumerate(range(0, count, PER_SHARD)):
        np.save(folder / f"shard-{shard:05d}.npy", tiles[first : first + PER_SHARD])
    class_px = [np.bincount(tile[..., 3].ravel(), minlength=256)[:3].tolist() for tile in tiles]
    number = np.arange(count)
    place = {"tile": number, "shard": number // PER_SHARD, "offset": number % PER_SHARD, "y": 0, "x": 0}
    pd.DataFrame({**place, "item_id": "item", "class_px": class_px}).to_parquet(folder / "index.parquet")
    return np.sum(class_px, axis=0).tolist()  # type: ignore[no-any-return]


def _tile(rng: np.random.Generator, side: int, number: int) -> np.ndarray:
    mask = np.zeros((side, side), dtype=np.uint8)
    mask[side // 2 + rng.integers(-4, 4) :] = 1
    if number % 4 == 0:
        top, left = rng.integers(0, side // 2, size=2)
        mask[top : top + side // 2, left : left + side // 3] = 2
    image = np.array(COLOURS)[mask] + rng.normal(0, 10, (side, side, 3))
    mask[:1] = VOID
    return np.dstack([image.clip(0, 255).astype(np.uint8), mask])
