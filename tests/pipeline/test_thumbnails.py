"""Thumbnails, and whether they show the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import scene, tiny_items

from pipeline.images import Limits, decode_image
from pipeline.part_writer import write_batch
from pipeline.parts import read_index
from pipeline.thumbnails import SIDE, DatasetReader, correlation, thumbnail


def test_other_light_changes_nothing_and_other_content_does() -> None:
    """The correlation is Pearson's: 1 for a brighter, paler copy, what numpy says for another picture."""
    rng = np.random.default_rng(0)
    one, other = (thumbnail(scene(rng, (96, 128), 5)[0]) for _ in range(2))
    paler = (one * 0.5 + 60).astype(np.uint8)
    found = correlation(np.stack([one, one]), np.stack([paler, other]))
    assert found[0] > 0.999
    assert found[1] == pytest.approx(np.corrcoef(one, other)[0, 1], abs=1e-4)


def test_pictures_of_one_colour_are_alike_and_unlike_all_others() -> None:
    """Where nothing varies there is no correlation to compute: black is like white, and like nothing else."""
    black, white = np.zeros((1, SIDE**2), np.uint8), np.full((1, SIDE**2), 255, np.uint8)
    rough = np.random.default_rng(0).integers(0, 256, (1, SIDE**2)).astype(np.uint8)
    assert correlation(black, white).tolist() == [1.0]
    assert correlation(black, rough).tolist() == [0.0]


def test_thumbnails_come_in_the_order_of_the_rows(tmp_path: Path, limits: Limits) -> None:
    """Whatever rows are asked for, in whatever order, over several row groups; one that cannot be read is black."""
    items = [*tiny_items(groups=20), replace(next(tiny_items()), item_id="z", image=b"no image")]
    write_batch(tmp_path, "first", items, ["camera"])
    rows = read_index(tmp_path).iloc[[40, 33, 2]]
    found = DatasetReader(tmp_path, limits)(rows)
    wanted = {item.item_id: item for item in items}
    assert found[0].max() == 0
    for place in (1, 2):
        image = wanted[rows["item_id"].iloc[place]].image
        assert (found[place] == thumbnail(decode_image(image, limits))).all()
