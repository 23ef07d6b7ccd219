"""Collects what Datumaro finds wrong with single items, so that the others can still be imported.

Most of its importers report to an error policy; those of CVAT and LabelMe raise, and are wrapped here.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Damage:
    """One thing that could not be imported.

    Attributes:
        key: The item's name; in COCO the number of the image or annotation.
        subset: The subset it lies in.
        reason: What is wrong.
        whole_item: Whether the item itself is missing from the import, rather than one of its annotations.
    """

    key: object
    subset: str
    reason: str
    whole_item: bool


def recording_policy() -> tuple[Any, list[Damage]]:
    """A Datumaro error policy that records damage and goes on, and the list it records into."""
    from datumaro.components.importer import ImportErrorPolicy

    damages: list[Damage] = []

    class Recording(ImportErrorPolicy):  # type: ignore[misc]  # Datumaro has no types
        def _handle_item_error(self, error: Any) -> None:
            key, subset = error.item_id
            damages.append(Damage(key, subset, str(error.__cause__), whole_item=True))

        def _handle_annotation_error(self, error: Any) -> None:
            key, subset = error.item_id
            damages.append(Damage(key, subset, f"annotation: {error.__cause__}", whole_item=False))

    return Recording(), damages


def with_coco_images(damages: Iterable[Damage], root: Path) -> list[Damage]:
    """COCO's damaged annotations, keyed by the image they belong to rather than by their own number."""
    found = list(damages)
    if all(damage.whole_item for damage in found):
        return found
    images = {
        (file.stem.partition("_")[2], annotation.get("id")): annotation.get("image_id")
        for file in sorted(root.glob("**/annotations/*.json"))
        for annotation in json.loads(file.read_text(encoding="utf-8")).get("annotations", [])
    }
    return [each if each.whole_item else replace(each, key=images[each.subset, each.key]) for each in found]


def sparing_cvat(load: Callable[..., Any], damages: list[Damage]) -> Callable[..., Any]:
    """CVAT's loader of items, wrapped so that an image that is not there is recorded and left out."""

    def sparing(base: Any, frames: Mapping[str, dict[str, Any]]) -> Any:
        folders = [Path(base._images_dir), Path(base._images_dir) / (base._subset or "")]  # noqa: SLF001 - no accessor
        there: dict[str, dict[str, Any]] = {}
        for frame, found in frames.items():
            name = found.get("name")
            if name is None or any((folder / name).exists() for folder in folders):
                there[frame] = found
            else:
                lost = str(Path(name).with_suffix(""))
                damages.append(Damage(lost, base.subset, f"there is no image {name}", whole_item=True))
        return load(base, there)

    return sparing


def sparing_labelme(parse: Callable[..., list[Any]], damages: list[Damage]) -> Callable[..., list[Any]]:
    """LabelMe's parser of one image's objects, wrapped so that a malformed or missing object is recorded."""

    def sparing(xml: Any, path: str, subset: str, categories: Any) -> list[Any]:
        try:
            return parse(xml, path, subset, categories)
        except (AttributeError, OSError, ValueError) as error:
            # What it raises on an element, number or mask file that is missing or malformed.
            name = str(Path(xml.find("filename").text).with_suffix(""))
            reason = f"annotation: an object is malformed or its mask cannot be read ({error})"
            damages.append(Damage(name, subset or "default", reason, whole_item=False))
            return []

    return sparing
