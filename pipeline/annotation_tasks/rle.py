"""Run lengths as CVAT and Label Studio write them: of a region's pixels, row by row.

CVAT counts pixels in turn, beginning with those outside: "3, 5, 8" are three outside, five inside, eight outside.
Label Studio packs the bytes of an RGBA picture with the `rle-pack` of thi.ng/umbrella: a header (32 bits: how many
values; 5: bits of a value, less one; four times 4: bits of a length, less one), then chunks (1 bit: whether one value
is repeated; 2: which of the four lengths; the length, less one; the value or the values).
The alpha of a pixel is how much of it a stroke covers, so a pixel is inside from one half on.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Region = npt.NDArray[np.bool_]

CHANNELS = 4
OPAQUE = 255
HALF_COVERED = 128
LENGTH_BITS = (3, 4, 8, 16)
LONGEST = 1 << LENGTH_BITS[-1]
VALUE_BITS = 8
HEADER_BITS = 32 + 5 + 4 * len(LENGTH_BITS)
CHUNK_BITS = 1 + 2
WORD_BITS = 32
# Room for what is left of a byte (7 bits), a chunk's head, the longest length (16) and a value.
WINDOW_BYTES = 5
WINDOW_BITS = 8 * WINDOW_BYTES
WINDOW = (1 << WINDOW_BITS) - 1


class RunLengthError(ValueError):
    """Run lengths that are no region of the size they should have; the message is the reason."""


def encode_counts(region: Region) -> str:
    """Encodes a region for CVAT. Shape: (H, W); it begins with how many pixels are outside, 0 where none is."""
    lengths, values = _runs(region.ravel())
    counts = [0, *lengths.tolist()] if values.size and values[0] else lengths.tolist()
    return ", ".join(map(str, counts))


def decode_counts(text: str, height: int, width: int) -> Region:
    """Decodes a region of CVAT.

    Args:
        text: The counts.
        height: Of the region, in pixels; the caller has checked it against the image.
        width: The same.

    Returns:
        Shape (H, W).

    Raises:
        RunLengthError: There are more runs than pixels, one is no whole number, or they do not add up to the region.
    """
    if text.count(",") > height * width:
        raise RunLengthError(f"{text.count(',') + 1} run lengths are more than {width}x{height} px can have")
    try:
        counts = [int(each) for each in text.split(",")]
    except ValueError:
        raise RunLengthError(f"run lengths are whole numbers, received '{text[:40]}'") from None
    if min(counts) < 0 or sum(counts) != height * width:
        raise RunLengthError(f"the run lengths add up to {sum(counts)} px, the region has {width}x{height}")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(height, width)


def encode_brush(region: Region) -> list[int]:
    """Encodes a region for Label Studio: bytes of the packed RGBA picture, all channels 255 inside and 0 outside.

    Args:
        region: Shape (H, W).
    """
    lengths, values = _runs(region.ravel())
    lengths, values = _split(lengths * CHANNELS, values)
    which = np.searchsorted([1 << bits for bits in LENGTH_BITS], lengths)
    length_bits = np.array(LENGTH_BITS)[which]
    bits = CHUNK_BITS + length_bits + VALUE_BITS
    words = (1 << 2) | which
    words = (words << length_bits) | (lengths - 1)
    words = (words << VALUE_BITS) | np.where(values, OPAQUE, 0)
    packed = (words << (WORD_BITS - bits)).astype(">u4").view(np.uint8).reshape(-1, WORD_BITS // 8)
    used = np.arange(WORD_BITS) < bits[:, None]
    stream = np.concatenate([_header(region.size * CHANNELS), np.unpackbits(packed, axis=1)[used]])
    return np.packbits(stream).tolist()


def decode_brush(code: Sequence[int], height: int, width: int) -> Region:
    """Decodes a region of Label Studio: the pixels that are covered at least by half.

    Args:
        code: The bytes.
        height: Of the image, in pixels.
        width: The same.

    Returns:
        Shape (H, W).

    Raises:
        RunLengthError: They are no bytes, declare another size than the image's, or end too early.
    """
    try:
        data = bytes(iter(code))  # of a number itself, `bytes` would make so many zeros
    except (TypeError, ValueError):
        raise RunLengthError("run lengths are bytes, whole numbers from 0 to 255") from None
    # A declared size is believed only where it is the image's: what is allocated never depends on the file.
    count = height * width * CHANNELS
    if len(data) * 8 < HEADER_BITS or not np.array_equal(np.unpackbits(np.frombuffer(data, np.uint8, 4)), _bits(count)):
        raise RunLengthError(f"the run lengths are not those of {width}x{height} px in four channels")
    value_bits, *length_bits = _sizes(data)
    if value_bits != VALUE_BITS:
        raise RunLengthError(f"values of {VALUE_BITS} bits are known, received {value_bits}")
    return _unpacked(data, count, length_bits).reshape(height, width, CHANNELS)[:, :, -1] >= HALF_COVERED


def _unpacked(data: bytes, count: int, length_bits: list[int]) -> npt.NDArray[np.uint8]:
    out, at, done = np.zeros(count, np.uint8), HEADER_BITS, 0
    end, padded = len(data) * 8, data + bytes(WINDOW_BYTES)
    while done < count:
        # The bits of a chunk's head, its length and one value, at the upper end of a number.
        window = int.from_bytes(padded[at >> 3 : (at >> 3) + WINDOW_BYTES]) << (at & 7) & WINDOW
        head = window >> (WINDOW_BITS - CHUNK_BITS)
        bits = CHUNK_BITS + length_bits[head & 0b11]
        length = (window >> (WINDOW_BITS - bits) & ((1 << (bits - CHUNK_BITS)) - 1)) + 1
        repeated = head >> 2
        at += bits
        values_end = at + VALUE_BITS * (1 if repeated else length)
        if values_end > end or done + length > count:
            raise RunLengthError(f"the run lengths are damaged after {done} of {count} values")
        if not repeated:
            out[done : done + length] = _values(data, at, length)
        elif value := window >> (WINDOW_BITS - bits - VALUE_BITS) & OPAQUE:
            out[done : done + length] = value
        at = values_end
        done += length
    return out


def _values(data: bytes, at: int, count: int) -> npt.NDArray[np.uint8]:
    """Values of 8 bits from bit `at` on, which need not be the first of a byte. Shape: (count,)."""
    shift = at % 8
    spanned = np.frombuffer(data[at // 8 : at // 8 + count + 1] + b"\0", np.uint8)[: count + 1].astype(np.uint16)
    return ((spanned[:-1] << shift | spanned[1:] >> (8 - shift)) & OPAQUE).astype(np.uint8)


def _read(data: bytes, at: int, bits: int) -> int:
    span = data[at // 8 : (at + bits + 7) // 8]
    return (int.from_bytes(span) >> (-(at + bits) % 8)) & ((1 << bits) - 1)


def _sizes(data: bytes) -> list[int]:
    """Bits of a value, and of each kind of length."""
    return [_read(data, 32, 5) + 1, *(_read(data, 37 + 4 * number, 4) + 1 for number in range(len(LENGTH_BITS)))]


def _header(count: int) -> npt.NDArray[np.uint8]:
    text = f"{VALUE_BITS - 1:05b}" + "".join(f"{bits - 1:04b}" for bits in LENGTH_BITS)
    return np.concatenate([_bits(count), np.array([int(bit) for bit in text], np.uint8)])


def _bits(count: int) -> npt.NDArray[np.uint8]:
    return np.unpackbits(np.array([count], ">u4").view(np.uint8))


def _runs(flat: Region) -> tuple[npt.NDArray[np.int64], Region]:
    """Lengths and values of the runs of equal values. Shapes: (N,) -> (R,), (R,)."""
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1]) if flat.size else np.zeros(0, np.int64)
    return np.diff(np.append(starts, flat.size)), flat[starts]


def _split(lengths: npt.NDArray[np.int64], values: Region) -> tuple[npt.NDArray[np.int64], Region]:
    """Cuts runs that are longer than the longest length can say."""
    pieces = -(-lengths // LONGEST)
    cut = np.full(int(pieces.sum()), LONGEST, np.int64)
    cut[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * LONGEST
    return cut, np.repeat(values, pieces)
