"""Losses by name and as weighted sums; void pixels take no part in any of them.

Cross-entropy, focal and boundary-weighted cross-entropy are weighted means of the same per-pixel cross-entropy. Dice
and Lovász are those of segmentation_models_pytorch, which leave void out. Its focal loss is not used: it is a
sum of binary losses over sigmoids (not what a softmax model predicts) and NaN for a batch that is all void.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

NAMES = ("cross_entropy", "focal", "dice", "lovasz", "boundary_cross_entropy")

_PREDICTION_DIMENSIONS = 4  # (B, C, H, W)


class WeightedSum(nn.Module):
    """A weighted sum of losses, computed in float32 whatever the precision of the model.

    Call with logits (B, C, H, W), any float dtype, and target (B, H, W), int64 in [0, C) or the void label. Gives a
    scalar float32: 0, with a gradient of 0, for a batch that is all void.

    Args:
        terms: Losses by name.
        weights: Their weights, same keys.
        num_classes: Number of classes C.
    """

    def __init__(self, terms: Mapping[str, nn.Module], weights: Mapping[str, float], num_classes: int) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(terms)
        self._weights = dict(weights)
        self._num_classes = num_classes

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the sum; see the class for shapes."""
        self._check(logits, target)
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            total = logits.new_zeros(())
            for name, term in self.terms.items():
                total = total + self._weights[name] * term(logits, target)
        return total

    def _check(self, logits: Tensor, target: Tensor) -> None:
        expected = (logits.shape[0], self._num_classes, *target.shape[1:])
        if logits.dim() != _PREDICTION_DIMENSIONS or tuple(logits.shape) != expected:
            raise ValueError(
                f"logits have shape {tuple(logits.shape)}, target {tuple(target.shape)}; "
                f"expected (B, {self._num_classes}, H, W) and (B, H, W).",
            )


class PixelCrossEntropy(nn.Module):
    """Weighted mean of the cross-entropy of the pixels that are not void.

    Args:
        ignore_index: The void label.
        class_weights: (C,) float, how much a pixel of each true class counts; None counts all the same.
        focal_gamma: Multiplies each pixel by (1 - p)^gamma, p the probability of its true class (Lin et al., ICCV
            2017, equation 5, here with softmax); 0 is plain cross-entropy.
        boundary_px: Pixels with another class at most this far (Chebyshev distance) together count as much again as
            the whole batch, the balancing of Xie and Tu (ICCV 2015); 0 is plain cross-entropy.
    """

    def __init__(
        self,
        ignore_index: int,
        class_weights: Tensor | None = None,
        focal_gamma: float = 0,
        boundary_px: int = 0,
    ) -> None:
        super().__init__()
        self._ignore_index = ignore_index
        self._focal_gamma = focal_gamma
        self._boundary_px = boundary_px
        # Not part of a checkpoint: the weights belong to the training data, not to the model.
        self.register_buffer(
            "class_weights",
            None if class_weights is None else class_weights.float(),
            persistent=False,
        )

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss of logits (B, C, H, W) float32 and target (B, H, W) int64."""
        surprise = functional.cross_entropy(logits, target, reduction="none", ignore_index=self._ignore_index)
        weight = self._weight(target)
        if self._focal_gamma:
            # In this form the gradient stays finite at p = 1 for any gamma: expm1 keeps 1 - p exact.
            missing = (-torch.expm1(-surprise)).clamp_min(torch.finfo(surprise.dtype).tiny)
            surprise = missing.pow(self._focal_gamma) * surprise
        return (weight * surprise).sum() / weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)

    def _weight(self, target: Tensor) -> Tensor:
        """How much each pixel counts, (B, H, W) float32, 0 for void."""
        valid = target != self._ignore_index
        weight = valid.float()
        if isinstance(self.class_weights, Tensor):
            weight = weight * self.class_weights[target * valid]
        if self._boundary_px:
            band = boundary_band(target, self._boundary_px, self._ignore_index)
            weight = weight * (1 + band * (valid.sum() / band.sum().clamp_min(1)))
        return weight


class Lovasz(nn.Module):
    """Lovász-softmax (Berman et al., CVPR 2018) over the classes present in the batch.

    Args:
        ignore_index: The void label.
    """

    def __init__(self, ignore_index: int) -> None:
        super().__init__()
        from segmentation_models_pytorch.losses import LovaszLoss

        self._ignore_index = ignore_index
        self._loss = LovaszLoss("multiclass", ignore_index=ignore_index)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss of logits (B, C, H, W) float32 and target (B, H, W) int64."""
        if bool((target == self._ignore_index).all()):
            return (logits * 0).sum()  # the library returns an empty tensor here
        loss: Tensor = self._loss(logits, target)
        return loss


