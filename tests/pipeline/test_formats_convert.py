"""One item converted: bytes kept, orientation honoured, problems instead of exceptions."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.files import sha256_bytes
from pipeline.formats import pool
from pipeline.formats.convert import Conversion, convert, shapes_digest
from pipeline.formats.labels import Labels
from pipeline.formats.source import Legend, Shape, SourceItem
from pipeline.images import Limits, decode_image, decode_mask, decode_pixels, orient
from pipeline.taxonomy import ClassSpec, Remap, Taxonomy

LIMITS = Limits(max_bytes=10**6, max_pixels=10**6)
TAXONOMY = Taxonomy(
    version=1,
    classes=tuple(ClassSpec(id=i, name=f"c{i}", colour=f"#00000{i}") for i in range(3)),
)
HOW = Conversion(Labels(TAXONOMY, None, Legend()), LIMITS, mask_as_stored=False)
MASK = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3


def write(folder: Path, orientation: int = 1) -> SourceItem:
    """Writes an image of 4x3 px with an EXIF orientation, and a mask that lies along its stored pixels."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.repeat(MASK[..., None] * 100, 3, axis=2)).save(folder / "a.png", exif=exif)
    Image.fromarray(MASK).save(folder / "m.png")
    return SourceItem("a", image=folder / "a.png", mask=folder / "m.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orient_is_what_pillow_does(orientation: int) -> None:
    """Turning pixels by an orientation gives what Pillow gives for an image that carries it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(MASK).save(buffer, format="PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(buffer)))
    assert np.array_equal(orient(MASK, orientation), expected)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_mask_as_stored_turns_with_its_image(tmp_path: Path, orientation: int) -> None:
    """After conversion the decoded mask lies over the decoded image, pixel by pixel; the image's bytes are kept."""
    item = write(tmp_path, orientation)
    converted = convert(item, replace(HOW, mask_as_stored=True))
    image = decode_image(converted.image, LIMITS)
    assert np.array_equal(decode_mask(converted.mask, LIMITS) * 100, image[..., 0])
    assert converted.image == (tmp_path / "a.png").read_bytes()
    assert converted.orientation == orientation


def test_a_mask_as_shown_stays_as_it_is(tmp_path: Path) -> None:
    """By default a mask is taken to lie over the image as shown, so nothing turns it."""
    assert np.array_equal(decode_mask(convert(write(tmp_path, 6), HOW).mask, LIMITS), MASK)


def test_digests_are_of_the_source(tmp_path: Path) -> None:
    """The mask's source digest is that of its file, or of the shapes' content, which their order changes."""
    item = write(tmp_path)
    converted = convert(item, HOW)
    assert converted.mask_source_sha256 == sha256_bytes((tmp_path / "m.png").read_bytes())
    assert converted.sha256 == sha256_bytes((tmp_path / "a.png").read_bytes())
    one, two = Shape("c1", points=(0, 0, 1, 0, 1, 1)), Shape("c2", points=(0, 0, 1, 0, 1, 1))
    assert shapes_digest((one, two)) == shapes_digest((one, two)) != shapes_digest((two, one))


def test_what_cannot_be_used_becomes_a_problem(tmp_path: Path) -> None:
    """A truncated image, a missing mask, and files beyond the limits are problems that name the file."""
    item = write(tmp_path)
    small = replace(HOW, limits=Limits(max_bytes=10, max_pixels=10**6))
    assert "over the limit of 10" in convert(item, small).problem
    narrow = replace(HOW, limits=Limits(max_bytes=10**6, max_pixels=11))
    assert "4x3 px" in convert(item, narrow).problem
    assert "gone.png" in convert(replace(item, mask=tmp_path / "gone.png"), HOW).problem
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    assert "a.png" in convert(item, HOW).problem


def test_a_mask_of_another_size_is_converted(tmp_path: Path) -> None:
    """A mask of another size than its image enters as it is; judging it is the work of validate."""
    item = write(tmp_path)
    Image.fromarray(MASK[:2]).save(tmp_path / "m.png")
    assert decode_mask(convert(item, HOW).mask, LIMITS).shape == (2, 4)


def test_a_pool_gives_what_one_process_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes convert the same items to the same results in the same order."""
    item = write(tmp_path)
    items = [replace(item, name=f"i{number}") for number in range(40)]
    monkeypatch.setattr(pool, "POOL_PAYS_AFTER_S", 0.0)
    assert list(pool.convert_all(items, HOW, workers=2)) == [convert(each, HOW) for each in items]


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.fromarray(np.array([[False, True]])), [[0, 1]]),
        (Image.fromarray(np.array([[7, 40000]], dtype=np.uint16)), [[7, 40000]]),
        (Image.fromarray(np.array([[[9, 0], [8, 255]]], dtype=np.uint8)), [[9, 8]]),
        (Image.fromarray(np.array([[[1, 2, 3, 0]]], dtype=np.uint8)), [[[1, 2, 3]]]),
    ],
)
def test_source_masks_are_decoded_as_they_are(picture: Image.Image, expected: list[object]) -> None:
    """1-bit, 16-bit, grey with transparency and RGBA masks give their values; transparency is dropped."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    assert decode_pixels(buffer.getvalue(), LIMITS)[0].tolist() == expected


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_mask_with_an_orientation_of_its_own_turns_once(tmp_path: Path, orientation: int) -> None:
    """A mask that carries the image's EXIF tag lies over the image, however masks are said to lie."""
    item = write(tmp_path, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(MASK).save(tmp_path / "m.png", exif=exif)
    converted = convert(item, replace(HOW, mask_as_stored=True))
    assert np.array_equal(decode_mask(converted.mask, LIMITS) * 100, decode_image(converted.image, LIMITS)[..., 0])


def test_a_threshold_takes_white_of_one_bit_for_white(tmp_path: Path) -> None:
    """Black and white masks that were saved with one bit come out as their grey twins do."""
    item = write(tmp_path)
    white = np.where(MASK > 0, 255, 0).astype(np.uint8)
    labels = Labels(TAXONOMY, Remap(threshold=128, above="c2", below="c1"), Legend())
    masks = []
    for mode in ("L", "1"):
        Image.fromarray(white).convert(mode).save(tmp_path / "m.png")
        masks.append(decode_mask(convert(item, replace(HOW, labels=labels)).mask, LIMITS))
    assert np.array_equal(masks[0], masks[1])
    assert set(masks[1].ravel()) == {1, 2}
