"""The one place that decodes images and masks: limited before decoding, EXIF orientation normalised."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from pydantic import Field

from pipeline.params import Section

RGB_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}
MASK_MODES = {"1", "L", "P", "I", "I;16", "I;16B", "I;16L"}
DEEP_MODES = {"I", "I;16", "I;16B", "I;16L"}
# Formats of cameras and annotators; the rarer parsers of Pillow are an attack surface without a user.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
BYTE_MAX = 255


class ImageError(ValueError):
    """Bytes that are no readable image within the limits; the message is the reason."""


class Limits(Section):
    """Section `limits`: what every stage refuses before it is decoded.

    Attributes:
        max_bytes: Largest encoded size, in bytes.
        max_pixels: Largest width times height, in pixels.
    """

    max_bytes: int = Field(ge=1)
    max_pixels: int = Field(ge=1)


@dataclass(frozen=True)
class ImageFacts:
    """What the header says, before any pixel is decoded; width and height are as shown (EXIF applied)."""

    width: int
    height: int
    mode: str
    orientation: int


def image_facts(data: bytes, limits: Limits) -> ImageFacts:
    """Reads an image's header.

    Raises:
        ImageError: The bytes are no image, or are beyond the limits.
    """
    with _opened(data, limits) as image:
        orientation = _orientation(image)
        # EXIF: 5 to 8 exchange rows and columns; for TIFF Pillow's size has that done already.
        swapped = orientation >= 5 and image.format != "TIFF"  # noqa: PLR2004
        width, height = (image.height, image.width) if swapped else image.size
        return ImageFacts(width, height, image.mode, orientation)


def decode_image(data: bytes, limits: Limits) -> np.ndarray:
    """Decodes an image as it is meant to be seen.

    Returns:
        Shape (H, W, 3), uint8 RGB, EXIF orientation applied; 16-bit grey is scaled to 8 bits (a range within
        0 to 255 is kept), transparency dropped.

    Raises:
        ImageError: The bytes are no image, are damaged, beyond the limits, or of a mode that has no RGB form.
    """
    with _opened(data, limits) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode in DEEP_MODES:
            return np.repeat(_eight_bit(np.asarray(upright))[:, :, None], 3, axis=2)
        if upright.mode not in RGB_MODES:
            raise ImageError(f"mode {upright.mode} has no RGB form; supported: {', '.join(sorted(RGB_MODES))}")
        return np.asarray(upright.convert("RGB"))


def decode_mask(data: bytes, limits: Limits) -> np.ndarray:
    """Decodes a mask of class ids (grey or palette indices), EXIF orientation applied.

    Returns:
        Shape (H, W), uint8.

    Raises:
        ImageError: The bytes are no image, are damaged, beyond the limits, in colours, or hold values above 255.
    """
    with _opened(data, limits) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode not in MASK_MODES:
            raise ImageError(f"mode {upright.mode} holds no class ids; a mask is 8-bit grey or palette")
        return _in_range(np.asarray(upright), BYTE_MAX, "a mask's ids").astype(np.uint8)


def decode_pixels(data: bytes, limits: Limits, *, bits_as_grey: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
    """Decodes a source's mask as it is, before anything is known of what its values mean; EXIF orientation applied.

    Args:
        data: The encoded mask.
        limits: What is refused.
        bits_as_grey: 1-bit masks hold 0 and 255, as the grey ones that they were made of, instead of 0 and 1.

    Returns:
        The pixels, shape (H, W) int64 for grey, 16-bit and palette indices (1-bit masks hold 0 and 1), or (H, W, 3)
        uint8 RGB for colours (transparency dropped); and the palette, shape (n, 3) uint8, None without one.

    Raises:
        ImageError: The bytes are no image, are damaged, beyond the limits, or of a mode that is no mask.
    """
    with _opened(data, limits) as image:
        upright = ImageOps.exif_transpose(image)
        if bits_as_grey and upright.mode == "1":
            upright = upright.convert("L")
        if upright.mode in MASK_MODES:
            flat = upright.getpalette() if upright.mode == "P" else None
            palette = None if flat is None else np.asarray(flat, dtype=np.uint8).reshape(-1, 3)
            return _in_range(np.asarray(upright).astype(np.int64), np.iinfo(np.int32).max, "a mask's values"), palette
        if upright.mode == "LA":
            return np.asarray(upright.convert("L")).astype(np.int64), None
        if upright.mode not in RGB_MODES:
            raise ImageError(f"mode {upright.mode} is no mask; supported: grey, palette and RGB")
        return np.asarray(upright.convert("RGB")), None


def orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns pixels as stored into pixels as shown, by the EXIF orientation 1 to 8. Shape: (H, W, ...)."""
    if orientation >= 5:  # noqa: PLR2004 - EXIF: 5 to 8 exchange rows and columns
        pixels = pixels.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def encode_mask(mask: np.ndarray) -> bytes:
    """Encodes a mask as 8-bit PNG. Shape: (H, W), uint8."""
    return _png(Image.fromarray(mask))


