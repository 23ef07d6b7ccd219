"""What the stages left behind, as the actions need it: where it lies, and whether it belongs together."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.files import digest_json, read_json, sha256_file

PICTURES = (".png", ".jpg", ".svg")
KEPT_OF_TRAINING = (".json", ".jsonl", *PICTURES)  # the weights stay with DVC
OF_TILES = ("digest", "dataset_digest", "taxonomy_version", "tiles", "class_px")
OF_EPOCH = {"epoch", "time"}
LABEL_LENGTH = 8


@dataclass(frozen=True)
class Outputs:
    """The folder under which the stages write, and the outputs of each as far as the actions read them."""

    data: Path

    @property
    def training(self) -> Path:
        """Folder of the stage `train`."""
        return self.data / "training"

    @property
    def export(self) -> Path:
        """Folder of the stage `export`."""
        return self.data / "export"

    @property
    def evaluation(self) -> Path:
        """Folder of the stage `evaluate`."""
        return self.data / "evaluation"

    @property
    def validation(self) -> Path:
        """Folder of the stage `validate`."""
        return self.data / "validation"

    @property
    def graph(self) -> Path:
        """The exported graph."""
        return self.export / "model.onnx"

    @cached_property
    def trained(self) -> dict[str, Any]:
        """Content of training.json."""
        return _read(self.training / "training.json", "train", "digest")

    @cached_property
    def exported(self) -> dict[str, Any]:
        """Content of export.json."""
        return _read(self.export / "export.json", "export", "digest", "training_digest", "precision")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Content of the evaluation's metrics.json."""
        return _read(self.evaluation / "metrics.json", "evaluate", "model_digest", "holdout_digest", "miou")

    @cached_property
    def tiles(self) -> dict[str, Any]:
        """Content of tiles.json."""
        return _read(self.data / "tiles" / "tiles.json", "prepare", *OF_TILES)

    @cached_property
    def holdout(self) -> dict[str, Any]:
        """Content of holdout.json."""
        return _read(self.data / "holdout.json", "prepare", "digest")

    @property
    def training_digest(self) -> str:
        """The digest of the training: over its tiles and its parameters."""
        return str(self.trained["digest"])

    @property
    def model_digest(self) -> str:
        """SHA-256 of the exported graph, as `export` wrote it down."""
        return str(self.exported["digest"])

    @cached_property
    def evaluation_digest(self) -> str:
        """The digest of what `evaluate` found, whatever the pictures look like."""
        names = ("metrics.json", "confusions.parquet")
        return digest_json({name: sha256_file(self.evaluation / name) for name in names})

    @property
    def version_digest(self) -> str:
        """What tells one model version from another: the graph and its evaluation."""
        return digest_json({"model": self.model_digest, "evaluation": self.evaluation_digest})

    def stale(self) -> str | None:
        """Why the outputs do not belong together, in a sentence with the remedy; None when they do.

        Raises:
            UserError: An output is missing or unreadable.
        """
        if not self.graph.exists():
            return f"There is no {self.graph}: run `dvc repro export`."
        if (actual := sha256_file(self.graph)) != self.model_digest:
            return f"{self.graph} has digest {actual}, export.json says {self.model_digest}: run `dvc repro`."
        if (of := self.exported["training_digest"]) != self.training_digest:
            return f"{self.export} is of training {of}, not of {self.training_digest}: run `dvc repro export`."
        if (of := self.metrics["model_digest"]) != self.model_digest:
            return f"{self.evaluation} is of model {of}, not of {self.model_digest}: run `dvc repro evaluate`."
        if self.metrics["holdout_digest"] != self.holdout["digest"]:
            return f"{self.evaluation} was measured on another holdout: run `dvc repro evaluate`."
        return None

    def pictures(self) -> list[Path]:
        """Every picture of the training and the evaluation, sorted."""
        folders = (self.training, self.evaluation)
        return sorted(file for folder in folders for file in folder.rglob("*") if file.suffix in PICTURES)


def short(digest: str) -> str:
    """A digest short enough to name a run or a folder."""
    return digest[:LABEL_LENGTH]


def epochs(outputs: Outputs) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, an epoch each.

    Raises:
        UserError: The file is missing, or a line is no JSON object with its epoch and time.
    """
    file = outputs.training / "metrics.jsonl"
    try:
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}. Run `dvc repro train`.") from None
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, dict) or not line.keys() >= OF_EPOCH:
            raise UserError(f"{file}, line {number} is no epoch with its time. Run `dvc repro -f train`.")
    return lines


def _read(file: Path, stage: str, *keys: str) -> dict[str, Any]:
    remedy = f"run `dvc repro -f {stage}`" if file.exists() else f"run `dvc repro {stage}`"
    content = read_json(file, remedy)
    if missing := [key for key in keys if key not in content]:
        raise UserError(f"{file} lacks {', '.join(missing)}: {remedy}.")
    return content
