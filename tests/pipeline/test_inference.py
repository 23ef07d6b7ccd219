"""Segmenting images of any size with an exported graph."""

from pathlib import Path

import numpy as np
import pytest
from stage_outputs import write_outputs

from pipeline.inference import Rows, Segmenter

TILE_PX = 32  # of the export that `write_outputs` makes, whose classes are the colour channels


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    """An exported graph that looks at one pixel at a time, so that tiling must not change its result."""
    return Segmenter(write_outputs(tmp_path_factory.mktemp("outputs")).export, threads=1, batch_size=2)


def picture(height: int, width: int) -> np.ndarray:
    """A random image."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (7, 90), (24, 31), (32, 32), (33, 32), (61, 127)])
def test_tiling_changes_nothing_for_a_graph_of_single_pixels(segmenter: Segmenter, size: tuple[int, int]) -> None:
    """Labels and confidence by tiles are those of the whole image in one call, at any size."""
    image = picture(*size)
    prediction = segmenter.predict(image)
    whole = segmenter.run(image[None], ("labels", "confidence"))
    np.testing.assert_array_equal(prediction.labels, whole["labels"][0])
    np.testing.assert_allclose(prediction.confidence, whole["confidence"][0], atol=1e-5)


def test_one_tile_and_its_rows_agree(segmenter: Segmenter) -> None:
    """An image of one tile gives the same by the graph's own outputs as by its blended rows."""
    image = picture(20, TILE_PX)
    seen: list[Rows] = []
    direct, by_rows = segmenter.predict(image), segmenter.predict_rows(image, seen.append)
    np.testing.assert_array_equal(direct.labels, by_rows.labels)
    np.testing.assert_allclose(direct.embedding, by_rows.embedding, rtol=1e-5)
    np.testing.assert_array_equal(np.concatenate([rows.labels for rows in seen]), direct.labels)
    assert direct.tiles == by_rows.tiles == 1


def test_expected_overlap_comes_from_the_blended_probabilities(segmenter: Segmenter) -> None:
    """Over many tiles, expected intersection and union are the sums over the rows that were shown."""
    seen: list[Rows] = []
    prediction = segmenter.predict_rows(picture(70, 45), seen.append)
    labels = np.concatenate([rows.labels for rows in seen])
    probabilities = np.concatenate([rows.probabilities for rows in seen], axis=1)
    for label in range(segmenter.num_classes):
        mine = labels == label
        assert prediction.expected_intersection[label] == pytest.approx(probabilities[label][mine].sum(), rel=1e-4)
        union = mine.sum() + probabilities[label][~mine].sum()
        assert prediction.expected_union[label] == pytest.approx(union, rel=1e-4)


def test_what_is_no_image_is_refused(segmenter: Segmenter) -> None:
    """Another type or shape is an error that names what came."""
    with pytest.raises(ValueError, match="float32"):
        segmenter.predict(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        segmenter.predict(np.zeros((4, 4), np.uint8))


def test_a_missing_export_names_the_remedy(tmp_path: Path) -> None:
    """Without an export the stage to run is said."""
    with pytest.raises(ValueError, match="run the stage export"):
        Segmenter(tmp_path)
