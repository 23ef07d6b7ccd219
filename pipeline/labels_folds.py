"""Action: trains networks for the label check, each on a part of the data, so that each judges masks it never saw."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import typer
import yaml
from pydantic import Field

from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.errors import OutageError, UserError
from pipeline.files import atomic_dir, digest_json, read_json, refuse_foreign, sha256_file, write_json
from pipeline.label_qa.folds import assign_folds, judged_split
from pipeline.params import Section, read_section, read_yaml
from pipeline.prepare import TILED_SPLITS, accepted_items

WORK = Path(".segloop/label_folds")
SECTIONS = ("limits", "prepare", "train", "export")


class FoldParams(Section):
    """Section `label_folds`.

    Attributes:
        folds: Networks; each learns from the items of all other folds.
        max_epochs: Of each training; null takes the section `train`.
    """

    folds: int = Field(ge=2)
    max_epochs: int | None = Field(ge=1)


def main(
    out: Annotated[Path, typer.Option(help="Folder of the networks; replaced as a whole.")] = Path("data/label_folds"),
    dataset: Annotated[Path | None, typer.Option(help="The dataset's folder, if not params' dataset.path.")] = None,
    catalog: Annotated[Path, typer.Option(help="The catalogue.")] = Path("data/catalog.parquet"),
    validation: Annotated[Path, typer.Option(help="The folder of `validate`.")] = Path("data/validation"),
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Train the networks by which `labels check` judges masks that they never saw.

    The accepted items are cut into folds by groups, and each network learns from all folds but one. It takes as long
    as that many trainings. Killed, it goes on where it was; run again with nothing new, it does nothing.

    Example: segloop labels folds
    """
    settings = read_section(FoldParams, "label_folds", params)
    root = dataset or read_section(DatasetParams, "dataset", params).path
    refuse_foreign(out, "folds.json")
    items = accepted_items(catalog, validation)
    taught = items[items["split"].isin(TILED_SPLITS)].reset_index(drop=True)
    fold, by = assign_folds(taught, settings.folds)
    sections = _sections(params, settings)
    key = _key(taught, fold, sections, taxonomy)
    if (out / "folds.json").is_file() and read_json(out / "folds.json", "remove it").get("key") == key:
        print(f"{out} holds the networks of these items and params already; nothing to do")
        return
    work = WORK / key[:16]
    work.mkdir(parents=True, exist_ok=True)
    (work / "params.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")
    for number in range(settings.folds):
        print(f"fold {number + 1} of {settings.folds}: judges {int((fold == number).sum())} of {len(taught)} items")
        _write_case(work / str(number), catalog, taught.assign(split=judged_split(taught, fold, number)))
        _train(work / str(number), work / "params.yaml", root, taxonomy)
    _publish(out, work, taught.assign(fold=fold), {"key": key, "folds": settings.folds, "by": by})
    print(f"{settings.folds} networks by {by}: {out}. Next: segloop labels check")


def _sections(params: Path, settings: FoldParams) -> dict[str, Any]:
    content = read_yaml(params)
    assert isinstance(content, dict)  # its sections were read
    sections: dict[str, Any] = {name: content[name] for name in SECTIONS if name in content}
    if settings.max_epochs is not None:
        sections["train"] = sections["train"] | {"max_epochs": settings.max_epochs}
    return sections


def _key(taught: pd.DataFrame, fold: npt.NDArray[np.int64], sections: object, taxonomy: Path) -> str:
    """What the networks are a function of, besides the code."""
    rows = taught.assign(fold=fold)[["item_id", "sha256", "mask_sha256", "split", "fold"]]
    return digest_json([rows.astype(str).to_numpy().tolist(), sections, sha256_file(taxonomy)])


def _write_case(folder: Path, catalog: Path, items: pd.DataFrame) -> None:
    """Catalogue and verdict as `prepare` reads them, in which this fold is the holdout and no other item exists."""
    verdicts = items[["item_id", "revision", "split"]].assign(accepted=True)
    rows = pd.read_parquet(catalog).merge(verdicts[["item_id", "revision"]], on=["item_id", "revision"])
    (folder / "validation").mkdir(parents=True, exist_ok=True)
    rows.to_parquet(folder / "catalog.parquet", index=False)
    verdicts.to_parquet(folder / "validation" / "items.parquet", index=False)
    write_json(folder / "validation" / "verdict.json", {"acknowledged": []})


def _train(folder: Path, params: Path, dataset: Path, taxonomy: Path) -> None:
    """Runs the stages of one fold that have not been run: tiles, weights, graph."""
    tiles, training, export = folder / "tiles", folder / "training", folder / "export"
    of_prepare = {
        "dataset": dataset,
        "catalog": folder / "catalog.parquet",
        "validation": folder / "validation",
        "taxonomy": taxonomy,
        "holdout": folder / "holdout.json",
    }
    _stage("prepare", tiles, params, **of_prepare)
    _stage("train", training, params, tiles=tiles, store=folder / "checkpoints")
    _stage("export", export, params, training=training, tiles=tiles)


def _stage(stage: str, out: Path, params: Path, **options: Path) -> None:
    if out.exists():
        return
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    # A fold's training is no candidate: MLflow shall not show it as one.
    environment = {name: value for name, value in os.environ.items() if name not in {"MLFLOW_TRACKING_URI", "DVC_ROOT"}}
    command = [sys.executable, "-m", f"pipeline.{stage}", *given, "--out", str(out), "--params", str(params)]
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode:
        kind = OutageError if done.returncode == OutageError.exit_code else UserError
        raise kind(f"`segloop {stage}` failed in a fold, and says above why. Run it again to go on from here.")


def _publish(out: Path, work: Path, items: pd.DataFrame, facts: dict[str, Any]) -> None:
    with atomic_dir(out) as new:
        for number in range(int(facts["folds"])):
            shutil.copytree(work / str(number) / "export", new / str(number))
        items[["item_id", "group", "fold"]].to_parquet(new / "items.parquet", index=False)
        write_json(new / "folds.json", {"schema": 1, **facts})
    shutil.rmtree(work)


if __name__ == "__main__":
    run(main)
