"""Objects of a mask are found and described, and those of an unlikely class stand out."""

import pickle

import numpy as np
import pytest

from pipeline.label_qa.misnamed import unlikeliness
from pipeline.label_qa.objects import LEAST_PX, MOST, Objects, objects_of

VOID = 255


def of(mask: np.ndarray, classes: int = 5, neighbours: tuple[np.ndarray, ...] = ()) -> Objects:
    """The objects of a mask over a seeded image."""
    image = np.random.default_rng(0).integers(0, 255, (*mask.shape, 3), dtype=np.uint8)
    return objects_of(image, mask, classes, neighbours)


def with_boxes(*boxes: tuple[int, int, int, int, int], size: tuple[int, int] = (80, 100)) -> np.ndarray:
    """A mask of background with boxes: class, left, top, right, bottom."""
    mask = np.zeros(size, np.uint8)
    for label, left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = label
    return mask


def test_an_object_is_a_component_with_its_class_and_box() -> None:
    """Two components of one class are two objects, the largest first; the background is no object."""
    found = of(with_boxes((3, 10, 20, 30, 40), (3, 60, 5, 75, 15)))
    assert found.labels.tolist() == [3, 3]
    assert found.boxes.tolist() == [[10, 20, 30, 40], [60, 5, 75, 15]]


def test_specks_and_the_scene_are_no_objects() -> None:
    """What is smaller than an object, or covers much of the image, is left out."""
    assert of(with_boxes((1, 0, 0, 7, 7), (2, 20, 10, 90, 60))).labels.size == 0
    assert LEAST_PX > 49


def test_void_and_unknown_values_are_no_objects() -> None:
    """Neither void nor an id above the classes is described."""
    found = of(with_boxes((VOID, 10, 10, 30, 30), (200, 50, 10, 70, 30), (4, 10, 50, 30, 70)))
    assert found.labels.tolist() == [4]


def test_ids_up_to_the_last_are_classes() -> None:
    """With 255 classes, 254 is a class and 255 is void."""
    found = of(with_boxes((254, 10, 10, 30, 30), (VOID, 50, 10, 70, 30)), classes=255)
    assert found.labels.tolist() == [254]
    assert found.features.shape == (1, 19 + 2 * 256)


def test_an_object_in_void_is_described_by_void() -> None:
    """The shares of the classes around it add up to one, and void has a place of its own."""
    mask = np.full((80, 100), VOID, np.uint8)
    mask[20:40, 20:40] = 2
    around = of(mask).features[0, 19:25]
    assert around.tolist() == [0, 0, 0, 0, 0, 1]


def test_the_frames_beside_tell_what_lies_there() -> None:
    """The classes at the same place in a neighbouring mask are the last features; without one they are nought."""
    mask, beside = with_boxes((2, 20, 20, 40, 40)), with_boxes((3, 10, 10, 60, 60))
    assert of(mask).features[0, -6:].tolist() == [0] * 6
    assert of(mask, neighbours=(beside,)).features[0, -6:].tolist() == [0, 0, 0, 1, 0, 0]


def test_a_neighbour_of_another_size_is_left_out() -> None:
    """A frame that was cut differently says nothing of the place."""
    mask = with_boxes((2, 20, 20, 40, 40))
    assert np.array_equal(of(mask, neighbours=(mask[:40],)).features, of(mask).features)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 200), (200, 1)])
def test_tiny_images_have_no_objects(size: tuple[int, int]) -> None:
    """Nothing is found, and the shapes are kept."""
    found = of(np.ones(size, np.uint8))
    assert (found.labels.shape, found.boxes.shape, found.features.shape) == ((0,), (0, 4), (0, 31))


def test_the_number_of_objects_is_bounded() -> None:
    """Of very many components the largest are kept, and noise of single pixels costs nothing."""
    mask = np.kron(np.random.default_rng(0).integers(0, 16, (40, 40), dtype=np.uint8), np.ones((9, 9), np.uint8))
    assert len(of(mask, 16).labels) == MOST
    assert of(np.random.default_rng(0).integers(0, 16, (300, 300), dtype=np.uint8), 16).labels.size == 0


def test_features_are_finite() -> None:
    """An object at the border, one without anything around, and a flat one give numbers."""
    mask = with_boxes((2, 0, 0, 100, 1), (3, 0, 10, 10, 40), (4, 90, 70, 100, 80))
    found = objects_of(np.full((80, 100, 3), 7, np.uint8), mask, 5)
    assert found.labels.tolist() == [3, 2, 4]
    assert np.isfinite(found.features).all()


def two_kinds(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and classes of objects of two classes that lie far apart."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.array([2, 7], np.uint8), count // 2)
    return (labels[:, None] + rng.normal(0, 0.5, (count, 4))).astype(np.float32), labels


def test_an_object_of_a_wrong_class_is_unlikely_and_its_class_is_told() -> None:
    """The one whose class was changed stands out, and what it looks like is named."""
    features, labels = two_kinds(120)
    labels[10] = 7
    score, best = unlikeliness(features, labels, np.arange(120) // 4)
    assert score.argmax() == 10
    assert best[10] == 2
    assert (np.delete(score, 10) < 0.5).all()


def test_an_object_has_no_vote_in_its_own_matter() -> None:
    """A class that occurs in one group only is unknown to those that judge it, and thus unlikely."""
    features, labels = two_kinds(120)
    labels[10] = 5
    score, best = unlikeliness(features, labels, np.arange(120) // 4)
    assert score[10] > 4
    assert best[10] == 2


def test_a_single_group_is_judged_by_stretches() -> None:
    """Where there are no other groups, objects further away in the sequence judge."""
    features, labels = two_kinds(120)
    labels[10] = 7
    score, _ = unlikeliness(features, labels, np.zeros(120, np.intp))
    assert score.argmax() == 10


@pytest.mark.parametrize("labels", [np.full(200, 3, np.uint8), np.tile(np.array([1, 2], np.uint8), 10), np.zeros(0)])
def test_where_nothing_can_be_learnt_nothing_is_said(labels: np.ndarray) -> None:
    """With one class, with few objects and with none at all the scores are unknown."""
    features = np.zeros((len(labels), 3), np.float32)
    score, best = unlikeliness(features, labels.astype(np.uint8), np.arange(len(labels)))
    assert np.isnan(score).all()
    assert np.array_equal(best, labels)


def test_what_is_kept_of_an_image_is_small_however_full_it_is() -> None:
    """What is held of all images at once takes a few kilobytes of each: the largest objects, in half precision."""
    rng = np.random.default_rng(0)
    mask = np.kron(rng.integers(0, 19, (30, 40)), np.ones((12, 12))).astype(np.uint8)
    image = rng.integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
    assert len(pickle.dumps(objects_of(image, mask, 19))) < 6000
