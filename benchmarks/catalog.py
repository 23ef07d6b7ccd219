"""Cataloguing CamVid against only decoding its images and masks, on as many processes. Run with python -m."""

import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq
import typer

from benchmarks.comparison import interleaved_ms, report
from pipeline.catalog import build_catalog
from pipeline.files import sha256_bytes
from pipeline.images import Limits, decode_image, decode_mask, encode_mask
from pipeline.item_facts import FactSettings
from pipeline.part_writer import write_batch
from pipeline.parts import Item, parts
from pipeline.read_facts import RowGroup, map_row_groups, read_bytes

CAMVID_VOID, VOID = 11, 255
LIMITS = Limits(max_bytes=2**26, max_pixels=10**8)
SETTINGS = FactSettings(num_classes=11, ignore_index=VOID, island_px=16, edge_low=50, edge_high=150, limits=LIMITS)
TARGET = 2.0


def main(
    camvid: Annotated[Path, typer.Option(help="Folder with images/SPLIT/NAME.webp and masks/SPLIT/NAME.png.")],
    rounds: Annotated[int, typer.Option(help="Measurements of each, in turns.")] = 7,
    workers: Annotated[int, typer.Option(help="Processes of both; 0 takes every core.")] = 0,
) -> None:
    """Measure how many times as long as only decoding it takes to catalogue."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "dataset"
        write_batch(dataset, "camvid", camvid_items(camvid))
        fresh = (Path(folder) / f"store-{number}" for number in count())
        cases = {
            "only decoding": partial(decode_only, dataset, workers),
            "catalogue": lambda: build_catalog(dataset, SETTINGS, next(fresh), workers),
            "catalogue, nothing new": partial(build_catalog, dataset, SETTINGS, Path(folder) / "store-0", workers),
        }
        times = interleaved_ms(cases, rounds)
    rows = [
        {"case": name, "ms": ms, "times decoding": ms / times["only decoding"], "at most": limit}
        for (name, ms), limit in zip(times.items(), ("", TARGET, ""), strict=True)
    ]
    report("catalog", f"CamVid, 701 images; processes: {workers or 'every core'}", rows, ["pillow", "imagehash"])


def camvid_items(root: Path) -> Iterator[Item]:
    """CamVid as items of a dataset, void as 255."""
    for path in sorted(root.glob("images/*/*.webp")):
        image = path.read_bytes()
        source = (root / "masks" / path.parent.name / f"{path.stem}.png").read_bytes()
        values = decode_mask(source, LIMITS)
        mask = encode_mask(np.where(values == CAMVID_VOID, VOID, values).astype(np.uint8))
        digests = {"sha256": sha256_bytes(image), "mask_source_sha256": sha256_bytes(source)}
        yield Item(path.stem, image, mask, path.name, path.name, path.stem.split("_")[0], source="camvid", **digests)


def decode_only(dataset: Path, workers: int) -> None:
    """Reads and decodes every image and mask, in the catalogue's own pool."""
    row_groups = [RowGroup(part, number) for part in parts(dataset) for number in range(row_group_count(part))]
    for _ in map_row_groups(decode, row_groups, SETTINGS, workers):
        pass


def row_group_count(part: Path) -> int:
    """How many row groups a part has."""
    with pq.ParquetFile(part) as file:
        return int(file.metadata.num_row_groups)


def decode(row_group: RowGroup, settings: FactSettings) -> None:
    """Decodes a row group and keeps nothing."""
    for image, mask in read_bytes(row_group):
        decode_image(image, settings.limits)
        decode_mask(mask, settings.limits)


if __name__ == "__main__":
    typer.run(main)
