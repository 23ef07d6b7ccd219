"""Turns the serving graph into ONNX bytes that depend on nothing but the graph."""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from training.graph import Outputs, ServingGraph, without_adaptive_pooling

INPUT = "image"
AXES = "NHW"
OPSET = 18
# The graph is traced with this batch size, and with a height and a width of so many strides. The exporter treats an
# axis of 1 as a constant, at any depth of the network, and equal axes as one.
EXAMPLE_BATCH = 2
EXAMPLE_STRIDES = (2.2, 3.2)
LEAST_STRIDE = 16


def to_onnx(graph: ServingGraph) -> Any:
    """Exports the graph with free batch size, height and width.

    Args:
        graph: The graph, on any device; it is moved to the CPU.

    Returns:
        An `onnx.ModelProto` with input `image` and the outputs of `Outputs`, without traces of this machine.

    Raises:
        ValueError: The exporter cannot translate the network for any image size.
    """
    without_adaptive_pooling(graph.cpu())
    height, width = (int(max(graph.stride, LEAST_STRIDE) * strides / graph.scale) for strides in EXAMPLE_STRIDES)
    example = torch.zeros((EXAMPLE_BATCH, height, width, 3), dtype=torch.uint8)
    axes = dict.fromkeys((0, 1, 2), torch.export.Dim.DYNAMIC)
    with _quiet(), torch.no_grad():
        try:
            program = torch.export.export(
                graph,
                (example,),
                dynamic_shapes=(axes,),
                strict=False,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
            exported = torch.onnx.export(
                program,
                dynamo=True,
                input_names=[INPUT],
                output_names=list(Outputs._fields),
                opset_version=OPSET,
                verbose=False,
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
            raise ValueError(
                f"{type(graph.network).__name__} has no ONNX form for any image size: {str(error).splitlines()[0]}. "
                "Choose another architecture or encoder.",
            ) from error
    assert exported is not None
    return _name_axes(strip(exported.model_proto))


def strip(model: Any) -> Any:
    """Removes, in place, what tells of the machine and the code's paths: doc strings, traces, the producer's notes."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    model.graph.name = "segmenter"
    return model


def describe(model: Any, facts: Mapping[str, str]) -> None:
    """Writes facts into the model's own metadata, sorted by key, replacing earlier ones."""
    model.ClearField("metadata_props")
    for key, value in sorted(facts.items()):
        model.metadata_props.add(key=key, value=value)


def to_bytes(model: Any) -> bytes:
    """Serialises the model; equal models give equal bytes."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _name_axes(model: Any) -> Any:
    """Calls the free axes N, H and W, in place, instead of by the exporter's symbols."""
    graph = model.graph
    symbols = [axis.dim_param for axis in graph.input[0].type.tensor_type.shape.dim]
    names = {symbol: name for symbol, name in zip(symbols, AXES, strict=False) if symbol}
    pattern = re.compile("|".join(rf"\b{re.escape(symbol)}\b" for symbol in names))
    for value in (*graph.input, *graph.output, *graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = pattern.sub(lambda found: names[found[0]], axis.dim_param)
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter: it prints and logs its progress, and warns of its own workings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
