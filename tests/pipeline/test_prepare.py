"""Tests of tiling the dataset and listing the holdout."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import UserError
from pipeline.files import sha256_bytes
from pipeline.images import Limits, decode_image, decode_mask
from pipeline.parts import read_index, read_items
from pipeline.prepare import main
from pipeline.splits import read_ledger

LIMITS = Limits(max_bytes=2**24, max_pixels=2**22)


@pytest.fixture
def prepared(
    tmp_path: Path, tiny_dataset: Callable[..., Path], params_file: Callable[..., Path], taxonomy_file: Path
) -> Callable[..., Path]:
    """Prepares a tiny dataset whose items are accepted, but for those named, and gives the folder of outputs."""

    def prepare(*, rejected: tuple[str, ...] = (), workers: int = 2, **geometry: object) -> Path:
        root = tmp_path / "data" / "dataset"
        if not root.exists():
            tiny_dataset()
        _judge(root, tmp_path / "data", rejected)
        geometry = {"tile_px": 32, "overlap_px": 8, "scale": 1.0, "shard_tiles": 5, "workers": workers} | geometry
        main(
            dataset=root,
            catalog=tmp_path / "data" / "catalog.parquet",
            validation=tmp_path / "data" / "validation",
            out=tmp_path / "data" / "tiles",
            holdout=tmp_path / "data" / "holdout.json",
            taxonomy=taxonomy_file,
            params=params_file(prepare=geometry),
        )
        return tmp_path / "data"

    return prepare


def _judge(root: Path, out: Path, rejected: tuple[str, ...]) -> None:
    """Writes a catalogue and a validation of the dataset's items, as the stages before would."""
    index = read_index(root)
    masks = {row["item_id"]: sha256_bytes(mask) for row, _, mask in read_items(root, index)}
    catalog = index.assign(width=64, height=48, mask_sha256=index["item_id"].map(masks))
    catalog.to_parquet(out / "catalog.parquet")
    ledger = read_ledger(root / "splits.csv")
    splits = [ledger.split_of(group, None) for group in index["group"]]
    items = pd.DataFrame({"item_id": index["item_id"], "revision": index["revision"], "split": splits})
    items["accepted"], items["reasons"] = ~items["item_id"].isin(rejected), ""
    (out / "validation").mkdir(exist_ok=True)
    items.to_parquet(out / "validation" / "items.parquet")
    (out / "validation" / "verdict.json").write_text(json.dumps({"acknowledged": []}))


def _tiles(folder: Path, split: str) -> tuple[np.ndarray, pd.DataFrame]:
    shards = [np.load(shard) for shard in sorted((folder / split).glob("shard-*.npy"))]
    return np.concatenate(shards), pd.read_parquet(folder / split / "index.parquet")


def test_tiles_are_the_images_and_masks_at_their_places(prepared: Callable[..., Path]) -> None:
    """Each tile holds the pixels of its item at its y and x, and the index counts its classes."""
    data = prepared()
    tiles, index = _tiles(data / "tiles", "train")
    items = {
        row["item_id"]: (image, mask) for row, image, mask in read_items(data / "dataset", read_index(data / "dataset"))
    }
    assert len(tiles) == len(index) == 6 * 2 * 3
    for row in index.to_dict("records"):
        image, mask = items[row["item_id"]]
        window = np.s_[row["y"] : row["y"] + 32, row["x"] : row["x"] + 32]
        assert np.array_equal(tiles[row["tile"]][..., :3], decode_image(image, LIMITS)[window])
        assert np.array_equal(tiles[row["tile"]][..., 3], decode_mask(mask, LIMITS)[window])
        assert np.array_equal(np.bincount(tiles[row["tile"]][..., 3].ravel(), minlength=5), row["class_px"])
        assert (row["shard"], row["offset"]) == divmod(row["tile"], 5)


def test_an_image_smaller_than_a_tile_is_padded_with_void(prepared: Callable[..., Path]) -> None:
    """What is no image is void in the mask, so that it never teaches or counts."""
    tiles, index = _tiles(prepared(tile_px=96, overlap_px=0) / "tiles", "train")
    assert len(index) == 6
    assert (tiles[:, 48:, :, 3] == 255).all()
    assert (tiles[:, :, 64:, 3] == 255).all()
    assert (tiles[:, :48, :64, 3] != 255).all()


def test_images_are_scaled_before_they_are_cut(prepared: Callable[..., Path]) -> None:
    """At half size a 64x48 image is one tile of 32 by 24, with class ids only."""
    tiles, index = _tiles(prepared(scale=0.5) / "tiles", "val")
    assert len(index) == 4
    assert (tiles[:, 24:, :, 3] == 255).all()
    assert set(np.unique(tiles[:, :24, :, 3])) <= set(range(5))


def test_the_holdout_is_listed_and_never_tiled(prepared: Callable[..., Path]) -> None:
    """Items of the split test are in the list, with their slices, and in no tile."""
    data = prepared()
    holdout = json.loads((data / "holdout.json").read_text())
    listed = {item["item_id"] for item in holdout["items"]}
    tiled = {name for split in ("train", "val") for name in _tiles(data / "tiles", split)[1]["item_id"]}
    assert listed == {"item-004", "item-005"}
    assert not listed & tiled
    assert holdout["items"][0]["slices"] == {"camera": "c0"}


def test_quarantined_items_are_left_out(prepared: Callable[..., Path]) -> None:
    """What validation did not accept is neither tiled nor held out, and the digests say so."""
    before = json.loads((prepared() / "holdout.json").read_text())["digest"]
    data = prepared(rejected=("item-000", "item-005"))
    holdout = json.loads((data / "holdout.json").read_text())
    assert [item["item_id"] for item in holdout["items"]] == ["item-004"]
    assert holdout["digest"] != before
    assert "item-000" not in set(_tiles(data / "tiles", "train")[1]["item_id"])


def test_the_tiles_do_not_depend_on_the_number_of_workers(prepared: Callable[..., Path]) -> None:
    """One process and two write the same bytes."""
    first = {file.name: file.read_bytes() for file in (prepared(workers=1) / "tiles").rglob("*.*")}
    second = {file.name: file.read_bytes() for file in (prepared(workers=2) / "tiles").rglob("*.*")}
    assert first == second


def test_a_split_without_accepted_items_is_an_error(prepared: Callable[..., Path], tmp_path: Path) -> None:
    """The message names the split and where to look, and no tiles are left behind."""
    with pytest.raises(UserError, match="Split 'test' has no accepted item"):
        prepared(rejected=("item-004", "item-005"))
    assert not (tmp_path / "data" / "tiles").exists()


def test_a_verdict_on_another_catalogue_is_refused(prepared: Callable[..., Path]) -> None:
    """Stale validation is noticed by its items."""
    data = prepared()
    catalog = pd.read_parquet(data / "catalog.parquet")
    with pytest.raises(UserError, match=r"judged 12 items, .* has 11"):
        _prepare_again(data, catalog.iloc[1:])


def _prepare_again(data: Path, catalog: pd.DataFrame) -> None:
    catalog.to_parquet(data / "catalog.parquet")
    main(
        dataset=data / "dataset",
        catalog=data / "catalog.parquet",
        validation=data / "validation",
        out=data / "tiles",
        holdout=data / "holdout.json",
        taxonomy=data / "taxonomy.yaml",
        params=data.parent / "params.yaml",
    )
