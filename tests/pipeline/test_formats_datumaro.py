"""Every format that Datumaro writes comes back as the masks that went in."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import datumaro
import numpy as np
import pytest
from datumaro.components.annotation import AnnotationType, Bbox, LabelCategories, Mask, MaskCategories, Polygon
from datumaro.components.media import Image as Media
from PIL import Image

from pipeline.errors import UserError
from pipeline.formats import read_source
from pipeline.formats.convert import Conversion, Converted, convert
from pipeline.formats.labels import Labels
from pipeline.formats.source import Source
from pipeline.images import Limits, decode_mask
from pipeline.taxonomy import ClassSpec, Remap, Taxonomy

# pycocotools' own arrays, under numpy 2, and the exporter of Datumaro.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Saving I mode images:DeprecationWarning"),
]

NAMES = ["background", "floor", "pallet"]
COLOURS = [(0, 0, 0), (10, 200, 30), (200, 0, 99)]
TAXONOMY = Taxonomy(
    version=1,
    classes=tuple(ClassSpec(id=i, name=name, colour=f"#00000{i}") for i, name in enumerate(NAMES)),
)
LIMITS = Limits(max_bytes=10**6, max_pixels=10**6)

TRUTH = np.zeros((24, 32), dtype=np.uint8)
TRUTH[:, :16], TRUTH[4:10, 10:30] = 1, 2


def annotations(kind: str) -> list[object]:
    """The truth as annotations: masks of every class, crowd masks or overlapping polygons."""
    if kind == "masks":
        return [Mask(label == TRUTH, label=label, id=label + 1, group=label + 1) for label in range(3)]
    if kind == "rle":
        crowd = {"is_crowd": True}
        return [Mask(label == TRUTH, label=label, id=label, group=label, attributes=crowd) for label in (1, 2)]
    floor, pallet = [0, 0, 16, 0, 16, 24, 0, 24], [10, 4, 30, 4, 30, 10, 10, 10]
    return [Polygon(floor, label=1, id=1, group=1), Polygon(pallet, label=2, id=2, group=2)]


def items(kind: str) -> Iterator[object]:
    """One item in train and one in val."""
    for number, (split, name) in enumerate((("train", "a_1"), ("val", "b_1"))):
        media = Media.from_numpy(np.full((24, 32, 3), 40 * number, dtype=np.uint8), ext=".png")
        found = annotations(kind)
        yield datumaro.DatasetItem(
            id=name, subset=split, media=media, annotations=found, attributes={"id": number + 1, "frame": number}
        )


def export(root: Path, name: str, kind: str) -> Path:
    """Writes the truth in a format through Datumaro's own exporter."""
    categories = {
        AnnotationType.label: LabelCategories.from_iterable(NAMES),
        AnnotationType.mask: MaskCategories(dict(enumerate(COLOURS))),
    }
    dataset = datumaro.Dataset.from_iterable(list(items(kind)), categories=categories, media_type=Media)
    dataset.export(str(root), name, save_media=True)
    return root


def write_common(root: Path) -> Path:
    """Writes the truth as common semantic segmentation, which Datumaro reads but does not write."""
    meta = {"label_map": {str(i): name for i, name in enumerate(NAMES)}, "segmentation_colors": COLOURS}
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    (root / "dataset_meta.json").write_text(json.dumps(meta))
    for name in ("a_1", "b_1"):
        Image.new("RGB", (32, 24)).save(root / f"images/{name}.png")
        Image.fromarray(np.array(COLOURS, dtype=np.uint8)[TRUTH]).save(root / f"masks/{name}.png")
    return root


def converted(source: Source, remap: Remap | None = None) -> dict[str, Converted]:
    """Every item of a source, converted."""
    how = Conversion(Labels(TAXONOMY, remap, source.legend), LIMITS, mask_as_stored=False)
    return {item.name: convert(item, how) for item in source.items}


@pytest.mark.parametrize(
    ("name", "exporter", "kind"),
    [
        ("camvid", "camvid", "masks"),
        ("cityscapes", "cityscapes", "masks"),
        ("coco", "coco_instances", "polygons"),
        ("coco", "coco_instances", "rle"),
        ("cvat", "cvat", "polygons"),
        ("cvat", "cvat", "rle"),
        ("label_me", "label_me", "polygons"),
        ("label_me", "label_me", "rle"),
        ("voc", "voc_segmentation", "masks"),
    ],
)
def test_a_format_brings_back_its_masks_and_splits(tmp_path: Path, name: str, exporter: str, kind: str) -> None:
    """What went in as masks, run lengths or polygons comes out as the same class ids, with the split of each item."""
    source = read_source(export(tmp_path, exporter, kind), name)
    assert {item.name: item.split for item in source.items} == {"a_1": "train", "b_1": "val"}
    for each in converted(source).values():
        assert each.problem == ""
        assert np.array_equal(decode_mask(each.mask, LIMITS), TRUTH)


def test_common_semantic_segmentation_brings_back_its_masks(tmp_path: Path) -> None:
    """Masks in colours come out as class ids, and an image without a mask is named."""
    root = write_common(tmp_path)
    Image.new("RGB", (32, 24)).save(root / "images/lone.png")
    found = converted(read_source(root, "common_semantic_segmentation"))
    assert np.array_equal(decode_mask(found["a_1"].mask, LIMITS), TRUTH)
    assert "has no mask" in found["lone"].problem


