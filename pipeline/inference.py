"""Runs an exported graph: checks that it is the graph that was exported, and segments images of any size."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.tiling import TileGrid, predict_strips

MODEL, FACTS, SAMPLES = "model.onnx", "export.json", "samples.npz"
INPUT = "image"
WHOLE = ("labels", "confidence", "expected_intersection", "expected_union", "embedding")
TILED = ("probabilities", "embedding")

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """Finished rows of one image, from top to bottom.

    Attributes:
        y0: The first row's place in the image.
        probabilities: Shape (C, h, W), float32.
        labels: Shape (h, W), uint8.
        confidence: Shape (h, W), float32; the probability of the label.
    """

    y0: int
    probabilities: Floats
    labels: Image
    confidence: Floats


@dataclass(frozen=True)
class Prediction:
    """What the graph says about one image.

    Attributes:
        labels: Shape (H, W), uint8.
        confidence: Shape (H, W), float32; the probability of the label.
        expected_intersection: Shape (C,), float64, pixels; see `training.graph.expected_overlap`.
        expected_union: Shape (C,), float64, pixels.
        embedding: Shape (D,), float32; the mean over the tiles, weighted by the area each one speaks for.
        tiles: How many tiles the image took.
    """

    labels: Image
    confidence: Floats
    expected_intersection: npt.NDArray[np.float64]
    expected_union: npt.NDArray[np.float64]
    embedding: Floats
    tiles: int


class Segmenter:
    """An exported graph in ONNX Runtime on the CPU.

    Args:
        folder: The export: `model.onnx`, `export.json` and `samples.npz`.
        threads: Threads of one call; 0 takes every core.
        batch_size: Most tiles in one call.

    Attributes:
        facts: The content of `export.json`.

    Raises:
        ValueError: A file is missing, or the graph is not the one that `export.json` describes.
    """

    def __init__(self, folder: Path, *, threads: int = 0, batch_size: int = 1) -> None:
        import onnxruntime

        self._folder = folder
        self._batch_size = batch_size
        self.facts, model = _read(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors; it warns of shapes and folded constants that do no harm
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        # Skips the nodes that only lead to outputs not asked for.
        self._run_options = onnxruntime.RunOptions()
        self._run_options.only_execute_path_to_fetches = True
        self.num_classes = int(self._session.get_outputs()[0].shape[1])

    def run(self, images: Image, names: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
        """Runs the graph once.

        Args:
            images: Shape (N, H, W, 3), uint8 RGB.
            names: The outputs wanted.
        """
        values = self._session.run(list(names), {INPUT: images}, self._run_options)
        return dict(zip(names, values, strict=True))

    def grid(self, height: int, width: int) -> TileGrid:
        """The tiles that an image of this size takes."""
        return TileGrid(height, width, int(self.facts["tile_px"]), int(self.facts["overlap_px"]))

    def predict(self, image: Image) -> Prediction:
        """Segments an image of any size: one that is no larger than a tile in one call, a larger one by tiles.

        Args:
            image: Shape (H, W, 3), uint8 RGB.

        Raises:
            ValueError: The image is not of this shape and type.
        """
        if len(self.grid(*image.shape[:2]).origins()) > 1:
            return self.predict_rows(image, lambda _: None)
        values = {name: value[0] for name, value in self.run(_checked(image)[None], WHOLE).items()}
        for name in ("expected_intersection", "expected_union"):
            values[name] = values[name].astype(np.float64)
        return Prediction(**values, tiles=1)

    def predict_rows(self, image: Image, visit: Callable[[Rows], None]) -> Prediction:
        """Segments an image by tiles and shows the finished rows, probabilities included, as they come.

        Memory is bounded by one row of tiles, besides the label map and its confidence.

        Args:
            image: Shape (H, W, 3), uint8 RGB.
            visit: Called with each strip of rows, from top to bottom.

        Raises:
            ValueError: The image is not of this shape and type.
        """
        grid = self.grid(*_checked(image).shape[:2])
        embeddings: list[Floats] = []

        def tiles(batch: Image) -> Floats:
            values = self.run(np.ascontiguousarray(batch), TILED)
            embeddings.append(values["embedding"])
            return values["probabilities"]

        total = _Total(grid.height, grid.width, self.num_classes)
        for strip in predict_strips(
            image,
            tiles,
            tile_px=grid.tile_px,
            overlap_px=grid.overlap_px,
            num_classes=self.num_classes,
            batch_size=self._batch_size,
        ):
            rows = Rows(strip.y0, strip.probabilities, *strip.top())
            total.add(rows)
            visit(rows)
        embedding = grid.shares() @ np.concatenate(embeddings)
        return total.prediction(embedding.astype(np.float32), len(grid.origins()))

    def self_test(self) -> None:
        """Proves that this engine computes what the exporting one did, on the inputs that travel along.

        Raises:
            ValueError: A sample's result differs by more than `export.json` allows.
        """
        limits = self.facts["self_test"]
        with np.load(self._folder / SAMPLES) as samples:
            for number in range(sum(name.startswith("image_") for name in samples.files)):
                values = self.run(samples[f"image_{number}"][None], ("probabilities", "labels"))
                equal = float((values["labels"][0] == samples[f"labels_{number}"]).mean())
                expected = samples[f"probabilities_{number}"].astype(np.float32)
                error = float(np.abs(values["probabilities"][0] - expected).max())
                if equal < limits["min_equal_labels"] or not error <= limits["max_probability_error"]:
                    raise ValueError(
                        f"{self._folder / MODEL} does not compute here what it was exported with: sample {number} has "
                        f"{equal:.4%} equal labels and probabilities off by {error:.2g}; allowed are {limits}.",
                    )


@dataclass
class _Total:
    """Sums over the rows of one image."""

    height: int
    width: int
    num_classes: int
    labels: Image = field(init=False)
    confidence: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.labels = np.empty((self.height, self.width), np.uint8)
        self.confidence = np.empty((self.height, self.width), np.float32)
        self._inside, self._labelled, self._mass = np.zeros((3, self.num_classes))

    def add(self, rows: Rows) -> None:
        here = slice(rows.y0, rows.y0 + len(rows.labels))
        self.labels[here], self.confidence[here] = rows.labels, rows.confidence
        flat = rows.labels.ravel()
        self._inside += np.bincount(flat, rows.confidence.ravel(), self.num_classes)
        self._labelled += np.bincount(flat, minlength=self.num_classes)
        self._mass += rows.probabilities.sum(axis=(1, 2), dtype=np.float64)

    def prediction(self, embedding: Floats, tiles: int) -> Prediction:
        union = self._labelled + self._mass - self._inside
        return Prediction(self.labels, self.confidence, self._inside, union, embedding, tiles)


def _checked(image: Image) -> Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:  # noqa: PLR2004 - RGB
        raise ValueError(f"An image is uint8 of shape (H, W, 3), received {image.dtype} of shape {image.shape}.")
    return np.ascontiguousarray(image)


def _read(folder: Path) -> tuple[dict[str, Any], bytes]:
    for name in (FACTS, MODEL):
        if not (folder / name).is_file():
            raise ValueError(f"There is no {folder / name}: run the stage export.")
    facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    model = (folder / MODEL).read_bytes()
    digest = hashlib.sha256(model).hexdigest()
    if digest != facts["digest"]:
        raise ValueError(f"{folder / MODEL} has digest {digest}, {FACTS} says {facts['digest']}: export it again.")
    return facts, model