def encode_image(image: np.ndarray) -> bytes:
    """Encodes a picture as PNG. Shape: (H, W, 3), uint8 RGB."""
    return _png(Image.fromarray(image))


def colour_mask(mask: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Paints class ids. Shapes: mask (H, W) uint8, palette (256, 3) uint8 -> (H, W, 3) uint8."""
    painted: np.ndarray = palette[mask]
    return painted


def overlay(image: np.ndarray, mask: np.ndarray, palette: np.ndarray, alpha: float) -> np.ndarray:
    """Lays a painted mask over an image of the same size. Shape: (H, W, 3), uint8.

    Args:
        image: Shape (H, W, 3), uint8 RGB.
        mask: Shape (H, W), uint8 class ids.
        palette: Shape (256, 3), uint8.
        alpha: Weight of the mask's colours, 0 to 1.
    """
    blended = (1 - alpha) * image + alpha * colour_mask(mask, palette)
    result: np.ndarray = blended.round().astype(np.uint8)
    return result


@contextmanager
def _opened(data: bytes, limits: Limits) -> Iterator[Image.Image]:
    if len(data) > limits.max_bytes:
        raise ImageError(f"{len(data)} bytes are over the limit of {limits.max_bytes}")
    pillows_limit = Image.MAX_IMAGE_PIXELS
    try:
        # Pillow has a limit of its own; the one of the params is checked before decoding, and decides.
        Image.MAX_IMAGE_PIXELS = None
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image, limits)
            yield image
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"{len(data)} bytes are no image of a known format") from None
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, NotImplementedError) as error:
        # What Pillow's decoders raise on damaged input.
        raise ImageError(f"damaged image: {error}") from None
    finally:
        Image.MAX_IMAGE_PIXELS = pillows_limit


def _eight_bit(grey: np.ndarray) -> np.ndarray:
    """Grey of 16 or 32 bits as uint8: the high byte of 16 bits, or the values themselves when they fit."""
    values = _in_range(grey.astype(np.int64), np.iinfo(np.uint16).max, "grey values")
    if grey.dtype != np.uint16 and values.max(initial=0) <= BYTE_MAX:
        return values.astype(np.uint8)
    return (values >> 8).astype(np.uint8)


def _in_range(values: np.ndarray, highest: int, what: str) -> np.ndarray:
    lowest, top = int(values.min(initial=0)), int(values.max(initial=0))
    if lowest < 0 or top > highest:
        raise ImageError(f"{what} lie from 0 to {highest}, received {lowest if lowest < 0 else top}")
    return values


def _check_size(image: Image.Image, limits: Limits) -> None:
    if image.width * image.height > limits.max_pixels:
        raise ImageError(f"{image.width}x{image.height} px are over the limit of {limits.max_pixels} px")


def _orientation(image: Image.Image) -> int:
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
