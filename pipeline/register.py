"""Action: registers the evaluated model as a version in MLflow, once, with everything that a judgement of it needs."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import Field

from pipeline.command import run
from pipeline.decisions.states import champion
from pipeline.errors import OutageError, UserError
from pipeline.images import Limits
from pipeline.outcome import tell
from pipeline.outputs import Outputs, short
from pipeline.params import Section, read_section
from pipeline.provenance import git_commit
from pipeline.run_content import COMPLETE_TAG, sizes
from pipeline.shell_hints import serve_command, ui_command, version_page
from pipeline.tracked_run import find_run
from pipeline.tracking import (
    COMMIT_TAG,
    DIGEST_TAG,
    DIRTY_TAG,
    client,
    configure,
    experiment,
    log_points,
    outage,
)

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

ALIAS = "candidate"
MODEL_SCHEME = "models:/"
SCORES = ("evaluation/miou", "evaluation/iou/")
TAGS_OF_RUN = ("segloop.dataset_digest", "segloop.dataset_dvc", "segloop.taxonomy_version")


class RegisterParams(Section):
    """Section `register`: the name under which versions are kept."""

    model_name: str = Field(pattern=r"^[^/:]+$")


@dataclass(frozen=True)
class Candidate:
    """What shall become a version."""

    name: str
    digest: str
    run_id: str
    tags: dict[str, str]


def main(
    data: Annotated[Path, typer.Option(help="The folder of the stages' outputs.")] = Path("data"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
) -> None:
    """Register the evaluated model as a candidate version in MLflow.

    The version takes image bytes and returns a mask, so that `mlflow models serve` works, and carries its evaluation.

    A version stands for a graph together with its evaluation: the SHA-256 of model.onnx, of metrics.json and of
    confusions.parquet. Registering the same three again finds their version, and only gives it the alias `candidate`
    back. The same graph measured anew with another outcome (a grown holdout, mended masks) is a new version, since a
    version keeps the evaluation it was made with; another training that gives the same graph and figures is not.

    Example: segloop track && segloop register
    """
    settings = read_section(RegisterParams, "register", params)
    limits = read_section(Limits, "limits", params)
    outputs = Outputs(data)
    if stale := outputs.stale():
        raise UserError(stale)
    uri = configure()
    with outage("registering the model"):
        candidate = describe(outputs, settings.model_name)
        found = version_of(candidate)
        version = found or create(candidate, outputs, limits, taxonomy)
        moved = point_alias(version)
    said = "was registered before" if found else "registered"
    print(f"{said}: {version.name} version {version.version}, model {short(outputs.model_digest)}")
    print(f"alias '{ALIAS}' {'now points' if moved else 'pointed already'} at it; run {candidate.run_id}")
    print(f"look: {ui_command(uri)}")
    is_champion = found is not None and serves(found, params)
    if is_champion:
        print("it is the champion already: there is nothing to judge, review or promote")
    page = version_page(uri, version.name, version.version)
    tell(version=str(version.version), version_url=page, is_champion=is_champion)
    print(f"serve: {serve_command(f'models:/{version.name}@{ALIAS}')}")


def describe(outputs: Outputs, name: str) -> Candidate:
    """What identifies the model that the stages have made, from its files and its run.

    Raises:
        UserError: The run is not there or not complete.
    """
    run_id = find_run(outputs.training_digest)
    tags = client().get_run(run_id).data.tags if run_id else {}
    if run_id is None or tags.get(COMPLETE_TAG) != "true":
        state = "not complete" if run_id else "missing"
        training = short(outputs.training_digest)
        raise UserError(f"The MLflow run of training {training} is {state}: run `segloop track` first.")
    facts = {
        DIGEST_TAG: outputs.version_digest,
        "segloop.model_sha256": outputs.model_digest,
        "segloop.evaluation_digest": outputs.evaluation_digest,
        "segloop.training_digest": outputs.training_digest,
        "segloop.holdout_digest": str(outputs.holdout["digest"]),
        "segloop.precision": str(outputs.exported["precision"]),
    }
    inherited = {key: tags[key] for key in TAGS_OF_RUN if key in tags}
    return Candidate(name, outputs.version_digest, run_id, {**inherited, **commit_tags(), **facts})


def commit_tags() -> dict[str, str]:
    """The commit that the version is registered at: its export may be younger than the run of its training."""
    commit = git_commit(Path())
    return {} if commit is None else {COMMIT_TAG: commit.sha, DIRTY_TAG: str(commit.dirty).lower()}


def version_of(candidate: Candidate) -> "ModelVersion | None":
    """The version that has the candidate's digest, the oldest if there are several; None when there is none."""
    wanted = f"name = '{candidate.name}' and tags.`{DIGEST_TAG}` = '{candidate.digest}'"
    found = client().search_model_versions(wanted)
    return min(found, key=lambda version: int(version.version), default=None)


