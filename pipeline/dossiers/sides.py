"""Reads the evidence of a version and makes sure that it is what the verdict was decided on."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.dossiers.inputs import DossierInputs, Side
from pipeline.errors import UserError
from pipeline.evaluate import Holdout, open_holdout
from pipeline.files import read_json, read_table, sha256_file
from pipeline.gating.verdict import Subject, Verdict
from pipeline.model_versions import VersionFiles
from pipeline.origins import Origins
from pipeline.scores import confusions
from pipeline.taxonomy import Taxonomy, load_taxonomy

COUNTS = {"item_id", "group", "confusion", "bin_px", "bin_confidence", "bin_correct"}


@dataclass(frozen=True)
class Evidence:
    """One of the two models with its evidence.

    Attributes:
        subject: How the verdict names it.
        side: Where it came from.
        rows: A row an image of the verdict's holdout, sorted by item.
        exported: The content of export.json.
        trained: The content of training.json.
        holdout: The holdout it was registered with, the content of holdout.json; None where it is not kept.
        taxonomy: The classes it was trained with.
    """

    subject: Subject
    side: Side
    rows: pd.DataFrame
    exported: dict[str, Any]
    trained: dict[str, Any]
    holdout: dict[str, Any] | None
    taxonomy: Taxonomy

    @cached_property
    def origins(self) -> Origins:
        """What it was made from, as far as it keeps that."""
        return Origins(VersionFiles(self.side.artifacts, self.subject.model_digest))

    @cached_property
    def each(self) -> npt.NDArray[np.int64]:
        """Confusion matrix of each image. Shape: (N, C, C), truth in rows."""
        return confusions(self.rows, self.taxonomy.num_classes)

    @cached_property
    def confusion(self) -> npt.NDArray[np.int64]:
        """Of all images. Shape: (C, C)."""
        total: npt.NDArray[np.int64] = self.each.sum(axis=0)
        return total

    @property
    def title(self) -> str:
        """How people call it."""
        return f"{self.subject.name} version {self.subject.version}"


def open_sides(inputs: DossierInputs) -> tuple[Evidence, Evidence | None]:
    """Reads candidate and champion.

    Raises:
        UserError: A file is missing or damaged, or something is not what the verdict was decided on: another graph,
            other counts, other classes, another champion.
    """
    verdict, champion = inputs.verdict, None
    candidate = _read(inputs.candidate, verdict.candidate, verdict)
    if (verdict.champion is None) != (inputs.champion is None):
        named = f"version {verdict.champion.version}" if verdict.champion else "none"
        raise UserError(f"The verdict compares with champion {named}, the dossier was given another: judge again.")
    if verdict.champion is not None and inputs.champion is not None:
        champion = _read(inputs.champion, verdict.champion, verdict)
    return candidate, champion


def open_listed(inputs: DossierInputs) -> Holdout:
    """Opens the holdout that the verdict was decided on.

    Raises:
        UserError: The list is missing or damaged, is another one, or the dataset lacks an item.
    """
    holdout = open_holdout(inputs.dataset, inputs.holdout)
    if (digest := holdout.facts["digest"]) != inputs.verdict.holdout_digest:
        raise UserError(
            f"{inputs.holdout} is of holdout {digest}, the verdict of {inputs.verdict.holdout_digest}: "
            "judge again with `segloop gate`."
        )
    return holdout


def _read(side: Side, subject: Subject, verdict: Verdict) -> Evidence:
    remedy = f"register version {subject.version} of {subject.name} anew"
    folder = side.artifacts
    exported = read_json(folder / "export" / "export.json", remedy)
    taxonomy = load_taxonomy(folder / "taxonomy.yaml")
    holdout = folder / "holdout.json"
    _check_graph(folder / "export" / "model.onnx", subject)
    if taxonomy.names != verdict.class_names or exported.get("class_names") != verdict.class_names:
        raise UserError(
            f"{folder} is of the classes {taxonomy.names}, the verdict of {verdict.class_names}: its evidence is of "
            "another taxonomy. Judge again with `segloop gate`."
        )
    return Evidence(
        subject=subject,
        side=side,
        rows=_rows(side, subject, remedy).sort_values("item_id", ignore_index=True),
        exported=exported,
        trained=read_json(folder / "training.json", remedy),
        holdout=read_json(holdout, remedy) if holdout.exists() else None,
        taxonomy=taxonomy,
    )


def _rows(side: Side, subject: Subject, remedy: str) -> pd.DataFrame:
    if side.rows is not None:
        return side.rows
    file = side.artifacts / "evaluation" / "confusions.parquet"
    rows = read_table(file, COUNTS, remedy)
    if (digest := sha256_file(file)) != subject.evidence_digest:
        raise UserError(
            f"{file} has digest {digest}, the verdict was decided on {subject.evidence_digest}: "
            "judge again with `segloop gate --again`."
        )
    return rows


def _check_graph(model: Path, subject: Subject) -> None:
    if not model.is_file():
        raise UserError(f"There is no {model}: register version {subject.version} of {subject.name} anew.")
    if (digest := sha256_file(model)) != subject.model_digest:
        raise UserError(
            f"{model} has digest {digest}, the verdict was decided on {subject.model_digest}: the file is damaged or "
            "of another version. Remove it, so that it is fetched again."
        )
