"""Tests of the one place that decodes."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.images import (
    ImageError,
    Limits,
    decode_image,
    decode_mask,
    encode_image,
    encode_mask,
    image_facts,
    overlay,
)

LIMITS = Limits(max_bytes=2**20, max_pixels=2**16)


def _jpeg(array: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", exif=exif)
    return buffer.getvalue()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_masks_survive_encoding(height: int, width: int, seed: int) -> None:
    """A mask decodes to exactly what was encoded, whatever its size and values."""
    mask = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    assert np.array_equal(decode_mask(encode_mask(mask), LIMITS), mask)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_normalised(orientation: int) -> None:
    """An image with an EXIF orientation decodes as shown, and its header's facts tell the shown size."""
    shown = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a.transpose(1, 0, 2), 2),
        8: lambda a: np.rot90(a, -1),
    }
    data = _jpeg(np.ascontiguousarray(undo[orientation](shown)), orientation)
    facts = image_facts(data, LIMITS)
    assert np.array_equal(decode_image(data, LIMITS), shown)
    assert (facts.height, facts.width, facts.orientation) == (4, 6, orientation)


def test_sixteen_bit_grey_is_scaled_to_eight_bits() -> None:
    """The high byte is kept and repeated in three bands."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((2, 2), 0x1234, dtype=np.uint16)).save(buffer, format="PNG")
    assert decode_image(buffer.getvalue(), LIMITS).tolist() == [[[0x12] * 3] * 2] * 2


def _tiff(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="TIFF", **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def test_a_tiffs_orientation_is_applied_once() -> None:
    """Facts and pixels agree on the shown size."""
    data = _tiff(np.zeros((4, 6, 3), dtype=np.uint8), tiffinfo={0x0112: 6})
    facts = image_facts(data, LIMITS)
    assert decode_image(data, LIMITS).shape[:2] == (facts.height, facts.width) == (6, 4)


def test_grey_of_32_bits_keeps_values_that_fit_and_refuses_what_does_not() -> None:
    """Values of a byte are kept, and nothing is clipped in silence."""
    assert decode_image(_tiff(np.full((2, 2), 200, dtype=np.int32)), LIMITS).max() == 200
    with pytest.raises(ImageError, match="received 70000"):
        decode_image(_tiff(np.full((2, 2), 70000, dtype=np.int32)), LIMITS)


def test_a_negative_label_is_an_error() -> None:
    """-1 never becomes void in silence."""
    with pytest.raises(ImageError, match="received -1"):
        decode_mask(_tiff(np.full((2, 2), -1, dtype=np.int32)), LIMITS)


def test_a_rare_format_is_no_image() -> None:
    """Only the formats of cameras and annotators are parsed."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((2, 2, 3), dtype=np.uint8)).save(buffer, format="ICO")
    with pytest.raises(ImageError, match="no image of a known format"):
        decode_image(buffer.getvalue(), LIMITS)


def test_a_truncated_image_is_an_error() -> None:
    """Half of the bytes are not half of an image."""
    whole = encode_image(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with pytest.raises(ImageError, match="damaged image"):
        decode_image(whole[: len(whole) // 2], LIMITS)


def test_bytes_that_are_no_image_are_an_error() -> None:
    """The message says how many bytes were no image."""
    with pytest.raises(ImageError, match="5 bytes are no image"):
        decode_image(b"hello", LIMITS)


def test_limits_hold_before_decoding() -> None:
    """An image over the limits is refused by its header, with the value and the limit."""
    data = encode_mask(np.zeros((300, 300), dtype=np.uint8))
    with pytest.raises(ImageError, match="300x300 px are over the limit of 65536 px"):
        image_facts(data, LIMITS)
    with pytest.raises(ImageError, match="bytes are over the limit of 10"):
        decode_mask(data, Limits(max_bytes=10, max_pixels=2**20))


def test_a_coloured_mask_is_an_error() -> None:
    """A stored mask holds ids, never colours."""
    with pytest.raises(ImageError, match="mode RGB holds no class ids"):
        decode_mask(encode_image(np.zeros((2, 2, 3), dtype=np.uint8)), LIMITS)


def test_an_overlay_blends_the_masks_colours() -> None:
    """Half of black and half of white is grey."""
    palette = np.full((256, 3), 255, dtype=np.uint8)
    picture = overlay(np.zeros((1, 1, 3), dtype=np.uint8), np.zeros((1, 1), dtype=np.uint8), palette, 0.5)
    assert picture.tolist() == [[[128, 128, 128]]]
