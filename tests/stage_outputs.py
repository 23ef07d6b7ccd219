"""Tiny outputs of every stage, in the stages' own formats, for the actions that read them; the graph is a real one."""

import functools
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper
from PIL import Image

from pipeline.files import digest_json, sha256_file, write_json
from pipeline.outputs import Outputs
from pipeline.prepare import LISTED

CLASSES = [
    {"id": 0, "name": "red", "colour": "#ff0000", "critical": False},
    {"id": 1, "name": "green", "colour": "#00ff00", "critical": True},
    {"id": 2, "name": "blue", "colour": "#0000ff", "critical": False},
]
EPOCHS = 3
PROMISES = {"output_contract": 1, "self_test": {"min_equal_labels": 1.0, "max_probability_error": 1e-4}}
TAXONOMY = """version: 1
classes:
  - {id: 0, name: red, colour: "#ff0000"}
  - {id: 1, name: green, colour: "#00ff00", critical: true}
  - {id: 2, name: blue, colour: "#0000ff"}
"""
PARAMS = """dataset: {path: data/demo, splits: data/demo/splits.csv}
limits: {max_bytes: 1000000, max_pixels: 1000000}
prepare: {tile_px: 32, overlap_px: 8}
train:
  epochs: 3
  loss: {cross_entropy: 1.0}
  mirror: https://somebody:hunter2@weights.example/resnet
  cache: /home/somebody/cache
register: {model_name: segmenter}
"""


def write_outputs(root: Path, seed: int = 0) -> Outputs:
    """Writes `data/` and `params.yaml` under a workspace's root; another seed is another training."""
    data = root / "data"
    training = digest_json({"training": seed})
    _training(data / "training", training)
    write_json(data / "tiles" / "tiles.json", _tiles())
    taught(2).to_parquet(data / "tiles" / "items.parquet")
    write_json(data / "holdout.json", {"schema": 1, "digest": digest_json("holdout"), "items": []})
    write_json(data / "validation" / "verdict.json", {"passed": True, "acknowledged": []})
    (data / "validation" / "docs").mkdir(exist_ok=True)
    (data / "validation" / "docs" / "index.html").write_text("<html></html>")
    model = _export(data / "export", training, seed)
    write_evaluation(data / "evaluation", model, miou=0.5)
    (data / "taxonomy.yaml").write_text(TAXONOMY)
    (root / "params.yaml").write_text(PARAMS)
    return Outputs(data)


def taught(items: int) -> pd.DataFrame:
    """The list of the images that taught a model, as `prepare` writes it; the last is of split `val`."""
    names = [f"t{number}" for number in range(items)]
    digests = {f"{what}_sha256": [digest_json([what, name]) for name in names] for what in ("image", "mask")}
    splits = ["train"] * (items - 1) + ["val"]
    origin = {"group": names, "split": splits, "annotator": "ada", "source": "camera"}
    return pd.DataFrame({"item_id": names, "revision": 1, **origin, **digests})[LISTED]


def write_store(root: Path) -> None:
    """Puts an empty MLflow database into a workspace: making one takes seconds, copying it none."""
    shutil.copy(_empty_store(), root / "mlflow.db")


@functools.cache
def _empty_store() -> Path:
    from mlflow import MlflowClient

    file = Path(tempfile.mkdtemp()) / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


def write_evaluation(folder: Path, model_digest: str, *, miou: float) -> None:
    """Writes what `evaluate` leaves: an undefined IoU for `blue`, pictures, confusion matrices, reference."""
    metrics = {
        "schema": 1,
        "model_digest": model_digest,
        "holdout_digest": digest_json("holdout"),
        "items": 2,
        "groups": 1,
        "failed": [],
        "miou": miou,
        "iou": {"red": 0.75, "green": 0.25, "blue": None},
        "support_px": {"red": 80, "green": 20, "blue": 0},
        "support_images": {"red": 2, "green": 2, "blue": 0},
        "majority": {"class": "red", "miou": 0.4, "pixel_accuracy": 0.8},
        "slices": {"camera": {"front (left)": {"items": 2, "miou": miou, "iou": {"red": 0.75}}}},
    }
    write_json(folder / "metrics.json", metrics)
    confusion = [[30, 10, 0], [0, 10, 0], [0, 0, 0]]
    rows = [{"item_id": f"i{n}", "group": "g", "confusion": np.ravel(confusion)} for n in range(2)]
    pd.DataFrame(rows).to_parquet(folder / "confusions.parquet")
    np.savez(folder / "reference.npz", embedding=np.zeros((2, 3), np.float32))
    _picture(folder / "confusion.png")
    _picture(folder / "gallery" / "i0.png")
    (folder / "plots").mkdir(exist_ok=True)
    (folder / "plots" / "iou.csv").write_text("class,iou\nred,0.75\n")


