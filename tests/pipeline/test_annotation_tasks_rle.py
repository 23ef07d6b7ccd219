"""Run lengths of both annotation tools, against independent readers and against hostile input."""

from contextlib import suppress

import numpy as np
import pytest
from datumaro.util.mask_tools import rle_to_mask
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline.annotation_tasks.rle import RunLengthError, decode_brush, decode_counts, encode_brush, encode_counts

# A zigzag drawn by hand in the editor of Label Studio 1.23.2 on 24x20 px; its edge covers pixels in part.
STROKE = """
    0 0 7 128 57 27 255 4 95 0 140 22 49 8 196 227 24 140 127 37 128 70 175 30 252 124 17 239 71 131 146 192 35 112 143
    198 62 232 251 227 214 201 96 17 184 199 225 31 140 125 209 234 100 176 8 218 45 245 71 151 146 192 35 28 141 58 51
    248 207 163 39 224 37 96 0
"""
REGIONS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.booleans(), fill=st.booleans())


def reference_brush(code: list[int]) -> list[int]:
    """Reads packed run lengths bit by bit, as the published decoder of rle-pack does."""
    bits = "".join(f"{each:08b}" for each in code)
    place = 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    out: list[int] = []
    while len(out) < total:
        repeated = take(1)
        length = take(sizes[take(2)]) + 1
        out += [take(word)] * length if repeated else [take(word) for _ in range(length)]
    return out


def packed(values: list[int], chunk: int) -> list[int]:
    """Run lengths without a repetition: all values one by one, `chunk` at a time."""
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    for start in range(0, len(values), chunk):
        part = values[start : start + chunk]
        bits += "0" + "10" + f"{len(part) - 1:08b}" + "".join(f"{each:08b}" for each in part)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]


@given(REGIONS)
def test_a_region_survives_the_brush(region: np.ndarray) -> None:
    """Whatever is encoded for Label Studio is decoded to the same pixels."""
    assert np.array_equal(decode_brush(encode_brush(region), *region.shape), region)


@given(REGIONS)
def test_the_brush_is_what_the_published_decoder_reads(region: np.ndarray) -> None:
    """A decoder that is written after the published one finds four equal channels, 255 inside and 0 outside."""
    found = np.array(reference_brush(encode_brush(region))).reshape(*region.shape, 4)
    assert np.array_equal(found, np.where(region, 255, 0)[:, :, None].repeat(4, axis=2))


def test_runs_longer_than_a_length_can_say_are_cut() -> None:
    """A picture with more than 65,536 equal values in a row survives."""
    region = np.zeros((300, 200), bool)
    region[100:290] = True
    assert np.array_equal(decode_brush(encode_brush(region), 300, 200), region)


@given(REGIONS, st.integers(1, 256))
def test_values_one_by_one_are_read(region: np.ndarray, chunk: int) -> None:
    """Chunks without repetition, which the tool writes for what a brush's soft edge leaves, are read as well."""
    channels = np.zeros((*region.shape, 4), int)
    channels[:, :, 3] = np.where(region, 200, 30)
    assert np.array_equal(decode_brush(packed(channels.ravel().tolist(), chunk), *region.shape), region)


def test_a_stroke_of_the_real_editor_is_read() -> None:
    """Of what an annotator drew, the pixels that are covered at least by half are inside."""
    expected = np.zeros((20, 24), bool)
    expected[12:16, 17:21] = True
    assert np.array_equal(decode_brush([int(each) for each in STROKE.split()], 20, 24), expected)


@pytest.mark.parametrize("code", [[], [1, 2, 3], [256] * 20, ["a"] * 20, [0] * 20, None, 10**15, "1, 2", {"a": 1}])
def test_what_is_no_brush_is_refused(code: object) -> None:
    """Bytes that are none, too few, or of another size end in a reason."""
    with pytest.raises(RunLengthError):
        decode_brush(code, 2, 3)  # type: ignore[arg-type] # hostile input


def test_a_brush_that_ends_too_early_is_refused() -> None:
    """Run lengths that were cut are no region."""
    code = encode_brush(np.eye(12, dtype=bool))
    with pytest.raises(RunLengthError, match="damaged after"):
        decode_brush(code[:-9], 12, 12)


def test_a_brush_of_another_size_is_refused_before_it_is_unpacked() -> None:
    """Some bytes that declare four thousand million values allocate nothing."""
    with pytest.raises(RunLengthError, match="not those of 3x2 px"):
        decode_brush([255] * 30, 2, 3)


@given(st.binary(max_size=60))
def test_random_bytes_never_break_the_brush(tail: bytes) -> None:
    """After a right header, anything is either a region or a reason."""
    code = [*encode_brush(np.zeros((3, 4), bool))[:7], *tail]
    with suppress(RunLengthError):
        assert decode_brush(code, 3, 4).shape == (3, 4)


@given(REGIONS)
def test_a_region_survives_counts(region: np.ndarray) -> None:
    """Whatever is encoded for CVAT is decoded to the same pixels."""
    assert np.array_equal(decode_counts(encode_counts(region), *region.shape), region)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools, called by Datumaro
@given(REGIONS)
def test_counts_are_what_datumaro_reads(region: np.ndarray) -> None:
    """Datumaro's reader of run lengths finds the same pixels."""
    counts = np.array([int(each) for each in encode_counts(region).split(",")], np.uint32)
    height, width = region.shape
    found = rle_to_mask({"counts": counts, "size": np.array([width, height])}).transpose()
    assert np.array_equal(found.astype(bool), region)


@pytest.mark.parametrize("text", ["", "x", "3", "7", "-1, 7", "1, 2, 3, 4", "6,", "1" * 5000, "1e1"])
def test_counts_that_are_not_of_the_region_are_refused(text: str) -> None:
    """Counts that are no numbers, negative, or do not add up end in a reason."""
    with pytest.raises(RunLengthError):
        decode_counts(text, 2, 3)


def test_more_counts_than_pixels_are_refused() -> None:
    """A file of a million zeros is not taken apart for six pixels."""
    with pytest.raises(RunLengthError, match="more than 3x2 px"):
        decode_counts("0," * 10**6 + "6", 2, 3)
