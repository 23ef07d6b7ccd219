"""Stage: cuts the accepted items into memory-mapped tiles and lists the holdout with its digest."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from pydantic import Field, ValidationInfo, field_validator

from pipeline.command import progress, run
from pipeline.errors import UserError
from pipeline.files import atomic_dir, digest_json, read_json, read_table, write_json
from pipeline.images import Limits, decode_image, decode_mask
from pipeline.params import Section, read_section
from pipeline.parts import read_index, read_items, slice_columns
from pipeline.splits import HOLDOUT
from pipeline.taxonomy import Taxonomy, load_taxonomy
from training.tiling import tile_origins

SCHEMA = 1
TILED_SPLITS = ("train", "val")
ITEM_KEY = ["item_id", "revision"]
CATALOG_COLUMNS = {
    *ITEM_KEY, "part", "row_group", "row", "group", "sequence_index", "annotator", "source", "width", "height",
    "sha256", "mask_sha256",
}  # fmt: skip
# What a version remembers of each image that taught it: its lineage, and what changed since another version.
LISTED = [*ITEM_KEY, "group", "split", "image_sha256", "mask_sha256", "annotator", "source"]


class PrepareParams(Section):
    """Section `prepare`: the tiles' geometry and the limits of decoding."""

    tile_px: int = Field(ge=16)
    overlap_px: int = Field(ge=0)
    scale: float = Field(gt=0, le=1)
    shard_tiles: int = Field(ge=1)
    workers: int = Field(ge=0)

    @field_validator("overlap_px")
    @classmethod
    def _is_less_than_a_tile(cls, overlap_px: int, info: ValidationInfo) -> int:
        tile_px = info.data.get("tile_px")
        if tile_px is not None and overlap_px >= tile_px:
            raise ValueError(f"must be less than tile_px, which is {tile_px}")
        return overlap_px


@dataclass(frozen=True)
class TilingJob:
    """What a worker needs besides the rows that it tiles."""

    dataset: Path
    out: Path
    params: PrepareParams
    limits: Limits
    num_classes: int
    ignore_index: int


