"""Stage `evaluate`: measures the exported graph, that very file, on the full-size images of the holdout."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from pydantic import BaseModel, Field

from pipeline.command import progress, run
from pipeline.errors import UserError
from pipeline.files import atomic_dir, read_json, sha256_bytes, write_json
from pipeline.gallery import strip, worst, write_page
from pipeline.images import ImageError, Limits
from pipeline.inference import Segmenter
from pipeline.measure import CONFIDENCE_QUANTILES, STATS, MeasureSettings, Reference, decode_pair, measure
from pipeline.params import Section, parse, read_section
from pipeline.parts import read_index, read_items
from pipeline.plots import write_plots
from pipeline.scores import by_slice, confusions, overall, reliability
from pipeline.taxonomy import Taxonomy, load_taxonomy

SCHEMA = 1


class EvaluateParams(Section):
    """Section `evaluate`."""

    threads: int = Field(ge=0)
    batch_size: int = Field(ge=1)
    tolerance_px: int = Field(ge=0)
    confidence_bins: int = Field(ge=1)
    seam_px: int = Field(ge=1)
    gallery_images: int = Field(ge=0)
    gallery_px: int = Field(ge=16)


class HeldOut(BaseModel):
    """An entry of holdout.json."""

    item_id: str
    revision: int
    image_sha256: str
    mask_sha256: str
    group: str
    sequence_index: int | None
    slices: dict[str, str]


class HoldoutList(BaseModel):
    """The content of holdout.json that is used here."""

    digest: str
    acknowledged: list[Any]
    items: list[HeldOut]


@dataclass(frozen=True)
class Holdout:
    """The images to measure on.

    Attributes:
        dataset: The dataset's folder.
        facts: The content of holdout.json.
        index: The dataset's rows of these items.
    """

    dataset: Path
    facts: dict[str, Any]
    index: pd.DataFrame

    def only(self, items: Collection[str]) -> "Holdout":
        """Some of the images, with the facts of all."""
        return replace(self, index=self.index[self.index["item_id"].isin(items)])

    @property
    def slices(self) -> list[str]:
        """Names of the slice columns that an item has a value for."""
        return sorted({name for item in self.facts["items"] for name in item["slices"]})

    def read(self, some: list[str] | None = None) -> Iterator[tuple[dict[str, Any], bytes, bytes]]:
        """Reads items: the entry of holdout.json, the encoded image, the encoded mask.

        Raises:
            UserError: The bytes are not those that the holdout was made of.
        """
        listed = {item["item_id"]: item for item in self.facts["items"]}
        index = self.index if some is None else self.index[self.index["item_id"].isin(some)]
        for row, image, mask in read_items(self.dataset, index):
            item = listed[row["item_id"]]
            if (sha256_bytes(image), sha256_bytes(mask)) != (item["image_sha256"], item["mask_sha256"]):
                raise UserError(
                    f"'{row['item_id']}' has changed since the holdout was listed: run `dvc repro prepare`."
                )
            yield item, image, mask


@dataclass
class Findings:
    """What was measured, an entry an image."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)

    def sorted(self) -> "Findings":
        """The same by item, whatever order the dataset has."""
        order = sorted(range(len(self.rows)), key=lambda number: self.rows[number]["item_id"])
        failed = sorted(self.failed, key=lambda each: each["item_id"])
        return Findings([self.rows[number] for number in order], [self.references[number] for number in order], failed)


def main(
    export: Annotated[Path, typer.Option(help="Folder of the exported graph.")],
    dataset: Annotated[Path, typer.Option(help="The dataset's folder.")],
    holdout: Annotated[Path, typer.Option(help="The holdout's list.")],
    validation: Annotated[Path, typer.Option(help="Folder of the stage validate.")],
    out: Annotated[Path, typer.Option(help="Folder of the evaluation; replaced as a whole.")],
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="Parameters file.")] = Path("params.yaml"),
) -> None:
    """Measure the exported graph on the full-size images of the holdout.

    Example: segloop evaluate --export data/export --dataset data/demo --holdout data/holdout.json
    --validation data/validation --out data/evaluation
    """
    settings = read_section(EvaluateParams, "evaluate", params)
    limits = read_section(Limits, "limits", params)
    classes = load_taxonomy(taxonomy)
    segmenter = open_graph(export, classes, settings)
    images = open_holdout(dataset, holdout)
    verdict = read_json(validation / "verdict.json", "run `dvc repro validate`")
    wanted = MeasureSettings(
        classes.num_classes,
        classes.ignore_index,
        settings.tolerance_px,
        settings.confidence_bins,
        settings.seam_px,
        limits,
    )
    found = examine(segmenter, images, wanted)
    rows = pd.DataFrame(found.rows)
    metrics = describe(segmenter, images, found, classes) | {"quarantined": verdict.get("quarantined")}
    with atomic_dir(out) as folder:
        write_json(folder / "metrics.json", metrics)
        rows.to_parquet(folder / "confusions.parquet", index=False)
        np.savez_compressed(folder / "reference.npz", **reference(segmenter, found))
        total = confusions(rows, classes.num_classes).sum(axis=0)
        write_plots(folder, metrics, total, reliability(rows), classes)
        write_gallery(folder / "gallery", segmenter, images, rows, (classes, wanted, settings))
    print(summary(metrics))


