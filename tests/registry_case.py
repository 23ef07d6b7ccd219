"""A workspace with two registered versions, ready to be judged: version 2 sees green more often than version 1."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from dossier_case import TAXONOMY, write_case
from mlflow import MlflowClient
from stage_outputs import write_store

from pipeline.files import sha256_file, write_json
from pipeline.inference import Segmenter
from pipeline.model_versions import EVALUATION_TAG, MODEL_TAG, evaluation_digest
from pipeline.tracking import AUTHOR_TAG, configure, experiment

NAME = "segmenter"
ROOT = Path(__file__).resolve().parent.parent
GATE = {
    "replicates": 2000, "seed": 0, "level": 0.95, "min_groups": 3, "few_groups": 3, "block_frames": 2, "miou": 0.1,
    "iou": {"default": None, "classes": {}}, "slice_miou": None, "boundary_f": {"default": None, "classes": {}},
    "false_positive_rate": {"default": None, "classes": {}}, "ece": 1.0,
    "non_inferiority": {"default": None, "classes": {}}, "latency_p95_ms": 60000.0, "latency_images": 2,
    "size_mib": 100.0, "doubt": {"min_confidence": 0.5, "min_share": 0.01, "max_images": 5},
}  # fmt: skip


def write_workspace(root: Path, **gate: object) -> None:
    """Writes params, dataset, holdout and an MLflow store with both versions, made by `ada`.

    The store is the server that MLFLOW_TRACKING_URI names, else a database in the workspace.

    Args:
        root: An empty folder, the working folder of the test.
        gate: Changes of the section `gate`.
    """
    if "MLFLOW_TRACKING_URI" not in os.environ:
        write_store(root)
    case = write_case(root / "case")
    (root / "data").mkdir()
    (root / "data/taxonomy.yaml").write_text(TAXONOMY)
    (root / "data/holdout.json").write_bytes(case.holdout.read_bytes())
    sections = yaml.safe_load((ROOT / "params.yaml").read_text())
    sections |= {"gate": {**GATE, **gate}, "dataset": {"path": str(case.dataset), "splits": "data/splits.csv"}}
    sections["evaluate"] |= {"confidence_bins": 5, "tolerance_px": 1, "seam_px": 2, "threads": 1}
    sections["dossier"] |= {"picture_px": 64, "threads": 1}
    (root / "params.yaml").write_text(yaml.safe_dump(sections))
    for folder in (root / "case/champion", root / "case/candidate"):
        write_json(folder / "evaluation/metrics.json", {"holdout_digest": case.verdict.holdout_digest})
        _write_samples(folder / "export")
        register(folder)


def _write_samples(export: Path) -> None:
    """An input with what the graph makes of it, which is what it proves itself by when it is opened."""
    image = np.random.default_rng(0).integers(0, 255, (24, 40, 3), dtype=np.uint8)
    found = Segmenter(export, threads=1).run(image[None], ("labels", "probabilities"))
    np.savez(
        export / "samples.npz", image_0=image, labels_0=found["labels"][0], probabilities_0=found["probabilities"][0]
    )


def register(artifacts: Path) -> int:
    """Registers a version with these artifacts; its number."""
    configure()
    store = MlflowClient()
    run = store.create_run(experiment(), tags={AUTHOR_TAG: "ada"}).info.run_id
    graph, figures = sha256_file(artifacts / "export/model.onnx"), evaluation_digest(artifacts / "evaluation")
    tags = {MODEL_TAG: graph, EVALUATION_TAG: figures}
    model = store.create_logged_model(experiment(), NAME, run, tags)
    holder = artifacts.parent / f"upload-{artifacts.name}-{run}"
    shutil.copytree(artifacts, holder / "artifacts")
    store.log_model_artifacts(model.model_id, str(holder))
    store.finalize_logged_model(model.model_id, "READY")
    if not store.search_registered_models(f"name = '{NAME}'"):
        store.create_registered_model(NAME)
    made = store.create_model_version(NAME, f"models:/{model.model_id}", run, tags=tags, model_id=model.model_id)
    store.set_registered_model_alias(NAME, "candidate", str(made.version))
    return int(made.version)


def aliases() -> dict[str, int]:
    """What MLflow's aliases point at."""
    return {alias: int(version) for alias, version in MlflowClient().get_registered_model(NAME).aliases.items()}


def tags(version: int) -> dict[str, str]:
    """A version's tags in MLflow."""
    return dict(MlflowClient().get_model_version(NAME, str(version)).tags)


def artifact_file(version: int, name: str) -> Path:
    """A file of a version where MLflow keeps it, to be tampered with."""
    source = MlflowClient().get_model_version(NAME, str(version)).source.removeprefix("models:/")
    place = MlflowClient().get_logged_model(source).artifact_location
    return Path(place.removeprefix("file://")) / "artifacts" / name


def counts(version: str) -> pd.DataFrame:
    """The per-image counts of `candidate` or `champion` of the case."""
    return pd.read_parquet(Path("case") / version / "evaluation/confusions.parquet")
