"""Facts of one annotated image."""

import io
from dataclasses import replace

import cv2
import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from tiny import scene

from pipeline.files import sha256_bytes
from pipeline.images import Limits, encode_image, encode_mask
from pipeline.item_facts import FactSettings, edge_distance, item_facts, mask_facts

SETTINGS = FactSettings(
    num_classes=5,
    ignore_index=255,
    island_px=4,
    edge_low=50,
    edge_high=150,
    limits=Limits(max_bytes=2**24, max_pixels=2**22),
)


def slow_components(mask: np.ndarray, classes: int, island_px: int) -> tuple[list[int], list[int]]:
    """Components and islands of each class, one class at a time."""
    counts, islands = [], []
    for label in range(classes):
        binary = (mask == label).astype(np.uint8)
        number, _, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=8)
        counts.append(number - 1)
        islands.append(int((stats[1:, cv2.CC_STAT_AREA] < island_px).sum()))
    return counts, islands


@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 1, 4, 9, 255])))
def test_mask_facts_equal_a_count_class_by_class(mask: np.ndarray) -> None:
    """Pixels, components and islands are what a count of each class by itself finds."""
    facts = mask_facts(mask, SETTINGS)
    components, islands = slow_components(mask, 5, SETTINGS.island_px)
    assert facts["class_px"].tolist() == [int((mask == label).sum()) for label in range(5)]
    assert facts["components"].tolist() == components
    assert facts["islands"].tolist() == islands
    assert facts["void_px"] == (mask == 255).sum()
    assert facts["unknown_values"] == ("9" if (mask == 9).any() else "")


def test_void_may_have_another_id() -> None:
    """The taxonomy's ignore index is void, whatever its value, and 255 is then unknown."""
    facts = mask_facts(np.array([[0, 11, 255]], dtype=np.uint8), replace(SETTINGS, ignore_index=11))
    assert (facts["void_px"], facts["unknown_values"]) == (1, "255")
    assert facts["components"].tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("size", [(48, 64), (33, 31), (200, 120)])
def test_hash_is_that_of_imagehash(size: tuple[int, int]) -> None:
    """The perceptual hash is the one that imagehash computes of the picture itself."""
    image, mask = scene(np.random.default_rng(1), size, 5)
    data = encode_image(image)
    assert item_facts(data, encode_mask(mask), SETTINGS)["phash"] == str(imagehash.phash(Image.open(io.BytesIO(data))))


def test_photometric_facts_are_those_of_the_pixels() -> None:
    """Brightness and contrast are mean and deviation of luma, saturation lies in 0 to 1, digests are of the bytes."""
    image, mask = scene(np.random.default_rng(2), (48, 64), 5)
    data, labels = encode_image(image), encode_mask(mask)
    facts = item_facts(data, labels, SETTINGS)
    luma = np.asarray(Image.fromarray(image).convert("L"), dtype=np.float64)
    assert facts["brightness"] == pytest.approx(luma.mean())
    assert facts["contrast"] == pytest.approx(luma.std())
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1] / 255
    assert facts["saturation"] == pytest.approx(hsv.mean(), abs=0.02)
    assert (facts["width"], facts["height"], facts["mode"], facts["bytes"]) == (64, 48, "RGB", len(data))
    assert (facts["image_sha256"], facts["mask_sha256"]) == (sha256_bytes(data), sha256_bytes(labels))
    assert facts["error"] is None


def test_blur_falls_when_an_image_is_blurred() -> None:
    """The blur measure, a sharpness, is lower for the blurred picture."""
    image, mask = scene(np.random.default_rng(3), (48, 64), 5)
    blurred = cv2.GaussianBlur(image, (0, 0), 2)
    sharp, soft = (item_facts(encode_image(each), encode_mask(mask), SETTINGS)["blur"] for each in (image, blurred))
    assert soft < sharp / 2


def test_a_shifted_mask_is_further_from_the_edges() -> None:
    """The distance of mask edges to image edges grows with the shift of the mask."""
    mask = np.zeros((96, 96), dtype=np.uint8)
    mask[30:60, 30:60] = 1
    grey = np.where(mask == 1, 220, 30).astype(np.uint8)
    near, far = (edge_distance(grey, np.roll(mask, shift, axis=(0, 1)), SETTINGS) for shift in (0, 8))
    assert near < 2
    assert far > 4


def test_without_edges_the_distance_is_undefined() -> None:
    """A mask or an image without an edge has no distance; borders of void are no edges."""
    mask = np.zeros((32, 32), dtype=np.uint8)
    flat = np.full((32, 32), 90, dtype=np.uint8)
    mask[:, 16:] = 255
    stepped = np.where(mask == 255, 220, 30).astype(np.uint8)
    assert np.isnan(edge_distance(stepped, mask, SETTINGS))
    mask[:, :16] = np.eye(16, dtype=np.uint8)[np.arange(32) % 16]
    assert np.isnan(edge_distance(flat, mask, SETTINGS))


@pytest.mark.parametrize("side", ["image", "mask"])
def test_an_unreadable_side_is_named_and_the_other_still_measured(side: str) -> None:
    """A truncated image or mask leaves its columns out, says so, and the other side's facts stay."""
    image, mask = scene(np.random.default_rng(4), (48, 64), 5)
    sides = {"image": encode_image(image), "mask": encode_mask(mask)}
    sides[side] = sides[side][: len(sides[side]) // 2]
    facts = item_facts(sides["image"], sides["mask"], SETTINGS)
    assert facts["error"].startswith(f"{side}: ")
    assert ("phash" in facts, "class_px" in facts) == (side == "mask", side == "image")
    assert np.isnan(facts["edge_distance_px"])


def test_what_is_no_image_at_all_is_an_error_too() -> None:
    """Empty bytes and text are errors of both sides, not exceptions."""
    facts = item_facts(b"", b"not a picture", SETTINGS)
    assert "image: " in facts["error"]
    assert "mask: " in facts["error"]
