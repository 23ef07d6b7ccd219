"""Static int8 quantisation of an exported graph, calibrated on images."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.onnx_graph import INPUT, strip

# The layers that hold nearly all arithmetic.
HEAVY = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
# Between two heavy layers these keep int8 from turning back into float.
CARRIERS = {"Add", "AveragePool", "Concat", "MaxPool", "Mul", "Relu", "Resize", "Sigmoid", "Clip"}


def quantize(model: Any, images: npt.NDArray[np.uint8]) -> Any:
    """Quantises the network inside the graph; what comes before its first layer and after its last stays float.

    Weights are symmetric int8 per channel, activations int8, as quantise-dequantise pairs that any engine reads.

    Args:
        model: The float `onnx.ModelProto`.
        images: Shape (N, T, T, 3), uint8 RGB: the ranges of the activations are taken from these.

    Returns:
        The quantised `onnx.ModelProto`.

    Raises:
        ValueError: There are no images, or the graph has no layer to quantise.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    nodes = network_nodes(model)
    if not len(images) or not nodes:
        raise ValueError(f"Nothing to quantise: {len(images)} images for calibration, {len(nodes)} layers.")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            _Images(images),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=nodes,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibration_providers=["CPUExecutionProvider"],
        )
        return strip(onnx.load(target))


def network_nodes(model: Any) -> list[str]:
    """Names of the nodes to quantise: heavy layers with weights, and the carriers on a way between two of them."""
    nodes = list(model.graph.node)
    weights = {each.name for each in model.graph.initializer}
    heavy = {node.name for node in nodes if node.op_type in HEAVY and weights.intersection(node.input)}
    below = _reached(nodes, heavy, forward=True)
    above = _reached(nodes, heavy, forward=False)
    return [
        node.name
        for node in nodes
        if node.name in heavy or (node.op_type in CARRIERS and node.name in below and node.name in above)
    ]


def _reached(nodes: list[Any], start: set[str], *, forward: bool) -> set[str]:
    """Nodes that have one of `start` above them (forward), or below them; nodes come in topological order."""
    tensors: set[str] = set()
    reached: set[str] = set()
    for node in nodes if forward else reversed(nodes):
        incoming, outgoing = (node.input, node.output) if forward else (node.output, node.input)
        if tensors.intersection(incoming):
            reached.add(node.name)
        if node.name in start or node.name in reached:
            tensors.update(outgoing)
    return reached


class _Images:
    """Hands one image at a time to the calibration."""

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        self._images: Iterator[npt.NDArray[np.uint8]] = iter(images)

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        image = next(self._images, None)
        return None if image is None else {INPUT: image[None]}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the quantiser's advice on the root logger."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
