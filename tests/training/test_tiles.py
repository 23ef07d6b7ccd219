"""Tests of the tiles: what is gathered is what was written."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from tile_folder import VOID, write_tiles

from training.tiles import TileFolder, channel_statistics, class_weights


@pytest.fixture
def folder(tmp_path: Path) -> TileFolder:
    """Twelve training tiles in three shards."""
    return TileFolder.read(write_tiles(tmp_path / "tiles"))


def test_a_batch_over_shards_is_the_tiles_in_the_order_asked_for(folder: TileFolder) -> None:
    """Gathering equals taking each tile from its own file."""
    written = np.concatenate([np.load(file) for file in sorted((folder.path / "train").glob("shard-*.npy"))])
    wanted = [11, 0, 6, 6, 4]
    assert (folder.split("train").__getitems__(wanted) == written[wanted]).all()


def test_a_negative_number_is_a_void_tile(folder: TileFolder) -> None:
    """Padding carries the void label in its mask and leaves the other tiles as they are."""
    tiles = folder.split("val")
    batch = tiles.__getitems__([-1, 2])
    assert (batch[0, ..., 3] == VOID).all()
    assert (batch[1] == tiles[2]).all()


def test_a_worker_receives_paths_not_bytes(folder: TileFolder) -> None:
    """Pickling after use carries no shard, and the copy gathers the same."""
    tiles = folder.split("train")
    before = tiles[3]
    pickled = pickle.dumps(tiles)
    assert len(pickled) < 10_000
    assert (pickle.loads(pickled)[3] == before).all()  # noqa: S301 - our own bytes


def test_no_tiles_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    """A folder without tiles.json says so."""
    with pytest.raises(ValueError, match=r"tiles\.json is missing"):
        TileFolder.read(tmp_path)


def test_a_missing_fact_is_named(folder: TileFolder) -> None:
    """A key that tiles.json lacks is an error that names it."""
    facts = {key: value for key, value in folder.facts.items() if key != "tile_px"}
    (folder.path / "tiles.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="tile_px"):
        TileFolder.read(folder.path)


def test_an_all_void_split_is_refused(tmp_path: Path) -> None:
    """A split without a labelled pixel teaches nothing, and says so."""
    root = write_tiles(tmp_path / "tiles")
    import pandas as pd

    index = pd.read_parquet(root / "val" / "index.parquet")
    index["class_px"] = [[0, 0, 0]] * len(index)
    index.to_parquet(root / "val" / "index.parquet")
    with pytest.raises(ValueError, match="void"):
        TileFolder.read(root).split("val")


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    """A split without tiles is an error with a remedy."""
    root = write_tiles(tmp_path / "tiles")
    import pandas as pd

    pd.read_parquet(root / "val" / "index.parquet").iloc[:0].to_parquet(root / "val" / "index.parquet")
    with pytest.raises(ValueError, match="holds no tiles"):
        TileFolder.read(root).split("val")


def test_class_weights_follow_inverse_frequency() -> None:
    """At power 1 weights are inversely proportional to the pixels; the mean pixel weighs 1; absent classes weigh 0."""
    pixels = np.array([90, 10, 0])
    weights = class_weights(pixels, 1.0)
    assert weights is not None
    assert weights[1] / weights[0] == pytest.approx(9)
    assert (pixels * weights).sum() / pixels.sum() == pytest.approx(1)
    assert weights[2] == 0
    assert class_weights(pixels, 0.0) is None


def test_channel_statistics_leave_void_out(folder: TileFolder) -> None:
    """Mean and deviation are those of the labelled pixels."""
    tiles = folder.split("train")
    block = tiles.__getitems__(range(len(tiles)))
    pixels = block[..., :3][block[..., 3] != VOID] / 255
    mean, std = channel_statistics(tiles, len(tiles), VOID)
    assert mean == pytest.approx(pixels.mean(axis=0).tolist())
    assert std == pytest.approx(pixels.std(axis=0).tolist())


@pytest.mark.parametrize("content", [b"", b"no array", b"half"])
@pytest.mark.parametrize("name", ["shard-00001.npy", "index.parquet"])
def test_a_damaged_file_is_named(folder: TileFolder, name: str, content: bytes) -> None:
    """A file that is empty, something else or cut short is refused by its name before anything is learnt."""
    file = folder.path / "train" / name
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content == b"half" else content)
    with pytest.raises(ValueError, match=name):
        folder.split("train")
