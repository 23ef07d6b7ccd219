"""Action: prints what a reviewer is asked in Airflow about a judged version."""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pipeline.approval_text import dossier_path, dossier_url, question
from pipeline.command import run
from pipeline.decisions.entry import Kind
from pipeline.decisions.states import legal
from pipeline.dossier import FOLDER
from pipeline.errors import UserError
from pipeline.files import write_atomic
from pipeline.gating.verdict import Verdict
from pipeline.model_versions import Registered, find_version
from pipeline.outcome import tell
from pipeline.params import read_section
from pipeline.register import RegisterParams
from pipeline.registry_access import RegistryParams, open_registry
from pipeline.tracking import client, configure, outage

REPORTS_VARIABLE = "SEGLOOP_REPORTS_URL"


def main(
    version: Annotated[str, typer.Argument(help="Its number or alias.")],
    reports: Annotated[
        Path | None, typer.Option(help="Folder of the served reports; gets the dossier, where the text links to it.")
    ] = None,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Print what a reviewer is asked in Airflow about a judged version.

    The promoter makes the same text from the decision log when the answer is there, and takes no answer to another
    one. SEGLOOP_REPORTS_URL says where the dossier is served, and must be the same for both.

    Example: segloop approval candidate
    """
    registry = open_registry(read_section(RegistryParams, "registry", params))
    configure()
    wanted = find_version(read_section(RegisterParams, "register", params).model_name, version)
    legal(registry.log.entries(wanted.name), Kind.REVIEW, wanted.version)
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
