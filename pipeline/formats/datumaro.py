"""Reads the formats that Datumaro knows: it finds items, labels and shapes; pixels are decoded by this project.

Datumaro decodes every mask while it imports, so one damaged mask or undeclared colour would stop the whole source, and
what it returns no longer tells the values that stood in the file. So its mask loaders are replaced by references
for the time of an import, and the files they name are converted like those of the project's own format. Its importers
of CVAT and LabelMe stop at the first item that lacks a file; for the same time they are made to go on.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from pipeline.errors import UserError
from pipeline.formats.damage import Damage, recording_policy, sparing_cvat, sparing_labelme, with_coco_images
from pipeline.formats.source import SPLITS, Legend, Shape, Source, SourceItem, leads_outside, refuse_twins

CITYSCAPES_INSTANCE_STEP = 1000
NO_LABEL = "(no label)"
IMPORTERS = {
    "camvid": "camvid",
    "cityscapes": "cityscapes",
    "coco": "coco",
    "common_semantic_segmentation": "common_semantic_segmentation",
    "cvat": "cvat",
    "label_me": "label_me",
    "voc": "voc_segmentation",
}


class MaskFile:
    """Stands where Datumaro would hold a decoded mask; remembers the file instead.

    Called, as Datumaro does to see which labels occur, it answers with the two values 0 and 1, so that every item with
    a mask file gets an annotation that carries the reference.
    """

    def __init__(self, path: str, *_: object, **__: object) -> None:
        self.path = Path(path)

    def __call__(self) -> np.ndarray:
        """The stand-in. Shape: (1, 2), int64."""
        return np.array([[0, 1]])


def read_datumaro(name: str, root: Path) -> Source:
    """Imports a source folder through Datumaro.

    Args:
        name: A key of `IMPORTERS`.
        root: The source folder.

    Raises:
        UserError: Datumaro cannot import the folder as this format, or two items share a name.
    """
    dataset, damages = _imported(name, root)
    labels, colours = _categories(dataset)
    reasons = {(each.key, each.subset): each.reason for each in damages if not each.whole_item}
    build = partial(_item, name=name, root=root, labels=labels, reasons=reasons)
    lost = [SourceItem(str(each.key), problem=each.reason) for each in damages if each.whole_item]
    items = [*map(build, dataset), *_without_mask(name, root, dataset), *lost]
    refuse_twins(items)
    step = CITYSCAPES_INSTANCE_STEP if name == "cityscapes" else 0
    legend = Legend(dict(enumerate(labels)), {} if name == "cityscapes" else colours, step)
    return Source(sorted(items, key=lambda item: item.name), legend)


def _imported(name: str, root: Path) -> tuple[Any, list[Damage]]:
    import datumaro
    from datumaro.components.errors import DatasetImportError, DatasetNotFoundError

    policy, damages = recording_policy()
    importer = IMPORTERS[name]
    if name == "common_semantic_segmentation" and not (root / "dataset_meta.json").exists():
        importer += "_with_subset_dirs"
    try:
        with _sparing(damages), _quiet():
            dataset = datumaro.Dataset.import_from(str(root), importer, error_policy=policy)
    except (DatasetImportError, DatasetNotFoundError) as error:
        cause = error.__cause__ or error
        raise UserError(f"{root} cannot be read as '{name}': {cause}. Check the format and its folders.") from None
    return dataset, with_coco_images(damages, root) if name == "coco" else damages


@contextmanager
def _quiet() -> Iterator[None]:
    # It logs a line per item for what is normal here, such as a VOC mask without instances.
    from datumaro.util.log_utils import logging_disabled

    with logging_disabled(logging.WARNING):
        yield


@contextmanager
def _sparing(damages: list[Damage]) -> Iterator[None]:
    from datumaro.plugins.data_formats import camvid, cityscapes, common_semantic_segmentation
    from datumaro.plugins.data_formats.cvat.base import CvatBase
    from datumaro.plugins.data_formats.labelme import LabelMeBase
    from datumaro.plugins.data_formats.voc import base as voc

    with ExitStack() as stack:
        for module in (camvid, common_semantic_segmentation, voc):
            stack.enter_context(_replaced(module, "lazy_mask", MaskFile))
        stack.enter_context(_replaced(cityscapes, "lazy_image", MaskFile))
        stack.enter_context(_replaced(CvatBase, "_load_items", sparing_cvat(CvatBase._load_items, damages)))  # noqa: SLF001
        parser = staticmethod(sparing_labelme(LabelMeBase._parse_annotations, damages))  # noqa: SLF001
        stack.enter_context(_replaced(LabelMeBase, "_parse_annotations", parser))
        yield


@contextmanager
def _replaced(owner: ModuleType | type, name: str, substitute: object) -> Iterator[None]:
    original = vars(owner)[name]
    setattr(owner, name, substitute)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _categories(dataset: Any) -> tuple[list[str], dict[str, str]]:
    from datumaro.components.annotation import AnnotationType

    categories = dataset.categories()
    labels = [label.name for label in categories.get(AnnotationType.label, [])]
    masks = categories.get(AnnotationType.mask)
    colours = {} if masks is None else masks.colormap
    return labels, {
        "#{:02x}{:02x}{:02x}".format(*map(int, colour)): labels[index]
        for index, colour in colours.items()
        if index < len(labels)
    }


def _item(found: Any, *, name: str, root: Path, labels: list[str], reasons: Mapping[Any, str]) -> SourceItem:
    image = Path(found.media.path) if found.media is not None else None
    split = found.subset if found.subset in SPLITS else None
    item = SourceItem(found.id, image=image, split=split)
    key = found.attributes.get("id", found.id) if name == "coco" else found.id
    problem = reasons.get((key, found.subset), "")
    if problem:
        return SourceItem(found.id, image=image, problem=problem)
    files = [each.index_mask.path for each in found.annotations if hasattr(each, "index_mask")]
    mask = _class_mask(files[0]) if files else None
    try:
        shapes = () if files else _shapes(found.annotations, labels, coco=name == "coco")
    except (OverflowError, TypeError, ValueError) as error:
        # Run lengths are read only here; these are what malformed ones raise.
        return SourceItem(found.id, image=image, problem=str(error))
    problem = _missing(item, mask or shapes, root)
    return SourceItem(found.id, image=image, mask=mask or shapes, split=split, problem=problem)


def _class_mask(file: Path) -> Path:
    # VOC's annotations point to the instance masks where there are any; the classes lie in the folder beside.
    parts = ["SegmentationClass" if part == "SegmentationObject" else part for part in file.parts]
    return Path(*parts)


def _missing(item: SourceItem, mask: Path | tuple[Shape, ...], root: Path) -> str:
    if item.image is None or not item.image.is_file():
        return f"there is no image {item.image}" if item.image else "its mask has no image"
    if not mask:
        return f"the image {item.image} has no mask and no shape drawn in it"
    files = [item.image, mask] if isinstance(mask, Path) else [item.image]
    return "a link leads outside the source folder" if any(leads_outside(each, root) for each in files) else ""


def _shapes(annotations: list[Any], labels: list[str], *, coco: bool) -> tuple[Shape, ...]:
    """The outlines in drawing order: by depth, then by annotation id (Datumaro reverses COCO's own order)."""
    from datumaro.components.annotation import AnnotationType

    outlines = [each for each in annotations if each.type in {AnnotationType.polygon, AnnotationType.mask}]
    outlined = {each.id for each in outlines} if coco else set()
    boxes = [each for each in annotations if each.type == AnnotationType.bbox and each.id not in outlined]
    others = [each for each in annotations if each.type in {AnnotationType.polyline, AnnotationType.rotated_bbox}]
    for each in [*boxes, *others]:
        raise ValueError(f"a {each.type.name} of '{_label(each, labels)}' is no outline; draw a polygon or a mask")
    ordered = sorted(outlines, key=lambda each: (each.z_order, each.id if coco else 0))
    return tuple(_shape(each, _label(each, labels)) for each in ordered)


def _label(annotation: Any, labels: list[str]) -> str:
    return NO_LABEL if annotation.label is None else labels[annotation.label]


def _shape(annotation: Any, label: str) -> Shape:
    from datumaro.components.annotation import AnnotationType, RleMask
    from pycocotools import mask as coco

    if annotation.type == AnnotationType.polygon:
        return Shape(label, points=tuple(annotation.points))
    if isinstance(annotation, RleMask):
        code = annotation.rle[0] if isinstance(annotation.rle, list) else annotation.rle
    else:
        code = coco.encode(np.asfortranarray(annotation.image, dtype=np.uint8))
    counts = code["counts"]
    size = (int(code["size"][0]), int(code["size"][1]))
    return Shape(label, size=size, counts=counts.encode() if isinstance(counts, str) else counts)


def _without_mask(name: str, root: Path, dataset: Any) -> list[SourceItem]:
    # This importer starts from the masks and never mentions an image that has none.
    if name != "common_semantic_segmentation":
        return []
    used = {Path(item.media.path).resolve() for item in dataset if item.media is not None}
    lone = [path for path in sorted(root.glob("**/images/**/*")) if path.is_file() and path.resolve() not in used]
    return [SourceItem(path.stem, image=path, problem=f"the image {path} has no mask") for path in lone]