def graph() -> onnx.ModelProto:
    """A graph of the serving interface whose classes are the colour channels: the strongest channel wins."""
    floats = {"probabilities": ["N", 3, "H", "W"], "confidence": ["N", "H", "W"], "embedding": ["N", 3]}
    floats |= {"expected_intersection": ["N", 3], "expected_union": ["N", 3]}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in floats.items()]
    outputs.append(helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", "H", "W"]))
    node = helper.make_node
    nodes = [
        node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        node("Transpose", ["pixels"], ["channels"], perm=[0, 3, 1, 2]),
        node("Div", ["channels", "sharpness"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
        node("ArgMax", ["probabilities"], ["best"], axis=1, keepdims=0),
        node("Cast", ["best"], ["labels"], to=TensorProto.UINT8),
        node("ReduceMax", ["probabilities", "class_axis"], ["confidence"], keepdims=0),
        node("ReduceSum", ["probabilities", "space"], ["expected_intersection"], keepdims=0),
        node("ReduceSum", ["probabilities", "space"], ["expected_union"], keepdims=0),
        node("ReduceMean", ["logits", "space"], ["embedding"], keepdims=0),
    ]
    constants = [
        helper.make_tensor("sharpness", TensorProto.FLOAT, [1], [16.0]),
        helper.make_tensor("class_axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("space", TensorProto.INT64, [2], [2, 3]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])
    model = helper.make_graph(nodes, "colours", [image], outputs, constants)
    return helper.make_model(model, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _training(folder: Path, digest: str) -> None:
    write_json(folder / "training.json", {"schema": 1, "digest": digest, "best_epoch": 2, "val_miou": 0.6})
    write_json(folder / "model.json", {"schema": 1, "architecture": "colours", "classes": CLASSES})
    lines = [
        {"epoch": n, "step": 10 * n, "time": 1.7e9 + n, "loss": 1 / (n + 1), "iou/blue": None, "system/cpu": 50.0 + n}
        for n in range(EPOCHS)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "model.safetensors").write_bytes(b"weights")
    _picture(folder / "curves.png")
    _picture(folder / "predictions.png")


def _tiles() -> dict[str, object]:
    return {
        "schema": 1,
        "classes": CLASSES,
        "class_px": [100, 20, 5],
        "tiles": {"train": 4, "val": 2},
        "taxonomy_version": 1,
        "dataset_digest": digest_json("dataset"),
        "digest": digest_json("tiles"),
    }


def _export(folder: Path, training_digest: str, seed: int) -> str:
    folder.mkdir(parents=True)
    model = graph()
    model.doc_string = f"seed {seed}"
    onnx.save(model, folder / "model.onnx")
    digest = sha256_file(folder / "model.onnx")
    exported = {
        "digest": digest,
        "training_digest": training_digest,
        "precision": "fp32",
        "tile_px": 32,
        "classes": CLASSES,
    }
    write_json(folder / "export.json", {**exported, **PROMISES, "overlap_px": 8, "temperature": 1.0})
    image = np.random.default_rng(seed).integers(0, 255, (24, 40, 3), dtype=np.uint8)
    odds = np.exp(image.transpose(2, 0, 1) / 16.0)
    sample = {"image_0": image, "labels_0": image.argmax(axis=2), "probabilities_0": odds / odds.sum(axis=0)}
    np.savez(folder / "samples.npz", **sample)
    return digest


def _picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(path)
