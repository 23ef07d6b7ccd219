"""Training tiles, gathered by the batch from memory-mapped shards."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.data import Dataset

_KEYS = ("tile_px", "overlap_px", "scale", "num_classes", "ignore_index", "classes", "class_px", "digest")


@dataclass(frozen=True)
class TileFolder:
    """A folder of tiles: `tiles.json`, and per split `index.parquet` and `shard-*.npy`.

    Attributes:
        path: The folder.
        facts: The content of `tiles.json`.
    """

    path: Path
    facts: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "TileFolder":
        """Read the folder's facts.

        Raises:
            ValueError: There is no `tiles.json`, it is damaged, or it lacks a key.
        """
        file = path / "tiles.json"
        if not file.is_file():
            raise ValueError(f"There are no tiles in {path}: {file} is missing. Run the stage that prepares tiles.")
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file} is damaged ({error}). Prepare the tiles again.") from None
        if not isinstance(facts, dict):
            raise ValueError(f"{file} holds no JSON object. Prepare the tiles again.")  # noqa: TRY004 - the file's fault
        missing = [key for key in _KEYS if key not in facts]
        if missing:
            raise ValueError(f"{file} lacks {', '.join(missing)}. Prepare the tiles again.")
        return cls(path, facts)

    def split(self, name: str) -> "TileDataset":
        """Open the tiles of `train` or `val`.

        Raises:
            ValueError: The split has no tiles, or every pixel of it is void.
        """
        return TileDataset(self.path / name, int(self.facts["tile_px"]), int(self.facts["ignore_index"]))

    @property
    def class_names(self) -> list[str]:
        """Class names by id."""
        return [str(each["name"]) for each in self.facts["classes"]]


class TileDataset(Dataset[np.ndarray]):
    """Tiles of one split, RGB and mask in one block.

    The loader asks for whole batches: one fancy index into a memory map instead of a copy per tile and a collation.

    Args:
        folder: Holds `index.parquet` and the shards.
        tile_px: Side of a tile in pixels.
        ignore_index: The void label.

    Attributes:
        class_px: Pixels by class, shape (tiles, classes), int64.

    Raises:
        ValueError: There are no tiles, every pixel is void, or a file is missing or damaged.
    """

    def __init__(self, folder: Path, tile_px: int, ignore_index: int) -> None:
        index = _read_index(folder / "index.parquet")
        if index.empty:
            raise ValueError(f"{folder} holds no tiles. Put more groups into this split, or accept more items.")
        self.class_px = np.stack([np.asarray(row, dtype=np.int64) for row in index["class_px"]])
        if not self.class_px.any():
            raise ValueError(f"Every pixel of the {len(index)} tiles in {folder} is void: nothing can be learnt.")
        self._folder = folder
        self._blank = np.zeros((tile_px, tile_px, 4), dtype=np.uint8)
        self._blank[..., 3] = ignore_index
        self._shard = index["shard"].to_numpy()
        self._offset = index["offset"].to_numpy()
        self._maps: dict[int, np.ndarray] = {}
        for shard in np.unique(self._shard):
            self._check(int(shard), int(self._offset[self._shard == shard].max()))

    def __len__(self) -> int:
        """How many tiles there are."""
        return len(self._shard)

    def __getitem__(self, index: int) -> np.ndarray:
        """One tile, shape (T, T, 4), uint8: RGB and mask."""
        tile: np.ndarray = self.__getitems__([index])[0]
        return tile

    def __getitems__(self, indices: Sequence[int]) -> np.ndarray:
        """A batch, shape (B, T, T, 4), uint8; a negative index gives a tile that is all void."""
        wanted = np.asarray(indices)
        if wanted.min(initial=0) < 0:
            return self._with_void(wanted)
        shards = self._shard[wanted]
        batch: np.ndarray = np.empty((len(wanted), *self._blank.shape), dtype=np.uint8)
        for shard in np.unique(shards):
            here = shards == shard
            batch[here] = self._map(int(shard))[self._offset[wanted[here]]]
        return batch

    def __getstate__(self) -> dict[str, Any]:
        """Leave the memory maps behind: a worker opens its own rather than receive every byte."""
        return {**self.__dict__, "_maps": {}}

    def _with_void(self, wanted: np.ndarray) -> np.ndarray:
        batch: np.ndarray = np.repeat(self._blank[None], len(wanted), axis=0)
        real = wanted >= 0
        if real.any():
            batch[real] = self.__getitems__(wanted[real].tolist())
        return batch

    def _map(self, shard: int) -> np.ndarray:
        if shard not in self._maps:
            self._maps[shard] = _open_shard(self._file(shard))
        return self._maps[shard]

    def _file(self, shard: int) -> Path:
        return self._folder / f"shard-{shard:05d}.npy"

    def _check(self, shard: int, last: int) -> None:
        tiles = self._map(shard)
        if tiles.dtype != np.uint8 or tiles.shape[1:] != self._blank.shape or len(tiles) <= last:
            raise ValueError(
                f"{self._file(shard)} holds {tiles.dtype} {tiles.shape}, not tile {last} of uint8 {self._blank.shape}. "
                "Prepare the tiles again."
            )


def _open_shard(file: Path) -> np.ndarray:
    try:
        tiles: np.ndarray = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{file} is missing or damaged ({error}). Prepare the tiles again.") from None
    return tiles


def _read_index(file: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(file, columns=["shard", "offset", "class_px"])
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is missing or damaged ({error}). Prepare the tiles again.") from None


def class_weights(class_px: np.ndarray, power: float) -> np.ndarray | None:
    """Loss weights by class: frequency to the power of minus `power`, so that the mean pixel weighs 1.

    Args:
        class_px: Training pixels by class, shape (classes,). A class without pixels gets weight 0.
        power: 0 for none, 1 for inverse frequency, in between for a milder form.

    Returns:
        Shape (classes,), float64; None when `power` is 0.
    """
    if power == 0:
        return None
    frequency = class_px / class_px.sum()
    seen = frequency > 0
    raw = np.where(seen, np.where(seen, frequency, 1.0) ** -power, 0.0)
    weights: np.ndarray = raw / (frequency * raw).sum()
    return weights


def channel_statistics(tiles: TileDataset, sample: int, ignore_index: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation by channel over evenly spaced tiles, in [0, 1], void pixels left out."""
    chosen = np.unique(np.linspace(0, len(tiles) - 1, min(sample, len(tiles))).astype(int))
    block = tiles.__getitems__(chosen.tolist())
    valid = block[..., 3] != ignore_index
    pixels = block[..., :3][valid if valid.any() else np.ones_like(valid)] / 255.0
    return pixels.mean(axis=0).tolist(), np.maximum(pixels.std(axis=0), 1 / 255).tolist()
