"""Action: checks that nobody has tampered with the decision log."""

import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.aliases import CERTIFICATE_TAG
from pipeline.command import run
from pipeline.decisions.audit import Fault, Finding
from pipeline.decisions.certificate import Certificate, parse_certificate
from pipeline.decisions.log import audit
from pipeline.errors import SegloopError, VerdictError
from pipeline.model_versions import all_versions
from pipeline.params import read_section
from pipeline.register import RegisterParams
from pipeline.registry_access import RegistryParams, open_registry
from pipeline.tracking import configure, outage


class Act(StrEnum):
    """What to do."""

    VERIFY = "verify"


def main(
    act: Annotated[Act, typer.Argument(help="verify.")] = Act.VERIFY,
    offline: Annotated[
        bool, typer.Option("--offline", help="Without the certificates in MLflow as witnesses.")
    ] = False,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Check that nobody has tampered with the decision log.

    Finds a changed, removed, reordered, inserted or cut-off entry. Exits 1 when there is one.

    Example: segloop audit verify
    """
    del act  # there is one
    settings = read_section(RegistryParams, "registry", params)
    name = read_section(RegisterParams, "register", params).model_name
    registry = open_registry(settings)
    witnesses = [] if offline else list(certificates(name))
    findings = audit(registry.log, registry.promoter_keys, registry.params.head, witnesses)
    for finding in findings:
        print(f"{finding.fault.value}: {finding.what}")
    if findings:
        raise VerdictError(verdict(findings, registry.log.title))
    last = registry.log.head()
    print(f"{last.sequence if last else 0} decisions, an unbroken chain; {len(witnesses)} certificates in MLflow agree")


def verdict(findings: Sequence[Finding], title: str) -> str:
    """What to do about what was found: a certificate forged in MLflow alone is no fault of the log."""
    if all(each.fault is Fault.CERTIFICATE and each.sequence is None for each in findings):
        return f"The decision log {title} is sound, MLflow shows forged certificates: `segloop registry reconcile`."
    return f"The decision log {title} has faults ({len(findings)}). Restore a backup."


def certificates(name: str) -> Iterator[Certificate]:
    """The certificates that MLflow's versions carry; a malformed one is no witness."""
    configure()
    with outage("reading the certificates"):
        versions = all_versions(name)
    for version in versions:
        try:
            yield parse_certificate(json.loads(version.tags.get(CERTIFICATE_TAG, "null")))
        except (ValueError, RecursionError, SegloopError):
            continue


if __name__ == "__main__":
    run(main)
