"""Stage `export`: trained weights into the one graph that serves, with the proof that it computes the same."""

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer
from pydantic import Field

from pipeline.command import run
from pipeline.errors import UserError, VerdictError
from pipeline.files import atomic_dir, sha256_bytes, write_atomic, write_json
from pipeline.inference import FACTS, MODEL, SAMPLES, Segmenter
from pipeline.params import Section, read_section
from pipeline.parity import compare, enlarge, samples
from pipeline.trained import Source, build_graph

if TYPE_CHECKING:
    from training.graph import ServingGraph
    from training.temperature import Temperature

SCHEMA = 1
# The form of the answers: outputs, their types and meanings, and that labels are the taxonomy's ids. A change of it
# raises the number, which certificates carry: no rollback crosses it unnoticed.
OUTPUT_CONTRACT = 1
# More digits are noise of the number of threads, and would change the graph's digest.
TEMPERATURE_DIGITS = 4
OUTPUTS = {
    "probabilities": "float32 (N, C, H, W), summing to 1 over C",
    "labels": "uint8 (N, H, W), the most probable class",
    "confidence": "float32 (N, H, W), the probability of the label",
    "expected_intersection": "float32 (N, C), pixels",
    "expected_union": "float32 (N, C), pixels",
    "embedding": "float32 (N, D), encoder features averaged over the image",
}


class ParityLimits(Section):
    """How much the exported graph may differ from torch."""

    min_equal_labels: float = Field(ge=0, le=1)
    max_miou_drop: float = Field(ge=0, le=1)


class SelfTestLimits(Section):
    """How much another engine or machine may differ on the samples."""

    min_equal_labels: float = Field(ge=0, le=1)
    max_probability_error: float = Field(ge=0, le=1)


class ExportParams(Section):
    """Section `export`."""

    precision: Literal["fp32", "int8"]
    seed: int
    threads: int = Field(ge=0)
    batch_size: int = Field(ge=1)
    temperature_tiles: int = Field(ge=1)
    temperature_pixels: int = Field(ge=1)
    calibration_tiles: int = Field(ge=1)
    parity_tiles: int = Field(ge=1)
    samples: int = Field(ge=2)
    parity: dict[Literal["fp32", "int8"], ParityLimits]
    self_test: dict[Literal["fp32", "int8"], SelfTestLimits]


def main(
    training: Annotated[Path, typer.Option(help="Folder of the trained weights.")],
    tiles: Annotated[Path, typer.Option(help="Folder of the prepared tiles.")],
    out: Annotated[Path, typer.Option(help="Folder of the exported graph; replaced as a whole.")],
    params: Annotated[Path, typer.Option(help="Parameters file.")] = Path("params.yaml"),
) -> None:
    """Export the trained network as the graph that serves, calibrated, and prove that it computes the same.

    Example: segloop export --training data/training --tiles data/tiles --out data/export
    """
    settings = read_section(ExportParams, "export", params)
    source = Source(training, tiles, settings.seed, settings.batch_size)
    with atomic_dir(out) as folder:
        facts = export(source, settings, folder)
    parity = facts["parity"]
    print(
        f"exported {settings.precision} graph {facts['digest'][:12]} ({facts['bytes'] / 2**20:.1f} MiB): temperature "
        f"{facts['temperature']:.3f}, {parity['equal_labels']:.4%} of labels as in torch"
    )


