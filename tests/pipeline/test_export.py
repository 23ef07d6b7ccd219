"""The stage `export`: its files, its proof, its refusals."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from tiny_training import CLASSES, NAMES, TILE_PX, write_training

from pipeline.errors import UserError, VerdictError
from pipeline.export import main
from pipeline.files import sha256_file
from pipeline.inference import Segmenter
from pipeline.parity import enlarge
from training.quantize import network_nodes

PARAMS = {
    "seed": 1,
    "threads": 1,
    "batch_size": 3,
    "temperature_tiles": 4,
    "temperature_pixels": 64,
    "calibration_tiles": 4,
    "parity_tiles": 4,
    "samples": 2,
    "parity": {
        "fp32": {"min_equal_labels": 0.999, "max_miou_drop": 0.001},
        "int8": {"min_equal_labels": 0.8, "max_miou_drop": 0.1},
    },
    "self_test": {
        "fp32": {"min_equal_labels": 0.99, "max_probability_error": 0.01},
        "int8": {"min_equal_labels": 0.9, "max_probability_error": 0.2},
    },
}


def export(root: Path, out: str, **changes: object) -> Path:
    """Runs the stage on the training under a folder."""
    params = root / f"{out}.yaml"
    params.write_text(yaml.safe_dump({"export": {"precision": "fp32", **PARAMS, **changes}}))
    main(root / "training", root / "tiles", root / out, params)
    return root / out


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny training and its tiles."""
    root = tmp_path_factory.mktemp("trained")
    write_training(root)
    return root


@pytest.fixture(scope="module", params=["fp32", "int8"])
def exported(request: pytest.FixtureRequest, trained: Path) -> Path:
    """The training's export at each precision."""
    return export(trained, request.param, precision=request.param)


def test_the_graph_is_described_beside_and_inside(exported: Path) -> None:
    """Digest, classes and geometry stand in export.json; the graph itself carries what a server needs."""
    facts = json.loads((exported / "export.json").read_text())
    inside = {each.key: json.loads(each.value) for each in onnx.load(exported / "model.onnx").metadata_props}
    assert facts["digest"] == sha256_file(exported / "model.onnx")
    assert (facts["tile_px"], facts["overlap_px"], facts["class_names"]) == (TILE_PX, 8, list(NAMES))
    assert {name.removeprefix("segloop."): value for name, value in inside.items()}.items() <= facts.items()
    assert inside["segloop.class_names"] == list(NAMES)


def test_the_export_agrees_with_torch(exported: Path) -> None:
    """Parity is measured on validation tiles, void left out of the mIoU."""
    parity = json.loads((exported / "export.json").read_text())["parity"]
    assert parity["tiles"] == 4
    assert parity["equal_labels"] > 0.9
    assert parity["miou_drop"] == pytest.approx(parity["miou_torch"] - parity["miou_onnx"])


def test_the_samples_prove_the_graph(exported: Path) -> None:
    """The inputs that travel along, one of an odd size, have the outputs that the graph gives."""
    Segmenter(exported, threads=1).self_test()
    with np.load(exported / "samples.npz") as samples:
        sizes = [samples[f"image_{number}"].shape for number in range(2)]
        assert samples["labels_1"].shape == sizes[1][:2]
        assert samples["probabilities_1"].shape == (len(CLASSES), *sizes[1][:2])
    assert sizes[0] == (TILE_PX, TILE_PX, 3)
    assert all(side % 2 for side in sizes[1][:2])


def test_another_result_fails_the_self_test(trained: Path, tmp_path: Path) -> None:
    """An engine that computes something else is found out."""
    folder = tmp_path / "copy"
    shutil.copytree(export(trained, "honest"), folder)
    with np.load(folder / "samples.npz") as samples:
        arrays = dict(samples)
    arrays["probabilities_1"] = np.roll(arrays["probabilities_1"], 1, axis=0)
    np.savez(folder / "samples.npz", **arrays)
    with pytest.raises(ValueError, match="sample 1"):
        Segmenter(folder, threads=1).self_test()


