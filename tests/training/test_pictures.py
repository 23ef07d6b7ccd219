"""Tests of the pictures of a training, on the figures before they become PNG."""

import numpy as np

from training.pictures import content_size, curves, curves_figure, predictions, predictions_figure

VOID = 255
CLASSES = [{"id": 0, "name": "floor", "colour": "#3c3c46"}, {"id": 1, "name": "human", "colour": "#d7263d"}]
HISTORY = [
    {"epoch": float(n), "train_loss": 1.0, "val_loss": None, "val_miou": 0.5, "val_iou/floor": 0.5} for n in range(3)
]
SIGNATURE = b"\x89PNG"


def padded(height: int, width: int, side: int = 8) -> np.ndarray:
    """A tile of an image that does not fill it, with void pixels and a black one inside the image."""
    tile = np.zeros((side, side, 4), dtype=np.uint8)
    tile[..., 3] = VOID
    tile[:height, :width] = (10, 20, 30, 1)
    tile[0, 0] = (0, 0, 0, VOID)
    tile[height - 1, width - 1, 3] = VOID
    return tile


def test_epochs_are_counted_from_one() -> None:
    """The curves, their marks and the best epoch agree with what the terminal says."""
    figure = curves_figure(HISTORY, best_epoch=2)
    losses, overlaps = figure.axes
    assert list(losses.lines[0].get_xdata()) == [1, 2, 3]
    assert "best: epoch 3" in {str(line.get_label()) for line in overlaps.lines}
    assert all(float(tick).is_integer() for axes in figure.axes for tick in axes.get_xticks())
    assert curves(HISTORY, best_epoch=2).startswith(SIGNATURE)


def test_one_epoch_has_whole_marks_too() -> None:
    """A training of one epoch has no fraction on its axis."""
    (losses, _) = curves_figure(HISTORY[:1], best_epoch=0).axes
    assert all(float(tick).is_integer() for tick in losses.get_xticks())


def test_padding_is_told_from_void_inside_the_image() -> None:
    """Only rows below and columns right of the image are padding; a tile of nothing is shown whole."""
    assert content_size(padded(5, 8), VOID) == (5, 8)
    assert content_size(padded(8, 3), VOID) == (8, 3)
    nothing = np.zeros((8, 8, 4), dtype=np.uint8)
    nothing[..., 3] = VOID
    assert content_size(nothing, VOID) == (8, 8)


def test_predictions_leave_padding_blank_and_name_the_classes() -> None:
    """What the network says outside the image is not drawn; every class and void is in the legend."""
    tiles = np.stack([padded(5, 6), padded(8, 8), padded(8, 4)])
    predicted = np.ones(tiles.shape[:3], dtype=np.uint8)
    figure = predictions_figure(tiles, predicted, CLASSES, VOID)
    shown = [axes.images[0].get_array() for axes in figure.axes[:9]]
    assert [each.shape[:2] for each in shown if each is not None] == [(5, 6)] * 3 + [(8, 8)] * 3 + [(8, 4)] * 3
    assert {axes.get_xlim() for axes in figure.axes[:9]} == {(-0.5, 7.5)}
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["floor", "human", "void"]
    assert predictions(tiles, predicted, CLASSES, VOID).startswith(SIGNATURE)
