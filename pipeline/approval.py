"""Action: prints what a reviewer is asked in Airflow about a judged version."""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pipeline.approval_text import dossier_path, dossier_url, question
from pipeline.command import run
from pipeline.decisions.entry import Kind
from pipeline.decisions.states import legal, standing_gate
from pipeline.dossier import FOLDER, Places
from pipeline.errors import OutageError, UserError, VerdictError
from pipeline.files import write_atomic
from pipeline.gating.verdict import Verdict
from pipeline.model_versions import Registered, fetch, find_version
from pipeline.outcome import tell
from pipeline.params import read_section
from pipeline.promote import valid_gate
from pipeline.register import RegisterParams
from pipeline.registry_access import Registry, RegistryParams, open_registry
from pipeline.tracking import client, configure, outage

REPORTS_VARIABLE = "SEGLOOP_REPORTS_URL"


def main(
    version: Annotated[str, typer.Argument(help="Its number or alias.")],
    reports: Annotated[
        Path | None, typer.Option(help="Folder of the served reports; gets the dossier, where the text links to it.")
    ] = None,
    data: Annotated[Path, typer.Option(help="The folder of the stages' outputs, for today's holdout.")] = Path("data"),
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Print what a reviewer is asked in Airflow about a judged version.

    The promoter makes the same text from the decision log when the answer is there, and takes no answer to another
    one. SEGLOOP_REPORTS_URL says where the dossier is served, and must be the same for both. Nobody is asked about a
    verdict that no longer holds, which would end in a refusal: exit code 1.

    Example: segloop approval candidate
    """
    registry = open_registry(read_section(RegistryParams, "registry", params))
    configure()
    wanted = find_version(read_section(RegisterParams, "register", params).model_name, version)
    legal(registry.log.entries(wanted.name), Kind.REVIEW, wanted.version)
    refuse_void(registry, wanted, Places(data=data, taxonomy=taxonomy, params=params))
    verdict, judged = registry.verdict(wanted), registry.gate_entry(wanted)
    assert verdict is not None  # or a review would have no place
    assert judged is not None
    asked = question(verdict, judged.sequence, reports_url())
    if reports:
        publish(wanted, verdict, reports / dossier_path(verdict))
    tell(
        version=wanted.version,
        subject=asked.subject,
        body=asked.body,
        body_digest=asked.digest,
        dossier=dossier_path(verdict),
        dossier_url=dossier_url(verdict, reports_url()),
    )
    print(asked.subject, asked.body, sep="\n\n")


def refuse_void(registry: Registry, version: Registered, places: Places) -> None:
    """Refuses to ask about a verdict on which no promotion can rest.

    Raises:
        VerdictError: The holdout, the settings, the champion or the graph is another since, or it never could.
        OutageError: What would tell is not there: the holdout is being rebuilt, say.
    """
    try:
        gate_digest, model_digest = valid_gate(registry, version, places), fetch(version).model_digest
    except UserError as error:
        raise OutageError(f"Whether the verdict on {version.title} still holds cannot be told now: {error}") from error
    entries = registry.log.entries(version.name)
    try:
        standing_gate(entries, version.version, gate_digest=gate_digest, model_digest=model_digest)
    except VerdictError as error:
        raise VerdictError(
            f"{error} Then start a new run of the DAG `promotion` about version {version.version}. Nobody was asked."
        ) from None


def publish(version: Registered, verdict: Verdict, target: Path) -> None:
    """Puts the dossier that MLflow keeps with a version where reports are served.

    Raises:
        UserError: There is none, or it is about another verdict.
        OutageError: MLflow is away.
    """
    page = f"{FOLDER}/{version.name}-{version.version}.html"
    with outage("fetching the dossier"), tempfile.TemporaryDirectory() as folder:
        if page not in {each.path for each in client().list_artifacts(version.run_id, FOLDER)}:
            raise UserError(f"{version.title} has no dossier: run `segloop dossier {version.version}` first.")
        content = Path(client().download_artifacts(version.run_id, page, folder)).read_bytes()
    if verdict.digest().encode() not in content:
        raise UserError(
            f"The dossier of {version.title} is about another verdict than {verdict.digest()}: run `segloop dossier "
            f"{version.version}` again."
        )
    write_atomic(target, content)


def reports_url() -> str:
    """Where reports are served; empty where the environment does not say."""
    return os.environ.get(REPORTS_VARIABLE, "").strip()


if __name__ == "__main__":
    run(main)
