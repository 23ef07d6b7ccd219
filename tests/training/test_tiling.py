"""Tiling covers every pixel once and blending changes nothing that the tiles agree on."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.tiling import Predict, Strip, TileGrid, predict_strips, tile_origins

CLASSES = 4
Tiling = tuple[tuple[int, int], dict[str, int]]  # (height, width) and options of predict_strips


@st.composite
def tilings(draw: st.DrawFn) -> Tiling:
    """Image size, tile, overlap and batch, the image larger or smaller than a tile in either dimension."""
    tile_px = draw(st.integers(1, 40))
    overlap_px = draw(st.integers(0, tile_px - 1).filter(lambda overlap: tile_px - overlap > tile_px // 8))
    shape = draw(st.tuples(st.integers(1, 150), st.integers(1, 90)))
    return shape, {"tile_px": tile_px, "overlap_px": overlap_px, "batch_size": draw(st.integers(1, 5))}


def assemble(image: np.ndarray, predict: Predict, options: dict) -> np.ndarray:
    """All strips of a prediction as one (C, H, W) array, after checking that they follow each other."""
    strips = list(predict_strips(image, predict, num_classes=CLASSES, **options))
    heights = [strip.probabilities.shape[1] for strip in strips]
    assert [strip.y0 for strip in strips] == [0, *np.cumsum(heights)[:-1]]
    return np.concatenate([strip.probabilities for strip in strips], axis=1)


@settings(deadline=None)
@given(tiling=tilings(), seed=st.integers(0, 2**32 - 1))
def test_identity_model_gives_the_same_map(tiling: Tiling, seed: int) -> None:
    """A model that reads the class off the pixel gives exactly that map, at any size."""
    shape, options = tiling
    image = np.random.default_rng(seed).integers(0, CLASSES, (*shape, 1), dtype=np.uint8).repeat(3, axis=2)
    expected_tile = tuple(min(options["tile_px"], length) for length in shape)

    def predict(tiles: np.ndarray) -> np.ndarray:
        assert tiles.shape[1:3] == expected_tile
        assert len(tiles) <= options["batch_size"]
        return (tiles[:, np.newaxis, :, :, 0] == np.arange(CLASSES)[:, np.newaxis, np.newaxis]).astype(np.float32)

    blended = assemble(image, predict, options)
    assert blended.shape == (CLASSES, *shape)
    np.testing.assert_array_equal(blended.argmax(axis=0), image[..., 0])
    np.testing.assert_allclose(blended.max(axis=0), 1, rtol=1e-5)


@settings(deadline=None)
@given(tiling=tilings())
def test_constant_in_constant_out(tiling: Tiling) -> None:
    """A model that always says the same gives the same everywhere: no seams, no fading at the border."""
    shape, options = tiling
    constant = np.array([0.1, 0.2, 0.3, 0.4], np.float32)[:, np.newaxis, np.newaxis]
    blended = assemble(
        np.zeros((*shape, 3), np.uint8),
        lambda tiles: np.broadcast_to(constant, (len(tiles), CLASSES, *tiles.shape[1:3])),
        options,
    )
    np.testing.assert_allclose(blended, np.broadcast_to(constant, (CLASSES, *shape)), rtol=1e-5)


@given(length=st.integers(1, 500), tile_px=st.integers(1, 64), data=st.data())
def test_origins_cover_with_the_overlap(length: int, tile_px: int, data: st.DataObject) -> None:
    """Tiles reach from border to border, none sticks out, and neighbours overlap at least as told."""
    overlap_px = data.draw(st.integers(0, tile_px - 1))
    origins = tile_origins(length, tile_px, overlap_px)
    assert origins[0] == 0
    assert origins[-1] == max(length - tile_px, 0)
    steps = np.diff(origins)
    assert (steps > 0).all()
    assert (steps <= tile_px - overlap_px).all()


@settings(deadline=None)
@given(tiling=tilings())
def test_shares_weigh_tiles_by_the_pixels_they_decide(tiling: Tiling) -> None:
    """Values per tile weighted by their shares give the mean over the image of the blended values."""
    shape, options = tiling
    grid = TileGrid(*shape, options["tile_px"], options["overlap_px"])
    values = np.arange(len(grid.origins()), dtype=np.float32)
    waiting = iter(values)

    def predict(tiles: np.ndarray) -> np.ndarray:
        constants = np.array([next(waiting) for _ in tiles], np.float32)[:, np.newaxis, np.newaxis, np.newaxis]
        return np.broadcast_to(constants, (len(tiles), CLASSES, *tiles.shape[1:3]))

    blended = assemble(np.zeros((*shape, 3), np.uint8), predict, options)
    assert grid.shares().sum() == pytest.approx(1)
    assert grid.shares() @ values == pytest.approx(blended.mean(dtype=np.float64), rel=1e-5)


def test_blending_is_smooth_across_a_seam() -> None:
    """Two tiles that disagree are joined by a ramp over the overlap, without a jump."""
    waiting = iter([0.0, 1.0])

    def predict(tiles: np.ndarray) -> np.ndarray:
        return np.full((1, CLASSES, *tiles.shape[1:3]), next(waiting), np.float32)

    options = {"tile_px": 16, "overlap_px": 8, "batch_size": 1}
    line = assemble(np.zeros((4, 24, 3), np.uint8), predict, options)[0, 0]
    assert (line[:8] == 0).all()
    assert (line[16:] == 1).all()
    assert (np.diff(line[7:17]) > 0).all()
    assert np.diff(line).max() < 0.25


@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(1, 6))
def test_top_is_argmax(seed: int, classes: int) -> None:
    """The top class and its probability are those of argmax and max, ties included."""
    probabilities = np.random.default_rng(seed).integers(0, 4, (classes, 3, 5)).astype(np.float32)
    labels, confidence = Strip(0, probabilities).top()
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, probabilities.argmax(axis=0))
    np.testing.assert_array_equal(confidence, probabilities.max(axis=0))


def test_strips_belong_to_the_receiver() -> None:
    """A strip that was kept or overwritten neither changes later nor spoils what follows."""
    image = np.zeros((200, 30, 3), np.uint8)

    def strips() -> Iterator[Strip]:
        return predict_strips(
            image,
            lambda tiles: np.ones((len(tiles), 1, *tiles.shape[1:3]), np.float32),
            tile_px=64,
            overlap_px=32,
            num_classes=1,
            batch_size=2,
        )

    for strip in strips():
        np.testing.assert_allclose(strip.probabilities, 1, rtol=1e-6)
        strip.probabilities[:] = np.nan


@pytest.mark.parametrize(
    ("image", "changes", "message"),
    [
        (np.zeros((8, 8), np.uint8), {}, r"shape \(8, 8\)"),
        (np.zeros((8, 8, 3), np.float32), {}, "float32"),
        (np.zeros((0, 8, 3), np.uint8), {}, "cannot tile 0 px"),
        (np.zeros((8, 8, 3), np.uint8), {"overlap_px": 4}, "overlap_px 4"),
        (np.zeros((8, 8, 3), np.uint8), {"batch_size": 0}, "batch_size is 0"),
        (np.zeros((8, 8, 3), np.uint8), {"num_classes": 2}, r"expected \(1, 2, 4, 4\)"),
    ],
)
def test_wrong_input_is_named(image: np.ndarray, changes: dict[str, int], message: str) -> None:
    """An image, a size or a prediction that does not fit is an error that shows the value."""
    options = {"tile_px": 4, "overlap_px": 1, "num_classes": 1, "batch_size": 1, **changes}
    with pytest.raises(ValueError, match=message):
        list(predict_strips(image, lambda tiles: np.ones((len(tiles), 1, 4, 4), np.float32), **options))
