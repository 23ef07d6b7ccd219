"""The graph that serves: preprocessing, network and calibrated outputs in one torch module."""

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.network import embed, encode, stride

# Settings write scales as decimals; the graph counts in whole numbers, so that every engine rounds alike.
LARGEST_DENOMINATOR = 1000


class Outputs(NamedTuple):
    """What the graph computes for a batch of N images of H by W pixels, C classes and D features.

    Attributes:
        probabilities: Shape (N, C, H, W), float32; they sum to 1 over C.
        labels: Shape (N, H, W), uint8; the most probable class.
        confidence: Shape (N, H, W), float32; the probability of the label.
        expected_intersection: Shape (N, C), float32, pixels.
        expected_union: Shape (N, C), float32, pixels.
        embedding: Shape (N, D), float32; the encoder's deepest features, averaged over the image.
    """

    probabilities: Tensor
    labels: Tensor
    confidence: Tensor
    expected_intersection: Tensor
    expected_union: Tensor
    embedding: Tensor


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the network's input.

    Attributes:
        mean: Mean of each RGB channel, on the scale 0 to 1.
        std: Standard deviation of each RGB channel, on the scale 0 to 1.
        scale: Images are resized by this factor first, and the result is resized back.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float


class ServingGraph(nn.Module):
    """Wraps a segmentation network into the graph that takes raw pixels of any size.

    A network takes sizes that are multiples of its stride: images are padded to them by their border, and the result
    is cropped.

    Args:
        network: One that `build_network` made; it is put into evaluation mode.
        num_classes: Number of classes C.
        preprocessing: Resizing and normalisation.
        temperature: Logits are divided by it before the softmax (Guo et al. 2017).
    """

    mean: Tensor
    std: Tensor
    temperature: Tensor
    classes: Tensor

    def __init__(
        self, network: nn.Module, num_classes: int, preprocessing: Preprocessing, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.network = network
        self.scale = Fraction(preprocessing.scale).limit_denominator(LARGEST_DENOMINATOR)
        self.stride = stride(network)
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1) * 255)
        self.register_buffer("temperature", torch.tensor(float(temperature)))
        self.register_buffer("classes", torch.arange(num_classes).view(1, -1, 1, 1))
        self.eval()

    def forward(self, image: Tensor) -> Outputs:
        """Segments a batch. Shape: (N, H, W, 3), uint8 RGB."""
        logits, features = self.logits(image)
        probabilities = torch.softmax(logits / self.temperature, dim=1)
        confidence, labels = probabilities.max(dim=1)
        intersection, union = expected_overlap(probabilities, labels, self.classes)
        return Outputs(probabilities, labels.to(torch.uint8), confidence, intersection, union, embed(features))

    def logits(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The network's logits at the image's own size, before the temperature, and its deepest features.

        Args:
            image: Shape (N, H, W, 3), uint8 RGB.

        Returns:
            Logits of shape (N, C, H, W) and features of shape (N, D, h, w), float32.
        """
        height, width = image.shape[1], image.shape[2]
        pixels = image.permute(0, 3, 1, 2).float()
        if self.scale != 1:
            pixels = resize_by_area(pixels, self._scaled(height), self._scaled(width))
        logits, features = self._padded((pixels - self.mean) / self.std)
        if self.scale != 1:
            logits = functional.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
        return logits, features

    def _scaled(self, length: int) -> int:
        # Rounded up: at least one pixel is left of any length.
        return (length * self.scale.numerator + self.scale.denominator - 1) // self.scale.denominator

    def _padded(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        height, width = pixels.shape[2], pixels.shape[3]
        below, right = self._missing(height), self._missing(width)
        padded = functional.pad(pixels, (0, right, 0, below), mode="replicate")
        logits, features = encode(self.network, padded)
        return logits[:, :, :height, :width], features

    def _missing(self, length: int) -> int:
        # `-length % stride` is the same number, but the exporter cannot prove its range.
        return (self.stride - length % self.stride) % self.stride


def expected_overlap(probabilities: Tensor, labels: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Expected intersection and union of each class between the label map and a truth drawn from the probabilities.

    For class c, E|I| sums p_c over the pixels labelled c; E|U| counts these pixels and adds p_c over the others, by
    linearity of expectation.

    Args:
        probabilities: Shape (N, C, H, W), float32.
        labels: Shape (N, H, W), class ids.
        classes: The ids, shape (1, C, 1, 1).

    Returns:
        Expected intersection and union, each of shape (N, C), float32, pixels.
    """
    labelled = (labels.unsqueeze(1) == classes).float()
    intersection = (probabilities * labelled).sum(dim=(2, 3))
    union = labelled.sum(dim=(2, 3)) + probabilities.sum(dim=(2, 3)) - intersection
    return intersection, union


def resize_by_area(pixels: Tensor, height: int, width: int) -> Tensor:
    """Shrinks images by the mean over the area that each new pixel covers, as cv2's INTER_AREA does.

    It is written as two matrix products, which every engine has at any size; anti-aliased resizing is not as portable.

    Args:
        pixels: Shape (N, C, H, W), float32.
        height: New height, at most H.
        width: New width, at most W.
    """
    rows = _area_weights(pixels.shape[2], height, pixels)
    columns = _area_weights(pixels.shape[3], width, pixels)
    return rows @ pixels @ columns.transpose(0, 1)


def _area_weights(old: int, new: int, like: Tensor) -> Tensor:
    """The share of each old pixel in each new one. Shape: (new, old); rows sum to 1."""
    step = torch.arange(new, device=like.device, dtype=like.dtype).unsqueeze(1) * old / new
    pixel = torch.arange(old, device=like.device, dtype=like.dtype).unsqueeze(0)
    covered = torch.minimum(step + old / new, pixel + 1) - torch.maximum(step, pixel)
    return covered.clamp(min=0) * new / old


class AdaptivePool(nn.Module):
    """Adaptive average pooling of any input size, as two matrix products.

    ONNX has no adaptive pooling, and the exporter unrolls it for the one size that it has seen. The windows are
    those of torch: from floor(i * H / k) to ceil((i + 1) * H / k).

    Args:
        size: Number of rows and columns of the result.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, pixels: Tensor) -> Tensor:
        """Pools. Shape: (N, C, H, W) -> (N, C, size[0], size[1])."""
        rows = _window_weights(pixels.shape[2], self.size[0], pixels)
        columns = _window_weights(pixels.shape[3], self.size[1], pixels)
        return rows @ pixels @ columns.transpose(0, 1)


def _window_weights(old: int, new: int, like: Tensor) -> Tensor:
    index = torch.arange(new, device=like.device).unsqueeze(1)
    pixel = torch.arange(old, device=like.device).unsqueeze(0)
    start, end = (index * old) // new, ((index + 1) * old + new - 1) // new
    inside = ((pixel >= start) & (pixel < end)).to(like.dtype)
    return inside / inside.sum(dim=1, keepdim=True)


def without_adaptive_pooling(network: nn.Module) -> nn.Module:
    """Replaces, in place, the adaptive pooling layers that the ONNX exporter would freeze to one input size."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.AdaptiveAvgPool2d):
                size = child.output_size
                rows, columns = size if isinstance(size, tuple) else (size, size)
                if rows is not None and columns is not None and (rows, columns) != (1, 1):
                    setattr(module, name, AdaptivePool((rows, columns)))
    return network