def test_a_damaged_mask_leaves_the_others(tmp_path: Path) -> None:
    """Datumaro opens every mask while it imports; here a damaged one costs its own item only."""
    root = export(tmp_path, "camvid", "masks")
    (root / "trainannot/a_1.png").write_bytes(b"\x89PNG damaged")
    found = converted(read_source(root, "camvid"))
    assert "a_1.png" in found["a_1"].problem
    assert found["b_1"].problem == ""


def test_an_undeclared_colour_is_counted(tmp_path: Path) -> None:
    """A colour that the label map does not declare is reported with its pixels, where Datumaro alone would fail."""
    root = export(tmp_path, "camvid", "masks")
    pixels = np.array(Image.open(root / "trainannot/a_1.png").convert("RGB"))
    pixels[0, :3] = (1, 2, 3)
    Image.fromarray(pixels).save(root / "trainannot/a_1.png")
    assert converted(read_source(root, "camvid"))["a_1"].found["#010203", None] == 3


def test_names_go_through_the_remap(tmp_path: Path) -> None:
    """Label names of a source become classes by the remap, and what no shape covers is its "background"."""
    root = export(tmp_path, "coco_instances", "polygons")
    remap = Remap(names={"background": "ignore", "pallet": "floor"})
    mask = decode_mask(converted(read_source(root, "coco"), remap)["a_1"].mask, LIMITS)
    assert np.array_equal(mask, np.where(TRUTH == 0, 255, 1))


def test_voc_palette_with_void_border(tmp_path: Path) -> None:
    """A palette mask of VOC is read by its colours, so that its void border is the label "ignored"."""
    root = export(tmp_path, "voc_segmentation", "masks")
    (root / "SegmentationObject/a_1.png").unlink()
    with (root / "labelmap.txt").open("a") as file:
        file.write("ignored:224,224,192::\n")
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[:3], palette[255] = COLOURS, (224, 224, 192)
    indices = TRUTH.copy()
    indices[0] = 255
    picture = Image.fromarray(indices).convert("P")
    picture.putpalette(palette.tobytes())
    picture.save(root / "SegmentationClass/a_1.png")
    found = converted(read_source(root, "voc"), Remap(names={"ignored": "ignore"}))
    assert np.array_equal(decode_mask(found["a_1"].mask, LIMITS), indices)


def test_coco_damage_stays_with_its_image(tmp_path: Path) -> None:
    """A malformed annotation, an image without shapes and one outside the folder cost their own item only."""
    root = export(tmp_path, "coco_instances", "polygons")
    file = root / "annotations/instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["segmentation"] = [[1.0, 2.0, 3.0]]
    content["images"].append({"id": 8, "file_name": "../../outside.png", "width": 4, "height": 4})
    Image.new("RGB", (32, 24)).save(root / "images/train/empty.png")
    content["images"].append({"id": 9, "file_name": "empty.png", "width": 32, "height": 24})
    file.write_text(json.dumps(content))
    found = converted(read_source(root, "coco"))
    assert "annotation" in found["a_1"].problem
    assert "no shape" in found["empty"].problem
    assert sum(each.problem == "" for each in found.values()) == 1
    assert any("outside" in each.problem or "parent" in each.problem for each in found.values())


def test_a_missing_cvat_image_leaves_the_others(tmp_path: Path) -> None:
    """An image that CVAT names and the folder lacks costs its own item only."""
    root = export(tmp_path, "cvat", "polygons")
    (root / "images/a_1.png").unlink()
    found = converted(read_source(root, "cvat"))
    assert {name: each.problem for name, each in found.items()} == {"a_1": "there is no image a_1.png", "b_1": ""}


@pytest.mark.parametrize("harm", [Path.unlink, lambda file: file.write_bytes(b"no image")])
def test_a_bad_label_me_mask_leaves_the_others(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    """A mask file of LabelMe that is missing or damaged costs its own item only."""
    root = export(tmp_path, "label_me", "rle")
    harm(root / "Masks/train/a_1_mask_0.png")
    found = converted(read_source(root, "label_me"))
    assert "mask" in found["a_1"].problem
    assert found["b_1"].problem == ""


def test_datumaro_is_left_as_it_was(tmp_path: Path) -> None:
    """After an import Datumaro itself reads masks as before."""
    root = export(tmp_path, "camvid", "masks")
    read_source(root, "camvid")
    item = next(iter(datumaro.Dataset.import_from(str(root), "camvid")))
    assert item.annotations[0].image.shape == TRUTH.shape


def test_a_box_is_no_outline(tmp_path: Path) -> None:
    """An item annotated by boxes is left out, since a box says nothing of pixels."""
    boxed = datumaro.DatasetItem(
        id="a",
        subset="train",
        media=Media.from_numpy(np.zeros((8, 8, 3), dtype=np.uint8), ext=".png"),
        annotations=[Bbox(1, 1, 3, 3, label=1)],
        attributes={"frame": 0},
    )
    dataset = datumaro.Dataset.from_iterable([boxed], categories=NAMES, media_type=Media)
    dataset.export(str(tmp_path), "cvat", save_media=True)
    assert "bbox of 'floor'" in converted(read_source(tmp_path, "cvat"))["a"].problem


def test_a_folder_of_another_format_is_refused(tmp_path: Path) -> None:
    """A folder that Datumaro cannot read as the format is the user's mistake."""
    with pytest.raises(UserError, match="cannot be read as 'voc'"):
        read_source(tmp_path, "voc")
