"""Registered versions as the actions need them: found by number or alias, their files at hand and checked."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError
from pipeline.files import atomic_dir, digest_json, sha256_file
from pipeline.register import model_id_of
from pipeline.tracking import client, outage

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

STORE = Path(".segloop/versions")
ARTIFACTS = "artifacts"
MODEL_TAG = "segloop.model_sha256"
EVALUATION_TAG = "segloop.evaluation_digest"
UNSEEN = " (or this account of MLflow may not see it)"
EVIDENCE = ("metrics.json", "confusions.parquet")


@dataclass(frozen=True)
class Registered:
    """A version in the registry.

    Attributes:
        name: The registered model.
        version: Its number.
        run_id: The MLflow run that made it.
        tags: As MLflow holds them: for people to read, never proof.
        aliases: That point at it now.
        model_id: The logged model that holds its files.
    """

    name: str
    version: int
    run_id: str
    tags: dict[str, str]
    aliases: tuple[str, ...]
    model_id: str

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"{self.name} version {self.version}"


@dataclass(frozen=True)
class VersionFiles:
    """The files of a version on this machine.

    Attributes:
        root: The folder that holds them.
        model_digest: SHA-256 of the graph's bytes as they lie there.
    """

    root: Path
    model_digest: str

    @property
    def export(self) -> Path:
        """Folder of the exported graph."""
        return self.root / "export"

    @property
    def evaluation(self) -> Path:
        """Folder of the evaluation that it was registered with."""
        return self.root / "evaluation"

    @property
    def taxonomy(self) -> Path:
        """The taxonomy it was trained with."""
        return self.root / "taxonomy.yaml"


def find_version(name: str, wanted: str) -> Registered:
    """Finds a version by its number or an alias.

    Args:
        name: The registered model.
        wanted: A number such as `3` or `v3`, or an alias such as `candidate`.

    Raises:
        UserError: There is no such version; the message lists what there is.
        OutageError: MLflow is away.
    """
    with outage("looking for the version"):
        known = all_versions(name)
        number = wanted.removeprefix("v")
        for each in known:
            if (number.isdecimal() and each.version == int(number)) or wanted in each.aliases:
                return each
    there = ", ".join(_listed(each) for each in known) or f"none{UNSEEN}; `dvc repro` and `segloop register` make one"
    raise UserError(f"Model '{name}' has no version or alias '{wanted}'. There is: {there}.")


def alias_target(name: str, alias: str) -> Registered | None:
    """The version that an alias points at, None without one.

    Raises:
        OutageError: MLflow is away.
    """
    with outage("reading the aliases"):
        return next((each for each in all_versions(name) if alias in each.aliases), None)


def all_versions(name: str) -> list[Registered]:
    """Every version of a model, by number; none where the model is unknown. Call it inside `outage`."""
    store = client()
    found = store.search_model_versions(f"name = '{_quotable(name)}'")
    if not found:
        return []
    # A search leaves the aliases out.
    aliases: dict[str, Any] = store.get_registered_model(name).aliases
    by_number: dict[int, list[str]] = {}
    for alias, number in aliases.items():
        by_number.setdefault(int(number), []).append(alias)
    return sorted((_registered(each, by_number) for each in found), key=lambda each: each.version)


def fetch(version: Registered, store: Path = STORE) -> VersionFiles:
    """Brings the files of a version to this machine, once, and checks them each time.

    Raises:
        UserError: A file is missing or has not the digest that the version was registered with.
        OutageError: MLflow or its file store is away.
    """
    # A digest, since the names come from MLflow: no version whose source is a path of this machine is ever touched.
    folder = store / digest_json([version.name, version.version, version.model_id])[:32]
    if not folder.exists():
        with outage(f"fetching {version.title}"), atomic_dir(folder) as temporary:
            import mlflow.artifacts

            source = f"models:/{version.name}/{version.version}/{ARTIFACTS}"
            got = Path(mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=str(temporary)))
            for each in got.iterdir():
                shutil.move(each, temporary / each.name)
            got.rmdir()
    try:
        return _checked(version, folder)
    except UserError:
        shutil.rmtree(folder)  # or the damage would be believed to be ours for ever
        raise


def evaluation_digest(folder: Path) -> str:
    """The digest of an evaluation's figures, as `register` wrote it into the version's tags."""
    return digest_json({name: sha256_file(folder / name) for name in EVIDENCE})


def _checked(version: Registered, folder: Path) -> VersionFiles:
    needed = [folder / "export" / name for name in ("model.onnx", "export.json", "samples.npz")]
    needed.append(folder / "taxonomy.yaml")
    needed += [folder / "evaluation" / name for name in EVIDENCE]
    missing = [str(each.relative_to(folder)) for each in needed if not each.is_file()]
    if missing:
        raise UserError(f"{version.title} has no evidence: MLflow lacks its {', '.join(missing)}. Register it anew.")
    found = {
        MODEL_TAG: sha256_file(folder / "export/model.onnx"),
        EVALUATION_TAG: evaluation_digest(folder / "evaluation"),
    }
    for tag, digest in found.items():
        if version.tags.get(tag) != digest:
            raise UserError(
                f"The files of {version.title} are not those that were registered: {tag} is {version.tags.get(tag)}, "
                f"the files have {digest}. Restore MLflow's artifacts, or register the model anew."
            )
    return VersionFiles(folder, found[MODEL_TAG])


def _registered(found: "ModelVersion", aliases: dict[int, list[str]]) -> Registered:
    number = int(found.version)
    return Registered(
        name=str(found.name),
        version=number,
        run_id=str(found.run_id or ""),
        tags={str(key): str(value) for key, value in found.tags.items()},
        aliases=tuple(sorted(aliases.get(number, []))),
        model_id=model_id_of(found),
    )


def _listed(version: Registered) -> str:
    return f"{version.version} ({', '.join(version.aliases)})" if version.aliases else str(version.version)


def _quotable(name: str) -> str:
    if "'" in name:
        raise UserError(f"register.model_name is {name!r}; MLflow cannot search for a name with a quote.")
    return name