def create(candidate: Candidate, outputs: Outputs, limits: Limits, taxonomy: Path) -> "ModelVersion":
    """Uploads the model and makes the version, whose tags appear with it in one act.

    Interrupted before that act, the next call finishes the upload that was begun; after it, finds the version.
    """
    model_id = upload(candidate, outputs, limits, taxonomy)
    _ensure_name(candidate.name)
    store = client()
    created = store.create_model_version(
        candidate.name,
        f"{MODEL_SCHEME}{model_id}",
        candidate.run_id,
        tags=candidate.tags,
        description=f"mIoU {outputs.metrics['miou']:.4f} on holdout {short(outputs.holdout['digest'])}",
        model_id=model_id,
    )
    first = version_of(candidate)
    if first is None or int(first.version) == int(created.version):
        return created
    store.delete_model_version(candidate.name, str(created.version))  # another process was faster
    return first


def upload(candidate: Candidate, outputs: Outputs, limits: Limits, taxonomy: Path) -> str:
    """Uploads the packed model, or finds it uploaded.

    Returns:
        The id of MLflow's logged model.

    Raises:
        OutageError: What was uploaded does not lie there in full.
    """
    from pipeline.package import Identity, pack

    store = client()
    known = store.search_logged_models([experiment()], f"tags.`{DIGEST_TAG}` = '{candidate.digest}'")
    ready = [model for model in known if model.status == "READY"]
    if ready:
        return str(ready[0].model_id)
    begun = known[0] if known else _begin(candidate)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        pack(outputs, taxonomy, limits, Identity(begun.model_id, candidate.run_id, candidate.digest), folder)
        store.log_model_artifacts(begun.model_id, str(folder))
        lost = _lost(begun.model_id, folder)
    if lost:
        raise OutageError(f"MLflow took the model but lacks {len(lost)} of its files ({lost[0]}, ...). Run it again.")
    _link(candidate.run_id, begun.model_id)
    _show_scores(candidate.run_id, begun.model_id)
    store.finalize_logged_model(begun.model_id, "READY")
    return str(begun.model_id)


def point_alias(version: "ModelVersion") -> bool:
    """Points the alias at the version; whether it had to be moved."""
    store = client()
    number = str(version.version)  # a database gives numbers, a server gives text
    if str(store.get_registered_model(version.name).aliases.get(ALIAS)) == number:
        return False
    store.set_registered_model_alias(version.name, ALIAS, number)
    return True


def serves(version: "ModelVersion", params: Path) -> bool:
    """Whether the version is the champion, as the decision log says: a run that changes no model ends in it again.

    Raises:
        OutageError: The log is away.
    """
    from pipeline.registry_access import RegistryParams, open_registry

    registry = open_registry(read_section(RegistryParams, "registry", params))
    return champion(registry.log.entries(str(version.name))) == int(version.version)


def model_id_of(version: "ModelVersion") -> str:
    """The logged model behind a version; MLflow often leaves `model_id` empty, its source always names it."""
    return version.model_id or str(version.source).removeprefix(MODEL_SCHEME)


def _begin(candidate: Candidate) -> Any:
    store = client()
    params = store.get_run(candidate.run_id).data.params
    return store.create_logged_model(
        experiment(), candidate.name, candidate.run_id, candidate.tags, params, "segmentation"
    )


def _link(run_id: str, model_id: str) -> None:
    """Shows the model among the run's outputs; doing so twice is an error to MLflow."""
    from mlflow.entities import LoggedModelOutput

    outputs = client().get_run(run_id).outputs
    if model_id not in {each.model_id for each in (outputs.model_outputs if outputs else [])}:
        client().log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])


def _show_scores(run_id: str, model_id: str) -> None:
    """Gives the model the mIoU and the IoU per class that its run has: the very points, so that none is doubled."""
    from mlflow.entities import Metric

    store = client()
    keys = [key for key in store.get_run(run_id).data.metrics if key.startswith(SCORES)]
    latest = [max(store.get_metric_history(run_id, key), key=lambda point: point.timestamp) for key in keys]
    log_points(run_id, [Metric(p.key, p.value, p.timestamp, p.step, model_id=model_id) for p in latest])


def _ensure_name(name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client().create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _lost(model_id: str, folder: Path) -> list[str]:
    store = client()
    root = store.list_logged_model_artifacts(model_id)
    stored = sizes(root, lambda inside: store.list_logged_model_artifacts(model_id, inside))
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    return [name for name, file in files.items() if stored.get(name) != file.stat().st_size]


if __name__ == "__main__":
    run(main)