def boundary_band(target: Tensor, boundary_px: int, ignore_index: int) -> Tensor:
    """Mark the pixels that have a pixel of another class within `boundary_px`, void neither marked nor looked at.

    Args:
        target: (B, H, W) int64.
        boundary_px: Chebyshev distance in pixels, at least 1.
        ignore_index: The void label.

    Returns:
        (B, H, W) bool.
    """
    valid = target != ignore_index
    labels = target.float()
    highest = _window_max(labels.masked_fill(~valid, -math.inf), boundary_px)
    lowest = -_window_max((-labels).masked_fill(~valid, -math.inf), boundary_px)
    return valid & (highest > lowest)


def _window_max(values: Tensor, reach: int) -> Tensor:
    """Maximum over the square of side 2 * reach + 1 around each pixel, (B, H, W); rows first, then columns."""
    side = 2 * reach + 1
    tall = functional.max_pool2d(values[:, None], (side, 1), stride=1, padding=(reach, 0))
    return functional.max_pool2d(tall, (1, side), stride=1, padding=(0, reach))[:, 0]


def build_loss(
    weights: Mapping[str, float],
    num_classes: int,
    ignore_index: int = 255,
    *,
    class_weights: Tensor | None = None,
    boundary_px: int,
    focal_gamma: float,
) -> WeightedSum:
    """Build the weighted sum of named losses.

    Args:
        weights: Weight of each loss by name (see `NAMES`), positive; a loss that is not named is not computed.
        num_classes: Number of classes C.
        ignore_index: The void label.
        class_weights: (C,) float, positive or 0, for cross_entropy and focal; None weighs all classes the same.
        boundary_px: Half-width of the band of boundary_cross_entropy in pixels, at least 1.
        focal_gamma: Exponent of focal, positive.

    Raises:
        ValueError: If a name is unknown, no loss is named, or a number is not as stated.
    """
    _check_numbers(weights, num_classes, class_weights, boundary_px, focal_gamma)
    makers: dict[str, Callable[[], nn.Module]] = {
        "cross_entropy": lambda: PixelCrossEntropy(ignore_index, class_weights),
        "focal": lambda: PixelCrossEntropy(ignore_index, class_weights, focal_gamma=focal_gamma),
        "dice": lambda: _dice(ignore_index),
        "lovasz": lambda: Lovasz(ignore_index),
        "boundary_cross_entropy": lambda: PixelCrossEntropy(ignore_index, boundary_px=boundary_px),
    }
    return WeightedSum({name: makers[name]() for name in weights}, weights, num_classes)


def _dice(ignore_index: int) -> nn.Module:
    """Soft Dice (Milletari et al., 3DV 2016), averaged over all classes; a class not in the batch adds 0."""
    from segmentation_models_pytorch.losses import DiceLoss

    loss: nn.Module = DiceLoss("multiclass", ignore_index=ignore_index)
    return loss


def _check_numbers(
    weights: Mapping[str, float],
    num_classes: int,
    class_weights: Tensor | None,
    boundary_px: int,
    focal_gamma: float,
) -> None:
    """Refuse settings that would train something else than asked for."""
    unknown = sorted(set(weights) - set(NAMES))
    if unknown or not weights:
        raise ValueError(f"losses are {unknown or 'empty'}; name one or more of {', '.join(NAMES)}.")
    for name, value in {**weights, "boundary_px": boundary_px, "focal_gamma": focal_gamma}.items():
        _check_positive(name, value)
    if class_weights is not None and (
        class_weights.shape != (num_classes,) or not bool(((class_weights >= 0) & class_weights.isfinite()).all())
    ):
        raise ValueError(f"class_weights are {class_weights.tolist()}; expected {num_classes} numbers of at least 0.")


def _check_positive(name: str, value: Any) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value}; expected a positive number.")