def test_a_changed_graph_is_refused(trained: Path, tmp_path: Path) -> None:
    """A graph that is not the one that was exported does not load."""
    folder = tmp_path / "copy"
    shutil.copytree(export(trained, "original"), folder)
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match="export it again"):
        Segmenter(folder)


def test_equal_inputs_give_equal_bytes(trained: Path) -> None:
    """Exporting twice gives the same files, int8 as well."""
    first, second = (export(trained, name, precision="int8") for name in ("one", "two"))
    for name in ("model.onnx", "export.json", "samples.npz"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_only_the_network_is_quantised(exported: Path) -> None:
    """Preprocessing and outputs stay in float; int8 shrinks the weights."""
    model = onnx.load(exported / "model.onnx")
    quantised = {node.name for node in model.graph.node if node.op_type == "QuantizeLinear"}
    precision = json.loads((exported / "export.json").read_text())["precision"]
    assert bool(quantised) == (precision == "int8")
    by_output = {name: node for node in model.graph.node for name in node.output}
    assert by_output["probabilities"].op_type == "Softmax"
    assert by_output[by_output["probabilities"].input[0]].op_type == "Div"


def test_the_nodes_to_quantise_lie_between_layers(trained: Path) -> None:
    """Convolutions and what connects them are chosen, and nothing before the first or after the last."""
    model = onnx.load(export(trained, "plain") / "model.onnx")
    chosen = [node for node in model.graph.node if node.name in set(network_nodes(model))]
    assert {node.op_type for node in chosen} >= {"Conv", "Add", "Concat"}
    assert chosen[0].op_type == chosen[-1].op_type == "Conv"


def test_too_great_a_difference_fails_and_writes_nothing(trained: Path) -> None:
    """A graph that differs from torch by more than the limits fails the stage, which leaves nothing behind."""
    strict = {precision: {"min_equal_labels": 1.0, "max_miou_drop": 0.0} for precision in ("fp32", "int8")}
    with pytest.raises(VerdictError, match="equal labels"):
        export(trained, "strict", precision="int8", parity=strict, calibration_tiles=1)
    assert not (trained / "strict").exists()


def test_a_scaled_training_takes_full_size_images(tmp_path: Path) -> None:
    """With scale 0.5 a tile of the graph is twice as large, and the result has the image's own size."""
    write_training(tmp_path, scale=0.5, steps=1)
    segmenter = Segmenter(export(tmp_path, "half"), threads=1)
    image = np.random.default_rng(0).integers(0, 256, (51, 90, 3), dtype=np.uint8)
    prediction = segmenter.predict(image)
    assert (segmenter.facts["tile_px"], segmenter.facts["overlap_px"]) == (2 * TILE_PX, 16)
    assert (prediction.labels.shape, prediction.tiles) == ((51, 90), 2)


def test_enlarging_repeats_pixels() -> None:
    """A tile that is enlarged and shrunk by the mean of its pixels is the tile again."""
    tile = np.random.default_rng(0).integers(0, 256, (1, 6, 6, 4), dtype=np.uint8)
    large = enlarge(tile, 12).reshape(1, 6, 2, 6, 2, 4).mean(axis=(2, 4))
    np.testing.assert_array_equal(large, tile)


def test_weights_of_another_network_are_refused(trained: Path, tmp_path: Path) -> None:
    """Weights that do not fit model.json are named, with the remedy."""
    shutil.copytree(trained / "training", tmp_path / "training")
    shutil.copytree(trained / "tiles", tmp_path / "tiles")
    file = tmp_path / "training" / "model.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps(facts | {"encoder": "resnet34"}))
    with pytest.raises(UserError, match=r"model\.safetensors"):
        export(tmp_path, "out")


def test_a_missing_training_is_named(tmp_path: Path) -> None:
    """Without a training the remedy is said."""
    with pytest.raises(UserError, match="dvc repro train"):
        export(tmp_path, "out")
