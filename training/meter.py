"""Counts what an epoch's losses and metrics are made of, on the device that trains."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.metrics import iou, mean_iou, pixel_accuracy


class Meter:
    """Counts an epoch on the device, without a transfer per step.

    Args:
        class_names: Names by class id.
        ignore_index: The void label.

    Attributes:
        train_loss: Sum over the epoch's steps.
        train_steps: How many steps it sums.
    """

    def __init__(self, class_names: list[str], ignore_index: int) -> None:
        self._names = class_names
        self._ignore_index = ignore_index
        self.reset(torch.device("cpu"))

    def reset(self, device: torch.device) -> None:
        """Start an epoch."""
        self.train_loss = torch.zeros((), device=device)
        self.train_steps = 0
        self._val_loss = torch.zeros((), dtype=torch.float64, device=device)
        self._val_tiles = torch.zeros((), dtype=torch.float64, device=device)
        self._confusion = torch.zeros(len(self._names) ** 2, dtype=torch.int64, device=device)

    def count(self, logits: Tensor, target: Tensor, loss: nn.Module) -> None:
        """Count logits (B, C, H, W) against target (B, H, W) int64; tiles that are all void weigh nothing."""
        classes = len(self._names)
        real = (target != self._ignore_index).flatten(1).any(dim=1).sum()
        self._val_loss += loss(logits, target).double() * real
        self._val_tiles += real
        # Void goes to one cell past the matrix: no boolean selection, whose size the host would wait for.
        cell = torch.where(target == self._ignore_index, classes**2, target * classes + logits.argmax(dim=1))
        self._confusion += torch.bincount(cell.flatten(), minlength=classes**2 + 1)[:-1]

    def metrics(self, reduced: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Metrics by name; a class absent from truth and prediction is NaN.

        Args:
            reduced: Sums a tensor over all processes.
        """
        classes = len(self._names)
        confusion = reduced(self._confusion).view(classes, classes).cpu().numpy()
        train = reduced(torch.stack([self.train_loss, self.train_loss.new_tensor(self.train_steps)])).tolist()
        val = reduced(torch.stack([self._val_loss, self._val_tiles])).tolist()
        return {
            "train_loss": train[0] / max(train[1], 1),
            "val_loss": val[0] / max(val[1], 1),
            "val_miou": float(mean_iou(confusion)),
            "val_pixel_accuracy": float(pixel_accuracy(confusion)),
            **{f"val_iou/{name}": float(value) for name, value in zip(self._names, iou(confusion), strict=True)},
        }