def export(source: Source, settings: ExportParams, folder: Path) -> dict[str, Any]:
    """Writes `model.onnx`, `export.json` and `samples.npz` into a folder.

    Raises:
        UserError: The network has no ONNX form.
        VerdictError: The exported graph differs from torch by more than the limits.
    """
    graph = build_graph(source)
    fitted = calibrate(graph, source, settings)
    facts = _facts(source, settings, fitted)
    model = _model_bytes(graph, source, settings, facts)
    write_atomic(folder / MODEL, model)
    facts |= {"digest": sha256_bytes(model), "bytes": len(model)}
    write_json(folder / FACTS, facts)
    exported = Segmenter(folder, threads=settings.threads)
    tiles = source.sample("val", settings.parity_tiles)
    facts["parity"] = compare(graph, exported, source.batches(tiles, "parity"), source.ignore_index)
    check_parity(facts["parity"], settings)
    kept = enlarge(tiles[: settings.samples], source.tile_px)
    np.savez_compressed(folder / SAMPLES, **samples(exported, kept))  # type: ignore[arg-type] # numpy's stub
    write_json(folder / FACTS, facts)
    exported.self_test()
    return facts


def calibrate(graph: "ServingGraph", source: Source, settings: ExportParams) -> "Temperature":
    """Fits the temperature on validation tiles and puts it into the graph."""
    from training.temperature import fit_temperature, sample_logits

    tiles = source.sample("val", settings.temperature_tiles)
    batches = source.batches(tiles, "temperature")
    logits, labels = sample_logits(
        graph, batches, pixels=settings.temperature_pixels, ignore_index=source.ignore_index, seed=settings.seed
    )
    fitted = fit_temperature(logits, labels)
    graph.temperature.fill_(round(fitted.value, TEMPERATURE_DIGITS))
    return fitted


def check_parity(parity: dict[str, Any], settings: ExportParams) -> None:
    """Compares the parity with its limits.

    Raises:
        VerdictError: It is worse.
    """
    limits = settings.parity[settings.precision]
    drop = parity["miou_drop"]
    if parity["equal_labels"] < limits.min_equal_labels or (drop is not None and drop > limits.max_miou_drop):
        raise VerdictError(
            f"The exported {settings.precision} graph differs from torch on {parity['tiles']} validation tiles: "
            f"{parity['equal_labels']:.4%} equal labels (at least {limits.min_equal_labels:.4%} wanted), mIoU lower by "
            f"{drop} (at most {limits.max_miou_drop}). Use more export.calibration_tiles or precision fp32, or widen "
            "export.parity.",
        )


def _model_bytes(graph: "ServingGraph", source: Source, settings: ExportParams, facts: dict[str, Any]) -> bytes:
    from training.onnx_graph import describe, to_bytes, to_onnx
    from training.quantize import quantize

    try:
        model = to_onnx(graph)
    except ValueError as error:
        raise UserError(f"{error} It is named in {source.weights.with_name('model.json')}.") from error
    if settings.precision == "int8":
        tiles = source.sample("train", settings.calibration_tiles)
        model = quantize(model, enlarge(tiles, source.tile_px)[..., :3])
    kept = ("precision", "tile_px", "overlap_px", "taxonomy_version", "training_digest", "temperature", "class_names")
    describe(model, {f"segloop.{key}": json.dumps(facts[key]) for key in kept})
    return to_bytes(model)


def _facts(source: Source, settings: ExportParams, fitted: "Temperature") -> dict[str, Any]:
    classes = source.model["classes"]
    return {
        "schema": SCHEMA,
        "output_contract": OUTPUT_CONTRACT,
        "training_digest": source.training_digest,
        "precision": settings.precision,
        "tile_px": source.tile_px,
        "overlap_px": source.overlap_px,
        "scale": source.model["scale"],
        "ignore_index": source.ignore_index,
        "taxonomy_version": source.model["taxonomy_version"],
        "classes": classes,
        "class_names": [each["name"] for each in classes],
        "temperature": round(fitted.value, TEMPERATURE_DIGITS),
        "temperature_fit": asdict(fitted),
        "self_test": settings.self_test[settings.precision].model_dump(),
        "inputs": {"image": "uint8 (N, H, W, 3), RGB, any N, H and W"},
        "outputs": OUTPUTS,
        "versions": {name: version(name) for name in ("torch", "onnx", "onnxruntime")},
    }


if __name__ == "__main__":
    run(main)
