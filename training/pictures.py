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

LEGEND_COLUMNS = 6  # what fits under one tile's row of three pictures


def curves(history: Sequence[Epoch], best_epoch: int) -> bytes:
    """Losses, mIoU and IoU by class over the epochs, as PNG; people count epochs from 1.

    Args:
        history: A line per epoch, counted from 0.
        best_epoch: Counted from 0.
    """
    return _png(curves_figure(history, best_epoch))


def curves_figure(history: Sequence[Epoch], best_epoch: int) -> Any:
    """The figure of `curves`."""
    from matplotlib.ticker import MaxNLocator

    figure, (losses, overlaps) = _figure(1, 2, (12, 4.5))
    epochs = [1 + int(each["epoch"] or 0) for each in history]
    for name in ("train_loss", "val_loss"):
        losses.plot(epochs, _series(history, name), label=name.replace("_", " "))
    for name in (name for name in history[0] if name.startswith("val_iou/")):
        overlaps.plot(epochs, _series(history, name), linewidth=1, label=name.removeprefix("val_iou/"))
    overlaps.plot(epochs, _series(history, "val_miou"), color="black", linewidth=2, label="mean")
    overlaps.axvline(1 + best_epoch, color="grey", linestyle=":", label=f"best: epoch {1 + best_epoch}")
    for axes, title in ((losses, "loss"), (overlaps, "IoU on validation tiles")):
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    overlaps.set_ylim(0, 1)
    return figure


def predictions(
    tiles: np.ndarray, predicted: np.ndarray, classes: Sequence[dict[str, Any]], ignore_index: int
) -> bytes:
    """Tiles in rows of image, truth and prediction above a legend of the classes, as PNG; padding stays blank.

    Args:
        tiles: (N, T, T, 4) uint8.
        predicted: (N, T, T) uint8 class ids.
        classes: Id, name and colour of each class.
        ignore_index: The mask's value for void.
    """
    return _png(predictions_figure(tiles, predicted, classes, ignore_index))


def predictions_figure(
    tiles: np.ndarray, predicted: np.ndarray, classes: Sequence[dict[str, Any]], ignore_index: int
) -> Any:
    """The figure of `predictions`."""
    palette = palette_of(classes)
    columns = 2 if len(tiles) > 1 else 1
    rows = -(-len(tiles) // columns)
    figure, axes = _figure(rows, 3 * columns, (6.6 * columns, 2.3 * rows + 0.4))
    for place in axes.flat:
        place.axis("off")
    for number, (tile, labels) in enumerate(zip(tiles, predicted, strict=True)):
        height, width = content_size(tile, ignore_index)
        row = {"image": tile[..., :3], "truth": palette[tile[..., 3]], "prediction": palette[labels]}
        for column, (title, picture) in enumerate(row.items()):
            place = axes.flat[number * 3 + column]
            place.imshow(picture[:height, :width])
            place.set(xlim=(-0.5, tile.shape[1] - 0.5), ylim=(tile.shape[0] - 0.5, -0.5))
            place.set_title(title if number < columns else "", fontsize="small")
    _add_legend(figure, classes, palette[ignore_index])
    return figure


def content_size(tile: np.ndarray, ignore_index: int) -> tuple[int, int]:
    """Height and width of a tile (T, T, 4) without its padding: black void below and right of the image."""
    filled = tile[..., :3].any(axis=2) | (tile[..., 3] != ignore_index)
    if not filled.any():
        return filled.shape[0], filled.shape[1]
    return tuple(int(np.flatnonzero(filled.any(axis=axis)).max()) + 1 for axis in (1, 0))  # type: ignore[return-value]


def _add_legend(figure: Any, classes: Sequence[dict[str, Any]], void: np.ndarray) -> None:
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=str(each["colour"]), label=str(each["name"])) for each in classes]
    patches.append(Patch(facecolor=tuple(void / 255), label="void"))
    columns = min(len(patches), LEGEND_COLUMNS)
    figure.legend(handles=patches, loc="outside lower center", ncols=columns, fontsize="small", frameon=False)


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