def main(
    dataset: Annotated[Path, typer.Option(help="The dataset's folder.")],
    catalog: Annotated[Path, typer.Option(help="The catalogue of `catalog`.")],
    validation: Annotated[Path, typer.Option(help="The folder of `validate`.")],
    out: Annotated[Path, typer.Option(help="Folder of the tiles to write.")],
    holdout: Annotated[Path, typer.Option(help="The holdout's list to write.")],
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Cut the accepted items into memory-mapped tiles; list the holdout with its digest.

    Beside the tiles, `items.parquet` names the items they were cut from.

    Example: segloop prepare --dataset data/demo --catalog data/catalog.parquet --validation data/validation
    --out data/tiles --holdout data/holdout.json
    """
    settings = read_section(PrepareParams, "prepare", params)
    limits = read_section(Limits, "limits", params)
    classes = load_taxonomy(taxonomy)
    if not dataset.is_dir():
        raise UserError(f"There is no dataset at {dataset}. Ingest one with `segloop ingest`, or name another folder.")
    items = accepted_items(catalog, validation)
    for split in (*TILED_SPLITS, HOLDOUT):
        if not (items["split"] == split).any():
            raise UserError(
                f"Split '{split}' has no accepted item in {validation}: see its quarantine.csv, or add data."
            )
    verdict = read_json(validation / "verdict.json", "run `dvc repro validate`")
    with atomic_dir(out) as folder:
        job = TilingJob(dataset, folder, settings, limits, classes.num_classes, classes.ignore_index)
        index = write_tiles(job, items[items["split"].isin(TILED_SPLITS)])
        taught = items[items["split"].isin(TILED_SPLITS)].rename(columns={"sha256": "image_sha256"})
        taught[LISTED].to_parquet(folder / "items.parquet", index=False)
        write_json(folder / "tiles.json", describe(items, index, classes, settings))
    held_out = items[items["split"] == HOLDOUT]
    slices = slice_columns(read_index(dataset))
    write_json(holdout, holdout_list(held_out, slices, classes, verdict["acknowledged"]))
    counts = ", ".join(f"{len(tiles)} {split} tiles" for split, tiles in index.items())
    print(f"prepared {counts} of {settings.tile_px} px; holdout of {len(held_out)} images")


def accepted_items(catalog: Path, validation: Path) -> pd.DataFrame:
    """The catalogue's rows that validation accepted, with their split, sorted by item.

    Raises:
        UserError: A file is missing, damaged or something else, or the verdict was given on another catalogue.
    """
    rows = read_table(catalog, CATALOG_COLUMNS, "run `dvc repro catalog`")
    verdicts = read_table(validation / "items.parquet", {*ITEM_KEY, "split", "accepted"}, "run `dvc repro validate`")
    if len(rows) != len(verdicts) or len(joined := rows.merge(verdicts, on=ITEM_KEY)) != len(rows):
        raise UserError(
            f"{validation} judged {len(verdicts)} items, {catalog} has {len(rows)}: run `dvc repro validate`."
        )
    return joined[joined["accepted"]].sort_values("item_id").reset_index(drop=True)


def write_tiles(job: TilingJob, items: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Writes the shards and the index of each split, row groups in parallel.

    Args:
        job: Where from, where to and how.
        items: Accepted rows of the catalogue with `split`.

    Returns:
        The index by split: tile, shard, offset, item_id, y, x, class_px.
    """
    placed = _place(items, job.params)
    for split in TILED_SPLITS:
        _allocate(job, split, int(placed.loc[placed["split"] == split, "tiles"].sum()))
    groups = [rows for _, rows in placed.groupby(["part", "row_group"], sort=True)]
    written: list[dict[str, Any]] = []
    with ProcessPoolExecutor(job.params.workers or None) as pool:
        done = pool.map(_tile_row_group, [job] * len(groups), groups)
        for tiles in progress(done, total=len(groups), label="tiles"):
            written.extend(tiles)
    index = pd.DataFrame(written).sort_values(["split", "tile"])
    by_split = {split: index[index["split"] == split].drop(columns="split") for split in TILED_SPLITS}
    for split, table in by_split.items():
        table.to_parquet(job.out / split / "index.parquet", index=False)
    return by_split


def cut(image: np.ndarray, mask: np.ndarray, job: TilingJob) -> Iterator[tuple[int, int, np.ndarray]]:
    """Cuts one image and its mask into tiles.

    Args:
        image: Shape (H, W, 3), uint8 RGB, already scaled.
        mask: Shape (H, W), uint8.
        job: Gives the geometry; an image smaller than a tile is padded, its mask with void.

    Yields:
        y and x of the tile's corner, and the tile of shape (T, T, 4), uint8: RGB and mask.
    """
    side, overlap = job.params.tile_px, job.params.overlap_px
    block = np.dstack([image, mask])
    for y in tile_origins(block.shape[0], side, overlap):
        for x in tile_origins(block.shape[1], side, overlap):
            content = block[y : y + side, x : x + side]
            tile = np.zeros((side, side, 4), dtype=np.uint8)
            tile[..., 3] = job.ignore_index
            tile[: content.shape[0], : content.shape[1]] = content
            yield y, x, tile


def describe(
    items: pd.DataFrame, index: dict[str, pd.DataFrame], taxonomy: Taxonomy, params: PrepareParams
) -> dict[str, Any]:
    """The facts of `tiles.json`: geometry, classes, counts and digests."""
    facts = {
        "schema": SCHEMA,
        "tile_px": params.tile_px,
        "overlap_px": params.overlap_px,
        "scale": params.scale,
        "num_classes": taxonomy.num_classes,
        "ignore_index": taxonomy.ignore_index,
        "classes": [each.model_dump() for each in taxonomy.classes],
        "taxonomy_version": taxonomy.version,
        "tiles": {split: len(tiles) for split, tiles in index.items()},
        "class_px": np.stack(index["train"]["class_px"].tolist()).sum(axis=0).tolist(),
        "dataset_digest": dataset_digest(taxonomy.version, items.rename(columns={"sha256": "image_sha256"})),
    }
    return facts | {"digest": digest_json(facts)}


def dataset_digest(taxonomy_version: object, items: pd.DataFrame) -> str:
    """The digest over every accepted item: its name, revision, image, mask and split.

    Args:
        taxonomy_version: Of the masks' classes.
        items: Sorted by item; with `item_id`, `revision`, `image_sha256`, `mask_sha256`, `split`.
    """
    rows = items[[*ITEM_KEY, "image_sha256", "mask_sha256", "split"]].astype(str).to_numpy().tolist()
    return digest_json([taxonomy_version, rows])


def holdout_list(items: pd.DataFrame, slices: list[str], taxonomy: Taxonomy, acknowledged: list[Any]) -> dict[str, Any]:
    """The facts of `holdout.json`; its digest covers each accepted item's name, image and mask."""
    listed = [
        {
            "item_id": row["item_id"],
            "revision": int(row["revision"]),
            "image_sha256": row["sha256"],
            "mask_sha256": row["mask_sha256"],
            "group": row["group"],
            "sequence_index": None if pd.isna(row["sequence_index"]) else int(row["sequence_index"]),
            "slices": {name: row[name] for name in slices if pd.notna(row[name])},
        }
        for row in items.to_dict("records")
    ]
    content = [[row["item_id"], row["image_sha256"], row["mask_sha256"]] for row in listed]
    return {
        "schema": SCHEMA,
        "digest": digest_json(content),
        "taxonomy_version": taxonomy.version,
        "acknowledged": acknowledged,
        "items": listed,
    }


def _scaled_size(width: int, height: int, scale: float) -> tuple[int, int]:
    return max(1, round(width * scale)), max(1, round(height * scale))


def _tile_count(width: int, height: int, params: PrepareParams) -> int:
    width, height = _scaled_size(width, height, params.scale)
    side, overlap = params.tile_px, params.overlap_px
    return len(tile_origins(height, side, overlap)) * len(tile_origins(width, side, overlap))


def _place(items: pd.DataFrame, params: PrepareParams) -> pd.DataFrame:
    """Adds `tiles` (how many) and `first` (the number of its first tile in its split) to each row."""
    sizes = zip(items["width"], items["height"], strict=True)
    counted = items.assign(tiles=[_tile_count(int(width), int(height), params) for width, height in sizes])
    return counted.assign(first=counted.groupby("split")["tiles"].cumsum() - counted["tiles"])


def _allocate(job: TilingJob, split: str, tiles: int) -> None:
    (job.out / split).mkdir()
    side, full = job.params.tile_px, job.params.shard_tiles
    for shard, first in enumerate(range(0, tiles, full)):
        shape = (min(full, tiles - first), side, side, 4)
        path = _shard(job.out, split, shard)
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape).flush()
        with path.open("r+b") as file:
            # A full disk must be an error here: writing to a mapped page without a block kills the process.
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _shard(out: Path, split: str, shard: int) -> Path:
    return out / split / f"shard-{shard:05d}.npy"


