"""Action: checks a version's certificate against the bytes that would be loaded."""

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.aliases import CERTIFICATE_TAG, certificate_of
from pipeline.command import run
from pipeline.decisions.certificate import Certificate, check, parse_certificate
from pipeline.errors import UserError, VerdictError
from pipeline.model_versions import Registered, fetch, find_version
from pipeline.outputs import short
from pipeline.params import read_section
from pipeline.promote import As
from pipeline.register import RegisterParams
from pipeline.registry_access import Registry, RegistryParams, open_registry
from pipeline.tracking import configure


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
    found = read_certificate(certificate) if certificate else certificate_in_mlflow(wanted)
    files = fetch(wanted)
    check(
        found,
        public_keys=keys,
        model_name=wanted.name,
        model_bytes_digest=files.model_digest,
        scope=scope.value,
        last_sequence=last_certified(registry, wanted.name, scope),
        version=wanted.version,
    )
    who = "an override without approval" if found.override else f"approved by {found.reviewer}"
    print(f"{wanted.title} may serve as {found.scope}: {who}, decision {found.sequence}, {short(files.model_digest)}")


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
    except ValueError:
        raise VerdictError(f"The certificate of {version.title} is no JSON: `segloop registry reconcile`.") from None


def read_certificate(file: Path) -> Certificate:
    """A certificate from a file.

    Raises:
        UserError: There is no such file, or it is no JSON.
        VerdictError: It is no certificate.
    """
    try:
        return parse_certificate(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UserError(f"{file} is no JSON: {error}. Name a certificate's file.") from None


def last_certified(registry: Registry, name: str, scope: As) -> int:
    """The highest sequence number of a certificate for a scope in the log; 0 without one."""
    certificates = [certificate_of(entry) for entry in registry.log.entries(name)]
    numbers = [each["sequence"] for each in certificates if each.get("scope") == scope.value]
    return max((number for number in numbers if isinstance(number, int)), default=0)


if __name__ == "__main__":
    run(main)
