"""Turns a rendered scene into annotated items: who drew which mask, what went wrong, which frames nearly repeat."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

import cv2
import numpy as np
from pydantic import Field, model_validator

from pipeline.demo.faults import (
    NEAR_DUPLICATE,
    Fault,
    FaultRates,
    FaultSizes,
    draw_kind,
    fault_weights,
    inject,
    jitter,
)
from pipeline.demo.light import Shift
from pipeline.demo.scene import Frame, SceneOptions, random_streams, render
from pipeline.files import sha256_bytes
from pipeline.images import encode_mask
from pipeline.params import Section
from pipeline.parts import Item

Share = Annotated[float, Field(ge=0, le=1)]

SOURCE = "demo"
NUM_CLASSES = 5
OPENING = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
ANNOTATION_STREAM = 1  # set apart from the streams that render, so that faults never change a picture


class DemoDataParams(Section):
    """Section `demo_data` of the parameters; each key is explained there.

    Fault rates are averages over the annotators: each errs in proportion to 1 - skill.
    """

    seed: int = Field(ge=0)
    scenes: int = Field(ge=0)
    frames_per_scene: int = Field(ge=1)
    width: int = Field(ge=32)
    height: int = Field(ge=32)
    human_share: Share
    jpeg_quality: int = Field(ge=1, le=100)
    near_duplicate_rate: Share
    near_duplicates_across_groups: bool
    annotators: dict[str, Share] = Field(min_length=1)
    annotator_overlap: Share
    jitter_px: float = Field(ge=0)
    faults: FaultRates
    fault_sizes: FaultSizes
    shift: Shift
    preview_scenes: int = Field(ge=0)
    workers: int = Field(ge=0)

    @model_validator(mode="after")
    def _fault_rates_fit(self) -> Self:
        total = sum(self.faults.model_dump().values())
        highest = total * max(fault_weights(self.annotators).values())
        if total > 0 and highest == 0:
            raise ValueError("faults need an annotator with a skill below 1")
        if highest > 1:
            raise ValueError(
                f"the least skilled annotator would err {highest:.2f} times an item; lower the fault rates"
            )
        return self

    @model_validator(mode="after")
    def _enough_annotators(self) -> Self:
        if self.annotator_overlap > 0 and len(self.annotators) < 2:  # noqa: PLR2004 - two make an overlap
            raise ValueError("annotator_overlap needs at least two annotators")
        return self

    def scene_options(self) -> SceneOptions:
        """What the rendering needs."""
        return SceneOptions(self.seed, self.frames_per_scene, (self.width, self.height), self.human_share, self.shift)


@dataclass(frozen=True)
class SceneItems:
    """What one scene adds to the dataset.

    Attributes:
        items: Its annotated images.
        truth: Rows of truth.parquet, as dicts.
        class_px: True pixels per class, by item. Shape: (N, 5), int64.
    """

    items: list[Item]
    truth: list[dict[str, Any]]
    class_px: np.ndarray


def annotate_scene(params: DemoDataParams, scene: int) -> SceneItems:
    """Renders one scene and annotates it; depends on nothing but its arguments.

    Args:
        params: The section's values.
        scene: The scene's number.
    """
    cv2.setNumThreads(1)  # scenes already run in parallel
    items: list[Item] = []
    truth: list[dict[str, Any]] = []
    counts: list[np.ndarray] = []
    streams = random_streams([params.seed, scene, ANNOTATION_STREAM], params.frames_per_scene)
    for number, (frame, rng) in enumerate(zip(render(params.scene_options(), scene), streams, strict=True)):
        base = _base_item(params, scene, number, frame)
        for item, rows in _annotated(params, base, frame, rng):
            items.append(item)
            truth += rows
            counts.append(np.bincount(frame.mask.ravel(), minlength=NUM_CLASSES))
    return SceneItems(items, truth, np.array(counts))


def group_name(scene: int) -> str:
    """The group of a scene's items."""
    return f"scene-{scene:05d}"


