"""Predicts the chosen images with both graphs, as panels that lie inside the page."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.dossiers.choices import Chosen
from pipeline.dossiers.inputs import DossierInputs
from pipeline.dossiers.sides import Evidence
from pipeline.errors import UserError
from pipeline.evaluate import Holdout
from pipeline.gallery import error_map
from pipeline.images import ImageError, colour_mask, decode_image, decode_mask
from pipeline.inference import Segmenter
from pipeline.taxonomy import Taxonomy

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]

SMALLEST_PX = 32


@dataclass(frozen=True)
class Shot:
    """An image with what is true and what is predicted, at the size of the page's pictures.

    Attributes:
        image: Shape (h, w, 3), uint8 RGB.
        truth: Shape (h, w), uint8.
        candidate: Shape (h, w), uint8.
        champion: Shape (h, w), uint8; None without one.
        about: Its group and slices.
    """

    image: Pixels
    truth: Pixels
    candidate: Pixels
    champion: Pixels | None
    about: str


@dataclass(frozen=True)
class Panel:
    """One picture: its kind, its title, what it shows in words, and itself as a data URI."""

    kind: str
    title: str
    alt: str
    uri: str


@dataclass(frozen=True)
class Figure:
    """A chosen image.

    Attributes:
        key: Its anchor; empty where it is shown under an earlier heading.
        item_id: Its name.
        reason: Why it is shown.
        about: Its group and slices.
        panels: Side by side; none where it is shown under an earlier heading.
        wipe: The places of the two panels that the slider wipes between.
        shown_at: Anchor of the figure that shows it; empty where it is this one.
    """

    key: str
    item_id: str
    reason: str
    about: str
    panels: list[Panel]
    wipe: Size
    shown_at: str


@dataclass(frozen=True)
class Gallery:
    """Figures under one heading."""

    key: str
    heading: str
    note: str
    figures: list[Figure]


@dataclass(frozen=True)
class Level:
    """How much of the album is shown: the share of each heading's images, and the size of the pictures."""

    images: float
    size: float


class Album:
    """The chosen images with their predictions, ready to be encoded at any level.

    Args:
        chosen: The images.
        shots: By item; those that could not be decoded are missing.
        taxonomy: Colours and void.
        quality: Of photographs, as WebP has it.
    """

    def __init__(self, chosen: Sequence[Chosen], shots: dict[str, Shot], taxonomy: Taxonomy, quality: int) -> None:
        self._chosen, self._shots, self._taxonomy, self._quality = chosen, shots, taxonomy, quality

    def galleries(self, level: Level) -> list[Gallery]:
        """The album at a level; an image under two headings is shown once and linked to."""
        shown: dict[str, str] = {}
        found = []
        for group in self._chosen:
            there = [choice for choice in group.choices if choice.item_id in self._shots]
            figures = []
            for number, choice in enumerate(there[: math.ceil(len(there) * level.images)]):
                at = shown.get(choice.item_id, "")
                key = "" if at else f"{group.key}-{number}"
                shown.setdefault(choice.item_id, key)
                shot = self._shots[choice.item_id]
                panels = [] if at else self._panels(shot, choice.item_id, level.size)
                wipe = (1, 2) if shot.champion is None else (2, 3)
                figures.append(Figure(key, choice.item_id, choice.reason, shot.about, panels, wipe, at))
            found.append(Gallery(group.key, group.heading, group.note, figures))
        return [gallery for gallery in found if gallery.figures]

    def _panels(self, shot: Shot, item_id: str, size: float) -> list[Panel]:
        void = self._taxonomy.ignore_index
        masks = [("truth", shot.truth), ("champion", shot.champion), ("candidate", shot.candidate)]
        panels = [Panel("image", "image", f"photograph {item_id}", _photo(_scaled(shot.image, size), self._quality))]
        for title, mask in masks:
            if mask is not None:
                wrong = float(((mask != shot.truth) & (shot.truth != void)).sum() / max((shot.truth != void).sum(), 1))
                alt = f"mask of {item_id}: {title}" + ("" if title == "truth" else f", {wrong:.1%} of the pixels wrong")
                painted = colour_mask(_scaled(mask, size), self._taxonomy.palette())
                panels.append(Panel(title, title, alt, _exact(painted)))
        errors = error_map(shot.image, shot.truth, shot.candidate, void)
        alt = f"errors of the candidate in {item_id}, marked in red"
        return [*panels, Panel("errors", "candidate's errors", alt, _photo(_scaled(errors, size), self._quality))]


def take_album(inputs: DossierInputs, holdout: Holdout, sides: Sequence[Evidence], chosen: Sequence[Chosen]) -> Album:
    """Reads the chosen images and predicts them.

    Args:
        inputs: What the dossier is made from.
        holdout: The verdict's.
        sides: The candidate, and the champion if there is one.
        chosen: The images.

    Raises:
        UserError: An image has changed since the holdout was listed, or a graph is damaged.
    """
    graphs = [_open(side.side.artifacts / "export", inputs.params.threads) for side in sides]
    wanted = sorted({choice.item_id for group in chosen for choice in group.choices})
    shots = _shots(inputs, holdout, graphs, wanted)
    return Album(chosen, shots, sides[0].taxonomy, inputs.params.picture_quality)


def _shots(inputs: DossierInputs, holdout: Holdout, graphs: Sequence[Segmenter], wanted: list[str]) -> dict[str, Shot]:
    found = {}
    for item, image, mask in holdout.read(wanted):
        try:
            pixels, truth = decode_image(image, inputs.limits), decode_mask(mask, inputs.limits)
        except ImageError:
            continue  # listed as failed where it was measured
        size = _fitting(truth.shape[1], truth.shape[0], inputs.params.picture_px)
        labels = [_nearest(graph.predict(pixels).labels, size) for graph in graphs]
        slices = [f"{name} {value}" for name, value in sorted(item["slices"].items())]
        shot = Shot(
            image=_resized(pixels, size, Image.Resampling.BOX),
            truth=_nearest(truth, size),
            candidate=labels[0],
            champion=labels[1] if len(labels) > 1 else None,
            about=", ".join([f"group {item['group']}", *slices]),
        )
        found[str(item["item_id"])] = shot
    return found


def _open(export: Path, threads: int) -> Segmenter:
    try:
        return Segmenter(export, threads=threads)
    except ValueError as error:
        raise UserError(str(error)) from None


def _fitting(width: int, height: int, longest_px: int) -> Size:
    step = max(max(width, height) / longest_px, 1.0)
    return max(round(width / step), 1), max(round(height / step), 1)


def _scaled(picture: Pixels, size: float) -> Pixels:
    """A picture at a share of its size; ids are never mixed, photographs are averaged."""
    height, width = picture.shape[:2]
    if size >= 1:
        return picture
    to = _fitting(width, height, max(round(max(width, height) * size), SMALLEST_PX))
    return _nearest(picture, to) if picture.ndim == 2 else _resized(picture, to, Image.Resampling.BOX)  # noqa: PLR2004


def _nearest(mask: Pixels, size: Size) -> Pixels:
    return _resized(mask, size, Image.Resampling.NEAREST)


def _resized(picture: Pixels, size: Size, how: Image.Resampling) -> Pixels:
    return np.asarray(Image.fromarray(picture).resize(size, how))


def _photo(picture: Pixels, quality: int) -> str:
    return _uri(picture, lossless=False, quality=quality)


def _exact(picture: Pixels) -> str:
    return _uri(picture, lossless=True, quality=100)


def _uri(picture: Pixels, *, lossless: bool, quality: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="WEBP", lossless=lossless, quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
