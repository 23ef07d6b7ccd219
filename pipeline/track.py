"""Action: completes the MLflow run of the last training from the stages' files, and proves that it is complete."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from pipeline.command import run
from pipeline.outcome import tell
from pipeline.outputs import KEPT_OF_TRAINING, Outputs, epochs, short
from pipeline.params import read_yaml
from pipeline.provenance import dvc_hash, shareable, without_secrets
from pipeline.run_content import Content, complete
from pipeline.shell_hints import run_page, ui_command
from pipeline.tracked_run import run_for
from pipeline.tracking import DIGEST_TAG, configure, is_number, metric_key, points

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

NO_FIGURES = ("schema", "taxonomy_version")
TRAINED_BY = ("prepare", "train")  # the sections that a training's digest covers: they cannot change within a run
MAX_PARAM = 6000  # the server's own limit, in characters
MAX_DATASET_DIGEST = 36  # likewise


def main(
    data: Annotated[Path, typer.Option(help="The folder of the stages' outputs.")] = Path("data"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
    lock: Annotated[Path, typer.Option(help="DVC's record of the last run.")] = Path("dvc.lock"),
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
) -> None:
    """Complete the MLflow run of the last training.

    Params, metrics per epoch, evaluation, plots, pictures, dataset and taxonomy are pushed as far as the run lacks
    them, then read back and compared. Running it again changes nothing. The server is named by MLFLOW_TRACKING_URI
    (default: sqlite:///mlflow.db in this folder).

    Example: MLFLOW_TRACKING_URI=http://mlflow:5000 segloop track
    """
    outputs = Outputs(data)
    digest = outputs.training_digest
    recorded = epochs(outputs)
    stale = _why_no_results(outputs)
    uri = configure()
    run_id = run_for(digest, name=f"train-{short(digest)}")
    with tempfile.TemporaryDirectory() as scratch:
        settings = Path(scratch) / "params.yaml"
        settings.write_text(yaml.safe_dump(shareable(read_yaml(params)), sort_keys=False), encoding="utf-8")
        extra = [settings, *([taxonomy] if taxonomy.exists() else [])]
        wanted = Content(
            params=run_params(read_yaml(params)),
            points=[point for line in recorded for point in points(line)],
            results={} if stale else run_results(outputs),
            datasets=[dataset_input(outputs, lock, params)],
            files=run_files(outputs, extra, with_evaluation=stale is None),
            tags={},
        )
        pushed = complete(run_id, wanted, run_tags(outputs, lock, params))
    print(f"{'tracked' if pushed else 'already tracked'}: run {run_id} of training {short(digest)}")
    print(f"pushed {pushed}; compared {wanted}")
    if stale:
        print(f"without evaluation: {stale} Then run `segloop track` again.")
    print(f"look: {ui_command(uri)}")
    tell(run_id=run_id, run_url=run_page(uri, run_id))


def run_params(sections: dict[str, Any]) -> dict[str, str]:
    """The settings that made this training, as flat `section.key` names, fit to be shown to anybody."""
    chosen = {name: sections[name] for name in TRAINED_BY if name in sections}
    return {key: str(value)[:MAX_PARAM] for key, value in _flat(shareable(chosen), ".")}


def run_results(outputs: Outputs) -> dict[str, float]:
    """Every finite figure of the evaluation and of the export's parity; undefined ones are left out."""
    figures = {key: value for key, value in outputs.metrics.items() if key not in NO_FIGURES}
    found = {"evaluation": figures, "export": {"parity": outputs.exported.get("parity", {})}}
    return {metric_key(key): float(value) for key, value in _flat(found, "/") if is_number(value)}


def run_files(outputs: Outputs, extra: list[Path], *, with_evaluation: bool) -> dict[str, Path]:
    """The files that a run keeps, by their place among its artifacts.

    Each evaluation has a folder of its own, since MLflow has no way to take the pictures of an earlier one away.
    """
    files = {file.name: file for file in extra}
    kept = [file for file in outputs.training.rglob("*") if file.suffix in KEPT_OF_TRAINING]
    files |= {f"training/{file.relative_to(outputs.training).as_posix()}": file for file in kept}
    verdict = outputs.validation / "verdict.json"
    if verdict.exists():
        files["validation/verdict.json"] = verdict
    if with_evaluation:
        folder = f"evaluation/{short(outputs.evaluation_digest)}"
        kept = [file for file in outputs.evaluation.rglob("*") if file.is_file() and file.suffix != ".npz"]
        files |= {f"{folder}/{file.relative_to(outputs.evaluation).as_posix()}": file for file in kept}
        files[f"{folder}/export.json"] = outputs.export / "export.json"
    return dict(sorted(files.items()))


def run_tags(outputs: Outputs, lock: Path, params: Path) -> dict[str, str]:
    """What identifies the training's inputs."""
    tiles = outputs.tiles
    tags = {
        DIGEST_TAG: outputs.training_digest,
        "segloop.dataset_digest": str(tiles["dataset_digest"]),
        "segloop.tiles_digest": str(tiles["digest"]),
        "segloop.taxonomy_version": str(tiles["taxonomy_version"]),
    }
    dvc = dvc_hash(lock, _dataset_path(params))
    return {**tags, "segloop.dataset_dvc": dvc} if dvc else tags


def dataset_input(outputs: Outputs, lock: Path, params: Path) -> "DatasetInput":
    """The dataset as MLflow shows it: by DVC's hash where there is one, else by the catalogue's digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    path = _dataset_path(params)
    tiles = outputs.tiles
    digest = dvc_hash(lock, path) or str(tiles["dataset_digest"])
    profile = {"tiles": tiles["tiles"], "class_px": tiles["class_px"]}
    source = json.dumps({"uri": shareable(path)})
    dataset = Dataset(Path(path).name, digest[:MAX_DATASET_DIGEST], "local", source, profile=json.dumps(profile))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _why_no_results(outputs: Outputs) -> str | None:
    if not (outputs.evaluation / "metrics.json").exists():
        return f"There is no {outputs.evaluation / 'metrics.json'}: run `dvc repro`."
    return outputs.stale()


def _dataset_path(params: Path) -> str:
    section = read_yaml(params).get("dataset", {})
    assert isinstance(section, dict)
    return without_secrets(str(section.get("path", "dataset")))


def _flat(tree: Any, joint: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(tree, dict) or not tree:
        yield prefix, tree
        return
    for key, value in tree.items():
        yield from _flat(value, joint, f"{prefix}{joint}{key}" if prefix else str(key))


if __name__ == "__main__":
    run(main)