def _tile_row_group(job: TilingJob, rows: pd.DataFrame) -> list[dict[str, Any]]:
    written = []
    for row, image, mask in read_items(job.dataset, rows):
        pixels, labels = _scaled(image, mask, job)
        for number, (y, x, tile) in enumerate(cut(pixels, labels, job), start=int(row["first"])):
            shard, offset = divmod(number, job.params.shard_tiles)
            np.load(_shard(job.out, row["split"], shard), mmap_mode="r+")[offset] = tile
            counts = np.bincount(tile[..., 3].ravel(), minlength=job.num_classes)[: job.num_classes]
            place = {"split": row["split"], "tile": number, "shard": shard, "offset": offset}
            written.append({**place, "item_id": row["item_id"], "y": y, "x": x, "class_px": counts.tolist()})
    return written


def _scaled(image: bytes, mask: bytes, job: TilingJob) -> tuple[np.ndarray, np.ndarray]:
    import cv2

    pixels, labels = decode_image(image, job.limits), decode_mask(mask, job.limits)
    size = _scaled_size(pixels.shape[1], pixels.shape[0], job.params.scale)
    if size == (pixels.shape[1], pixels.shape[0]):
        return pixels, labels
    return (
        cv2.resize(pixels, size, interpolation=cv2.INTER_AREA),
        cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT),
    )


if __name__ == "__main__":
    run(main)
