"""Action: checks a version's certificate against the bytes that would be loaded."""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pipeline.aliases import CERTIFICATE_TAG, certificate_of
from pipeline.command import run
from pipeline.decisions.certificate import Certificate, check, parse_certificate
from pipeline.decisions.states import champion
from pipeline.errors import UserError, VerdictError
from pipeline.model_versions import Registered, all_versions, fetch, find_version
from pipeline.outputs import short
from pipeline.params import read_section
from pipeline.promote import As
from pipeline.register import RegisterParams
from pipeline.registry_access import Registry, RegistryParams, open_registry
from pipeline.tracking import configure, outage


def main(
    version: Annotated[str, typer.Argument(help="Its number or alias.")] = "champion",
    scope: Annotated[As, typer.Option(help="What it is about to serve as.")] = As.CHAMPION,
    certificate: Annotated[Path | None, typer.Option(help="A certificate's file, if not the version's own.")] = None,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Check a version's certificate against the bytes that would be loaded.

    Does what whatever serves does: takes bytes and certificate from MLflow, and believes neither. The promoter's
    public key comes from this workspace.

    Example: segloop verify champion
    """
    registry = open_registry(read_section(RegistryParams, "registry", params))
    keys = registry.promoter_keys
    if not keys:
        raise UserError(f"There is no promoter's public key in {registry.params.promoter}: `segloop registry init`.")
    configure()
    wanted = find_version(read_section(RegisterParams, "register", params).model_name, version)
    registry.log.check()
    refuse_unshown(registry, wanted.name)
    found = read_certificate(certificate) if certificate else certificate_in_mlflow(wanted)
    with tempfile.TemporaryDirectory() as fresh:  # a copy from before would hide what lies in MLflow now
        digest = fetch(wanted, Path(fresh)).model_digest
    check(
        found,
        public_keys=keys,
        model_name=wanted.name,
        model_bytes_digest=digest,
        scope=scope.value,
        last_sequence=last_certified(registry, wanted.name, scope),
        version=wanted.version,
    )
    who = "an override without approval" if found.override else f"approved by {found.reviewer}"
    print(f"{wanted.title} may serve as {found.scope}: {who}, decision {found.sequence}, {short(digest)}")


def refuse_unshown(registry: Registry, name: str) -> None:
    """Refuses to judge by MLflow's tags while they are behind the log.

    Raises:
        VerdictError: The version that serves does not show its certificate there.
        OutageError: MLflow is away.
    """
    number = champion(registry.log.entries(name))
    with outage("reading the certificates"):
        serving = [each for each in all_versions(name) if each.version == number]
    if serving and CERTIFICATE_TAG not in serving[0].tags:
        raise VerdictError(
            f"Version {number} is the champion by the decision log, and MLflow does not show its certificate yet: "
            "run `segloop registry reconcile`."
        )


def certificate_in_mlflow(version: Registered) -> Certificate:
    """The certificate that travels with a version.

    Raises:
        VerdictError: There is none, or it is malformed.
    """
    text = version.tags.get(CERTIFICATE_TAG)
    if text is None:
        raise VerdictError(f"{version.title} has no certificate: it was never promoted. `segloop versions` shows more.")
    try:
        return parse_certificate(json.loads(text))
    except (ValueError, RecursionError):
        raise VerdictError(f"The certificate of {version.title} is no JSON: `segloop registry reconcile`.") from None


def read_certificate(file: Path) -> Certificate:
    """A certificate from a file.

    Raises:
        UserError: There is no such file, or it is no JSON.
        VerdictError: It is no certificate.
    """
    try:
        return parse_certificate(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is no JSON: {error}. Name a certificate's file.") from None


def last_certified(registry: Registry, name: str, scope: As) -> int:
    """The highest sequence number of a certificate that counts against others of a scope; 0 without one.

    Those of the scope itself, and of the champion, whose change ends every canary and shadow.
    """
    certificates = [certificate_of(entry) for entry in registry.log.entries(name)]
    numbers = [each["sequence"] for each in certificates if each.get("scope") in {scope.value, As.CHAMPION.value}]
    return max((number for number in numbers if isinstance(number, int)), default=0)


if __name__ == "__main__":
    run(main)
