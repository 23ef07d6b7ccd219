"""Packs an exported model into an MLflow model folder that needs neither this repository nor this machine."""

import ast
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.images import Limits, encode_image
from pipeline.outputs import Outputs

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

ROOT = Path(__file__).resolve().parent.parent
ENTRY = ROOT / "pipeline" / "pyfunc_model.py"
OURS = ("pipeline", "training")
SERVER = "mlflow"  # several distributions share this import name; only the one of that name can serve


@dataclass(frozen=True)
class Identity:
    """What the packed model is called where it will lie."""

    model_id: str
    run_id: str
    digest: str


def pack(outputs: Outputs, taxonomy: Path, limits: Limits, identity: Identity, folder: Path) -> None:
    """Writes the model folder: code, graph, evaluation, taxonomy, signature, example, requirements.

    Args:
        outputs: The stages' outputs.
        taxonomy: The taxonomy file.
        limits: What the served model refuses to decode.
        identity: The identifiers written into it.
        folder: The folder to write; it does not exist.
    """
    import mlflow.pyfunc
    from mlflow.models import Model

    # MLflow warns that pip is missing, which an environment made by uv does not have.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)
    sources = project_sources(ENTRY)
    model = Model(run_id=identity.run_id, model_id=identity.model_id, metadata={"digest": identity.digest})
    with tempfile.TemporaryDirectory() as scratch:
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(ENTRY),
            artifacts=_artifacts(outputs, taxonomy),
            code_paths=_copy_sources(sources, Path(scratch)),
            pip_requirements=requirements(sources),
            signature=signature(),
            input_example=example(outputs),
            model_config={"max_bytes": limits.max_bytes, "max_pixels": limits.max_pixels},
            mlflow_model=model,
        )
    _forget_where_from(model, folder)


def signature() -> "ModelSignature":
    """One encoded image a row in; its mask, a PNG of class ids, and the mean confidence of its pixels out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    return ModelSignature(
        inputs=Schema([ColSpec("binary", "image")]),
        outputs=Schema([ColSpec("binary", "mask"), ColSpec("double", "confidence")]),
    )


def example(outputs: Outputs) -> "pd.DataFrame":
    """A request: one of the images that travel with the graph, as PNG."""
    import numpy as np
    import pandas as pd

    with np.load(outputs.export / "samples.npz") as samples:
        return pd.DataFrame({"image": [encode_image(samples["image_0"])]})


def project_sources(entry: Path) -> list[Path]:
    """The project's own files that a module imports, directly or through others, itself among them.

    Imports inside functions count: that is where heavy libraries are imported.
    """
    found: set[Path] = set()
    waiting = [entry]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found |= {file, file.parent / "__init__.py"}
        waiting += [source for name in _imports(file) for source in _sources_of(name)]
    return sorted(found)


def requirements(sources: list[Path]) -> list[str]:
    """The distributions that the sources import, pinned to what is installed; no registry is named."""
    owners = packages_distributions()
    names = {name.partition(".")[0] for source in sources for name in _imports(source)} - {*OURS, SERVER}
    needed = {SERVER, *(owners[name][0] for name in names if name in owners)}
    return sorted(f"{name}=={_public(version(name))}" for name in needed)


def _public(installed: str) -> str:
    return re.sub(r"\+.*", "", installed)  # a local build is to be had from no registry


def _artifacts(outputs: Outputs, taxonomy: Path) -> dict[str, str]:
    return {
        "export": str(outputs.export),
        "evaluation": str(outputs.evaluation),
        "taxonomy": str(taxonomy),
        "holdout": str(outputs.data / "holdout.json"),
        "items": str(outputs.data / "tiles" / "items.parquet"),
        "tiles": str(outputs.data / "tiles" / "tiles.json"),
        "training": str(outputs.training / "training.json"),
        "epochs": str(outputs.training / "metrics.jsonl"),
    }


def _copy_sources(sources: list[Path], to: Path) -> list[str]:
    for source in sources:
        target = to / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return [str(to / name) for name in OURS if (to / name).exists()]


def _forget_where_from(model: Any, folder: Path) -> None:
    """Takes this machine's paths out of the description: MLflow notes where code and artifacts were copied from."""
    flavor = model.flavors["python_function"]
    flavor["model_code_path"] = Path(flavor["model_code_path"]).name
    for artifact in flavor["artifacts"].values():
        artifact["uri"] = artifact["path"]
    model.save(str(folder / "MLmodel"))
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _sources_of(module: str) -> Iterator[Path]:
    if module.partition(".")[0] in OURS:
        place = ROOT.joinpath(*module.split("."))
        yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists())
