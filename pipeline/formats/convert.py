"""Decodes one item of a source, maps its mask to the taxonomy and digests both: what a worker process does."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.files import digest_json, sha256_bytes
from pipeline.formats.labels import Labels, Painted
from pipeline.formats.source import Shape, SourceItem
from pipeline.images import ImageError, Limits, decode_image, decode_pixels, encode_mask, image_facts, orient


@dataclass(frozen=True)
class Conversion:
    """How a source's items are converted.

    Attributes:
        labels: What the source's labels mean.
        limits: What is refused before decoding.
        mask_as_stored: Masks lie along the image as stored, so that its EXIF orientation turns them too.
    """

    labels: Labels
    limits: Limits
    mask_as_stored: bool


@dataclass(frozen=True)
class Converted:
    """A converted item, or why there is none.

    Attributes:
        name: The item's id.
        problem: Why the item is left out; empty for a good one.
        image: The image's bytes as they came.
        mask: The mask as PNG in taxonomy ids.
        sha256: Digest of the image's bytes.
        mask_source_sha256: Digest of the mask file, or of the canonical form of the shapes.
        class_px: Pixels by class id.
        found: Pixels by (source value, class name or None).
        orientation: The image's EXIF orientation, 1 to 8.
    """

    name: str
    problem: str = ""
    image: bytes = b""
    mask: bytes = b""
    sha256: str = ""
    mask_source_sha256: str = ""
    class_px: tuple[int, ...] = ()
    found: dict[tuple[str, str | None], int] = field(default_factory=dict)
    orientation: int = 1


def convert(item: SourceItem, how: Conversion) -> Converted:
    """Converts one item; whatever is wrong with it becomes its `problem`, never an exception."""
    if item.problem or item.image is None or item.mask is None:
        return Converted(item.name, problem=item.problem or "an image and a mask are needed")
    try:
        return _convert(item.name, item.image, item.mask, how)
    except (ImageError, OSError) as error:
        return Converted(item.name, problem=str(error))


def shapes_digest(shapes: tuple[Shape, ...]) -> str:
    """The digest of the shapes' canonical form: labels, corners and run lengths in drawing order."""
    return digest_json([[each.label, each.points, each.size, each.counts.decode()] for each in shapes])


def _convert(name: str, image: Path, mask: Path | tuple[Shape, ...], how: Conversion) -> Converted:
    data = _read(image, how.limits)
    orientation = _checked(image, data, how.limits)
    if isinstance(mask, Path):
        source = _read(mask, how.limits)
        painted = _paint_file(mask, source, how)
        source_sha256 = sha256_bytes(source)
    else:
        source = b""
        painted = _paint_shapes(mask, data, how)
        source_sha256 = shapes_digest(mask)
    # A mask that carries an orientation of its own was turned by it when it was decoded.
    turned = isinstance(mask, Path) and image_facts(source, how.limits).orientation != 1
    pixels = orient(painted.mask, orientation) if how.mask_as_stored and not turned else painted.mask
    return Converted(
        name=name,
        image=data,
        mask=encode_mask(pixels),
        sha256=sha256_bytes(data),
        mask_source_sha256=source_sha256,
        class_px=tuple(np.bincount(pixels.ravel(), minlength=256)[: how.labels.taxonomy.num_classes].tolist()),
        found=painted.found,
        orientation=orientation,
    )


def _read(file: Path, limits: Limits) -> bytes:
    if not file.is_file():
        # Reading a pipe or a device might never end.
        raise ImageError(f"{file} is missing or no regular file")
    size = file.stat().st_size
    if size > limits.max_bytes:
        raise ImageError(f"{file}: {size} bytes are over the limit of {limits.max_bytes}")
    return file.read_bytes()


def _checked(file: Path, data: bytes, limits: Limits) -> int:
    try:
        decode_image(data, limits)
        return image_facts(data, limits).orientation
    except ImageError as error:
        raise ImageError(f"image {file}: {error}") from None


def _paint_file(file: Path, data: bytes, how: Conversion) -> Painted:
    try:
        remap = how.labels.remap
        grey = remap is not None and remap.threshold is not None
        return how.labels.paint_pixels(*decode_pixels(data, how.limits, bits_as_grey=grey))
    except ImageError as error:
        raise ImageError(f"mask {file}: {error}") from None


def _paint_shapes(shapes: tuple[Shape, ...], data: bytes, how: Conversion) -> Painted:
    facts = image_facts(data, how.limits)
    swapped = how.mask_as_stored and facts.orientation >= 5  # noqa: PLR2004 - EXIF: 5 to 8 exchange rows and columns
    height, width = (facts.width, facts.height) if swapped else (facts.height, facts.width)
    return how.labels.paint_shapes(shapes, height, width)
