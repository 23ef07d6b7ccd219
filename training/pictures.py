"""Pictures of a training: learning curves, and predictions beside the truth."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.augment import image_and_mask
from training.callbacks import Epoch
from training.task import Normaliser
from training.tiles import TileDataset


def curves(history: Sequence[Epoch], best_epoch: int) -> bytes:
    """Losses, mIoU and IoU by class over the epochs, as PNG."""
    figure, (losses, overlaps) = _figure(1, 2, (12, 4.5))
    epochs = [each["epoch"] for each in history]
    for name in ("train_loss", "val_loss"):
        losses.plot(epochs, _series(history, name), label=name.replace("_", " "))
    for name in (name for name in history[0] if name.startswith("val_iou/")):
        overlaps.plot(epochs, _series(history, name), linewidth=1, label=name.removeprefix("val_iou/"))
    overlaps.plot(epochs, _series(history, "val_miou"), color="black", linewidth=2, label="mean")
    overlaps.axvline(best_epoch, color="grey", linestyle=":", label=f"best: epoch {best_epoch}")
    for axes, title in ((losses, "loss"), (overlaps, "IoU on validation tiles")):
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    overlaps.set_ylim(0, 1)
    return _png(figure)


def predictions(tiles: np.ndarray, predicted: np.ndarray, palette: np.ndarray) -> bytes:
    """Tiles in rows of image, truth and prediction, as PNG.

    Args:
        tiles: (N, T, T, 4) uint8.
        predicted: (N, T, T) uint8 class ids.
        palette: (256, 3) uint8 RGB by mask value.
    """
    pictures = [
        (each[..., :3], palette[each[..., 3]], palette[labels]) for each, labels in zip(tiles, predicted, strict=True)
    ]
    columns = 2 if len(pictures) > 1 else 1
    rows = -(-len(pictures) // columns)
    figure, axes = _figure(rows, 3 * columns, (6.6 * columns, 2.3 * rows))
    for place in axes.flat:
        place.axis("off")
    for number, row in enumerate(pictures):
        for column, (picture, title) in enumerate(zip(row, ("image", "truth", "prediction"), strict=True)):
            place = axes.flat[number * 3 + column]
            place.imshow(picture)
            place.set_title(title if number < columns else "", fontsize="small")
    return _png(figure)


@torch.no_grad()
def predict(network: nn.Module, normaliser: Normaliser, tiles: np.ndarray) -> np.ndarray:
    """Class ids (N, T, T) uint8 of tiles (N, T, T, 4) uint8, on the CPU."""
    images: Tensor = image_and_mask(torch.from_numpy(tiles))[0]
    labels: np.ndarray = network(normaliser(images)).argmax(dim=1).to(torch.uint8).numpy()
    return labels


def telling(tiles: TileDataset, count: int) -> np.ndarray:
    """Choose tiles that together show every class: those with most of each class in turn, rarest class first.

    Returns:
        Tile numbers, shape (at most `count`,), int64, without repetition.
    """
    rarest_first = np.argsort((tiles.class_px > 0).sum(axis=0), kind="stable")
    ranked = np.argsort(-tiles.class_px[:, rarest_first], axis=0, kind="stable")  # (tiles, classes)
    _, first = np.unique(ranked.ravel(), return_index=True)
    chosen: np.ndarray = ranked.ravel()[np.sort(first)][:count]
    return chosen


def palette_of(classes: Sequence[dict[str, Any]]) -> np.ndarray:
    """Colours by mask value, (256, 3) uint8 RGB; void is light grey."""
    palette = np.full((256, 3), 200, dtype=np.uint8)
    for each in classes:
        palette[int(each["id"])] = list(bytes.fromhex(str(each["colour"]).removeprefix("#")))
    return palette


def _figure(rows: int, columns: int, inches: tuple[float, float]) -> Any:
    """A figure that no display takes part in, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def _series(history: Sequence[Epoch], name: str) -> list[float]:
    return [np.nan if each[name] is None else float(each[name] or 0.0) for each in history]


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
