"""Compares the exported graph with the torch module that it was made from, and makes the samples that travel along."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.inference import Segmenter
from training.confusion import confusion_matrix
from training.metrics import mean_iou

if TYPE_CHECKING:
    from training.graph import ServingGraph

Tiles = npt.NDArray[np.uint8]


def compare(graph: "ServingGraph", exported: Segmenter, batches: Iterable[Tiles], ignore_index: int) -> dict[str, Any]:
    """Runs both on the same tiles.

    Args:
        graph: The torch module.
        exported: The exported graph.
        batches: Tiles of shape (B, H, W, 4), uint8: RGB and mask.
        ignore_index: The void label.

    Returns:
        tiles; equal_labels, the share of pixels with the same label; max_probability_error; miou_torch, miou_onnx
        and miou_drop against the masks, null where no class is defined.
    """
    import torch

    classes = exported.num_classes
    confusion = np.zeros((2, classes, classes), np.int64)
    tiles = pixels = equal = 0
    error = 0.0
    for batch in batches:
        image, truth = np.ascontiguousarray(batch[..., :3]), np.ascontiguousarray(batch[..., 3])
        with torch.inference_mode():
            ours = graph(torch.from_numpy(image))
        theirs = exported.run(image, ("labels", "probabilities"))
        labels = (ours.labels.numpy(), theirs["labels"])
        confusion += [confusion_matrix(truth, each, classes, ignore_index) for each in labels]
        equal += int((labels[0] == labels[1]).sum())
        tiles, pixels = tiles + len(batch), pixels + truth.size
        error = max(error, float(np.abs(ours.probabilities.numpy() - theirs["probabilities"]).max()))
    return {
        "tiles": tiles,
        "equal_labels": equal / pixels,
        "max_probability_error": error,
        **_miou(*mean_iou(confusion)),
    }


def samples(exported: Segmenter, tiles: Tiles) -> dict[str, npt.NDArray[Any]]:
    """Inputs with the outputs that the exported graph gives for them here.

    Args:
        exported: The exported graph.
        tiles: Shape (N, H, W, 4), uint8. Every second one is cut to an odd size, since the graph takes any.

    Returns:
        By number: image_0 (h, w, 3), labels_0 (h, w), probabilities_0 (C, h, w) float16, expected_intersection_0,
        expected_union_0 (C,) and embedding_0 (D,).
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    names = ("labels", "probabilities", "expected_intersection", "expected_union", "embedding")
    for number, tile in enumerate(tiles):
        height, width = tile.shape[:2]
        if number % 2:
            height, width = (height * 3 // 4) | 1, (width // 2) | 1
        image = np.ascontiguousarray(tile[:height, :width, :3])
        values = exported.run(image[None], names)
        arrays[f"image_{number}"] = image
        arrays |= {f"{name}_{number}": values[name][0] for name in names}
        arrays[f"probabilities_{number}"] = values["probabilities"][0].astype(np.float16)
    return arrays


def enlarge(tiles: Tiles, size: int) -> Tiles:
    """Repeats pixels until tiles have the size that they had before they were scaled down.

    The graph scales its input by itself. Shrinking what was enlarged by repetition gives back the tile, so the graph
    sees what the network was trained on.

    Args:
        tiles: Shape (N, T, T, 4), uint8.
        size: Side of the result in pixels, at least T.
    """
    side = tiles.shape[1]
    source = (2 * np.arange(size) + 1) * side // (2 * size)
    return tiles if size == side else tiles[:, source][:, :, source]


def _miou(torch_miou: float, onnx_miou: float) -> dict[str, float | None]:
    if np.isnan([torch_miou, onnx_miou]).any():
        return {"miou_torch": None, "miou_onnx": None, "miou_drop": None}
    figures = {"miou_torch": torch_miou, "miou_onnx": onnx_miou, "miou_drop": torch_miou - onnx_miou}
    return {name: float(value) for name, value in figures.items()}
