"""The serving graph: its arithmetic in torch, and its ONNX form at any size."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.graph import AdaptivePool, Outputs, Preprocessing, ServingGraph, expected_overlap, resize_by_area
from training.onnx_graph import to_bytes, to_onnx

CLASSES = 3


def serving_graph(scale: float = 1.0, architecture: str = "Unet") -> ServingGraph:
    """A graph around a small network with random weights."""
    torch.manual_seed(0)
    options = {} if architecture != "Unet" else {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
    network = smp.create_model(architecture, encoder_name="resnet18", encoder_weights=None, classes=CLASSES, **options)
    return ServingGraph(network, CLASSES, Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.4), scale), temperature=1.5)


def onnx_session(graph: ServingGraph) -> onnxruntime.InferenceSession:
    """The graph's ONNX form, ready to run."""
    return onnxruntime.InferenceSession(to_bytes(to_onnx(graph)), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module", params=[1.0, 0.5, 2 / 3], ids=["full", "half", "two-thirds"])
def pair(request: pytest.FixtureRequest) -> tuple[ServingGraph, onnxruntime.InferenceSession]:
    """A graph and its ONNX form."""
    graph = serving_graph(request.param)
    return graph, onnx_session(graph)


def assert_same(graph: ServingGraph, session: onnxruntime.InferenceSession, shape: tuple[int, int, int]) -> None:
    """Both compute the same for a random batch of this shape; where two classes tie, rounding may choose."""
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    with torch.inference_mode():
        ours = {name: value.numpy() for name, value in graph(torch.from_numpy(image))._asdict().items()}
    theirs = dict(zip(Outputs._fields, session.run(None, {"image": image}), strict=True))
    assert {name: (each.dtype, each.shape) for name, each in ours.items()} == {
        name: (each.dtype, each.shape) for name, each in theirs.items()
    }
    for name in ("probabilities", "confidence", "embedding"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-4, err_msg=name)
    changed = ours["labels"] != theirs["labels"]
    best = np.sort(ours["probabilities"], axis=1)[:, -2:]
    assert not (changed & (best[:, 1] - best[:, 0] > 1e-4)).any()
    for name in ("expected_intersection", "expected_union"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-2 + changed.sum(), err_msg=name)


@given(batch=st.integers(1, 3), height=st.integers(1, 70), width=st.integers(1, 70))
def test_any_size(pair: tuple[ServingGraph, onnxruntime.InferenceSession], batch: int, height: int, width: int) -> None:
    """The exported graph computes what torch does for any batch size, height and width, odd and tiny ones too."""
    assert_same(*pair, (batch, height, width))


@pytest.mark.parametrize("architecture", ["PSPNet"])
def test_adaptive_pooling_is_exported_for_any_size(architecture: str) -> None:
    """Networks that pool to a fixed grid are not frozen to the size that they were exported with."""
    graph = serving_graph(architecture=architecture)
    session = onnx_session(graph)
    for shape in ((1, 33, 65), (1, 64, 160)):
        assert_same(graph, session, shape)


def test_equal_graphs_give_equal_bytes_that_name_no_place() -> None:
    """The export depends on the graph alone: no traces of code, no paths, no doc strings."""
    first, second = (to_onnx(serving_graph()) for _ in range(2))
    assert to_bytes(first) == to_bytes(second)
    first.graph.ClearField("initializer")  # random bytes may spell anything
    for trace in (b".py", b"site-packages", str(Path.cwd()).encode()):
        assert trace not in to_bytes(first)
    assert [axis.dim_param for axis in first.graph.input[0].type.tensor_type.shape.dim] == ["N", "H", "W", ""]


def test_temperature_changes_confidence_and_no_label() -> None:
    """A higher temperature makes the same labels less confident."""
    graph = serving_graph()
    image = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (1, 24, 24, 3), dtype=np.uint8))
    with torch.inference_mode():
        sharp = graph(image)
        graph.temperature.fill_(4.0)
        flat = graph(image)
    assert torch.equal(sharp.labels, flat.labels)
    assert flat.confidence.mean() < sharp.confidence.mean()


def test_expected_overlap_is_the_mean_over_drawn_truths() -> None:
    """Expected intersection and union are what drawing truths from the probabilities gives on average."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1.0] * CLASSES, 40).T.reshape(1, CLASSES, 5, 8).astype(np.float32)
    labels = probabilities.argmax(axis=1)
    classes = torch.arange(CLASSES).view(1, -1, 1, 1)
    inside, union = expected_overlap(torch.from_numpy(probabilities), torch.from_numpy(labels), classes)
    flat, chosen = probabilities.reshape(CLASSES, -1), labels.ravel()
    drawn = (rng.random((20_000, 1, flat.shape[1])) > np.cumsum(flat, axis=0)[None]).sum(axis=1)
    for label in range(CLASSES):
        both, either = (drawn == label) & (chosen == label), (drawn == label) | (chosen == label)
        assert inside[0, label] == pytest.approx(both.sum(axis=1).mean(), abs=0.1)
        assert union[0, label] == pytest.approx(either.sum(axis=1).mean(), abs=0.1)


@given(height=st.integers(1, 40), width=st.integers(1, 40), new=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_resizing_by_area_is_that_of_the_tiles(height: int, width: int, new: tuple[int, int]) -> None:
    """The graph shrinks images as the tiles were shrunk, with cv2's INTER_AREA."""
    import cv2

    rows, columns = min(new[0], height), min(new[1], width)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.float32)
    ours = resize_by_area(torch.from_numpy(image).permute(2, 0, 1)[None], rows, columns)[0].permute(1, 2, 0)
    theirs = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(ours.numpy(), theirs, atol=0.05)


@given(height=st.integers(1, 20), width=st.integers(1, 20))
def test_adaptive_pooling_is_torchs(height: int, width: int) -> None:
    """The pooling that replaces torch's in the export gives the same numbers."""
    pixels = torch.rand(1, 2, height, width, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.adaptive_avg_pool2d(pixels, (3, 6))
    torch.testing.assert_close(AdaptivePool((3, 6))(pixels), expected)