def _base_item(params: DemoDataParams, scene: int, number: int, frame: Frame) -> Item:
    name = f"{group_name(scene)}-{number:02d}"
    image, mask = _jpeg(frame.image, params.jpeg_quality), encode_mask(frame.mask)
    return Item(
        item_id=name, image=image, mask=mask, image_path=f"{name}.jpg", mask_path=f"{name}.png",
        group=group_name(scene), sha256=sha256_bytes(image), mask_source_sha256=sha256_bytes(mask), source=SOURCE,
        sequence_index=number, captured_at=OPENING + timedelta(minutes=10 * scene, seconds=2 * number),
        slices={"camera": frame.camera, "lighting": frame.lighting},
    )  # fmt: skip


def _annotated(
    params: DemoDataParams, base: Item, frame: Frame, rng: np.random.Generator
) -> Iterator[tuple[Item, list[dict[str, Any]]]]:
    """The frame as its annotators drew it, and perhaps a near-duplicate of it."""
    order = [str(name) for name in rng.permutation(sorted(params.annotators))]
    overlapping, repeated = rng.random(2) < [params.annotator_overlap, params.near_duplicate_rate]
    drawn = [
        replace(base, item_id=f"{base.item_id}~{name}" if overlapping else base.item_id, annotator=name)
        for name in order[: 2 if overlapping else 1]
    ]
    for item in drawn:
        yield _drawn(params, item, frame.mask, rng)
    if repeated:
        yield _repeated(params, drawn[0], frame, rng)


def _drawn(
    params: DemoDataParams, item: Item, clean: np.ndarray, rng: np.random.Generator
) -> tuple[Item, list[dict[str, Any]]]:
    """The item with the mask that its annotator drew, and a row of truth for each thing that went wrong."""
    skill = params.annotators[str(item.annotator)]
    weight = fault_weights(params.annotators)[str(item.annotator)]
    mask, shaken = jitter(clean, params.jitter_px * (1 - skill), rng)
    kind, fault = draw_kind(rng, params.faults, weight), None
    if kind:
        mask, fault = inject(mask, kind, params.fault_sizes, rng)
    rows = [_truth_row(item, each, clean) for each in (shaken, fault) if each]
    if not rows:
        return item, []
    drawn = encode_mask(mask)
    return replace(item, mask=drawn, mask_source_sha256=sha256_bytes(drawn)), rows


def _repeated(
    params: DemoDataParams, item: Item, frame: Frame, rng: np.random.Generator
) -> tuple[Item, list[dict[str, Any]]]:
    """The same view an instant later: a breath of other light and noise, the true mask."""
    gain = float(rng.uniform(0.985, 1.015))
    grain = rng.standard_normal(frame.image.shape, dtype=np.float32)
    image = _jpeg(
        np.clip(np.rint(frame.image * np.float32(gain) + grain), 0, 255).astype(np.uint8), params.jpeg_quality
    )
    assert item.sequence_index is not None
    assert item.captured_at is not None
    name = f"{item.item_id.partition('~')[0]}-near"
    copy = replace(
        item, item_id=name, image=image, sha256=sha256_bytes(image),
        image_path=f"{name}.jpg", mask_path=f"{name}.png",
        sequence_index=item.sequence_index + params.frames_per_scene,
        captured_at=item.captured_at + timedelta(seconds=1),
        group=_other_group(params, item.group) if params.near_duplicates_across_groups else item.group,
    )  # fmt: skip
    fault = Fault(NEAR_DUPLICATE, {"of": item.item_id, "of_group": item.group, "gain": round(gain, 4)})
    return copy, [_truth_row(copy, fault, frame.mask)]


def _other_group(params: DemoDataParams, group: str) -> str:
    """The group half-way round the dataset: another one wherever there are two."""
    scene = int(group.rsplit("-", 1)[1])
    return group_name((scene + max(params.scenes // 2, 1)) % params.scenes)


def _truth_row(item: Item, fault: Fault, clean: np.ndarray) -> dict[str, Any]:
    x, y, width, height = fault.bbox
    return {
        "item_id": item.item_id,
        "kind": fault.kind,
        "annotator": item.annotator,
        "x": x,
        "y": y,
        "width": width,
        "height": height,
        "changed_px": fault.changed_px,
        "detail": fault.detail_json(),
        "clean_mask": encode_mask(clean),
    }


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return bytes(data)