def open_graph(export: Path, taxonomy: Taxonomy, settings: EvaluateParams) -> Segmenter:
    """Opens the exported graph and lets it prove itself.

    Raises:
        UserError: It is missing, damaged, of another taxonomy, or computes something else than it was exported with.
    """
    try:
        segmenter = Segmenter(export, threads=settings.threads, batch_size=settings.batch_size)
        segmenter.self_test()
    except ValueError as error:
        raise UserError(f"{error} Run `dvc repro export`.") from None
    if segmenter.facts["class_names"] != taxonomy.names:
        raise UserError(
            f"{export} knows the classes {segmenter.facts['class_names']}, the taxonomy {taxonomy.names}: "
            "run `dvc repro` from `prepare` on."
        )
    return segmenter


def open_holdout(dataset: Path, file: Path) -> Holdout:
    """Reads the holdout's list and finds its items in the dataset.

    Raises:
        UserError: The list is missing, malformed or empty, or an item is not in the dataset.
    """
    facts = read_json(file, "run `dvc repro prepare`")
    parse(HoldoutList, facts, f"{file} is no list of a holdout, run `dvc repro prepare`")
    index = read_index(dataset)
    wanted = [item["item_id"] for item in facts["items"]]
    missing = sorted(set(wanted) - set(index["item_id"]))
    if missing or not wanted:
        raise UserError(f"{file} lists {len(wanted)} items, of which {dataset} lacks {missing[:5]}: run `dvc repro`.")
    return Holdout(dataset, facts, index[index["item_id"].isin(wanted)])


def examine(segmenter: Segmenter, holdout: Holdout, settings: MeasureSettings) -> Findings:
    """Measures every image; one that cannot be decoded is listed and does not stop the others.

    Raises:
        UserError: None could be decoded.
    """
    found = Findings()
    for item, image, mask in progress(holdout.read(), total=len(holdout.index), label="holdout"):
        try:
            pixels, truth = decode_pair(image, mask, settings)
        except ImageError as error:
            found.failed.append({"item_id": item["item_id"], "reason": str(error)})
            continue
        row, part = measure(segmenter, pixels, truth, settings)
        about = {name: item[name] for name in ("item_id", "revision", "group", "sequence_index")}
        found.rows.append(about | {name: item["slices"].get(name) for name in holdout.slices} | row)
        found.references.append(part)
    if not found.rows:
        raise UserError(f"None of {len(found.failed)} holdout images could be decoded, first {found.failed[0]}.")
    return found.sorted()


def describe(segmenter: Segmenter, holdout: Holdout, found: Findings, taxonomy: Taxonomy) -> dict[str, Any]:
    """The content of metrics.json."""
    rows = pd.DataFrame(found.rows)
    return {
        "schema": SCHEMA,
        "model_digest": segmenter.facts["digest"],
        "precision": segmenter.facts["precision"],
        "holdout_digest": holdout.facts["digest"],
        "taxonomy_version": taxonomy.version,
        "acknowledged": holdout.facts["acknowledged"],
        "items": len(rows),
        "groups": int(rows["group"].nunique()),
        "failed": found.failed,
        **overall(rows, taxonomy.names),
        "slices": by_slice(rows, holdout.slices, taxonomy.names),
    }


def reference(segmenter: Segmenter, found: Findings) -> dict[str, Any]:
    """The arrays of reference.npz, in the order of `item_ids`, with the names of their columns."""
    parts = found.references
    return {
        "model_digest": np.array(segmenter.facts["digest"]),
        "precision": np.array(segmenter.facts["precision"]),
        "item_ids": np.array([row["item_id"] for row in found.rows]),
        "groups": np.array([row["group"] for row in found.rows]),
        "embeddings": np.stack([part.embedding for part in parts]),
        "mean_confidence": np.array([row["mean_confidence"] for row in found.rows]),
        "quantiles": np.array(CONFIDENCE_QUANTILES),
        "confidence_quantiles": np.stack([part.confidence_quantiles for part in parts]),
        "class_names": np.array(segmenter.facts["class_names"]),
        "class_shares": np.stack([part.class_shares for part in parts]),
        "image_stat_names": np.array(STATS),
        "image_stats": np.array([part.stats for part in parts]),
    }


def write_gallery(
    folder: Path,
    segmenter: Segmenter,
    holdout: Holdout,
    rows: pd.DataFrame,
    how: tuple[Taxonomy, MeasureSettings, EvaluateParams],
) -> None:
    """Predicts the worst images once more, so that no image is kept in memory, and writes their pictures."""
    taxonomy, settings, params = how
    picks = worst(rows, taxonomy, params.gallery_images)
    files = {pick.item_id: pick.file for pick in picks}
    folder.mkdir()
    for item, image, mask in holdout.read(list(files)):
        pixels, truth = decode_pair(image, mask, settings)
        labels = segmenter.predict(pixels).labels
        (folder / files[item["item_id"]]).write_bytes(strip(pixels, truth, labels, taxonomy, params.gallery_px))
    write_page(folder, picks, taxonomy)


def summary(metrics: dict[str, Any]) -> str:
    """The line for the terminal."""
    named = {"mIoU": metrics["miou"], **metrics["iou"]}
    scores = [f"{name} {'undefined' if value is None else f'{value:.3f}'}" for name, value in named.items()]
    failed = f"; {len(metrics['failed'])} images failed" if metrics["failed"] else ""
    return f"{scores[0]} on {metrics['items']} holdout images ({', '.join(scores[1:])}){failed}"


if __name__ == "__main__":
    run(main)
