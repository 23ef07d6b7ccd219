"""Issues a certificate and records it in one step: what promotions and rollbacks share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.aliases import reconcile
from pipeline.decisions.certificate import Certificate, Grant, Scope, issue
from pipeline.decisions.entry import Draft, Entry, Kind
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.model_versions import Registered, VersionFiles
from pipeline.provenance import author
from pipeline.registry_access import Registry


@dataclass(frozen=True)
class Reasons:
    """Why a version may serve.

    Attributes:
        kind: Promotion or rollback.
        scope: As what.
        gate_digest: The verdict it rests on, or goes over.
        reviewer: Who approved; empty where an override needed nobody.
        note: In a person's words.
        override: A rule was broken on purpose.
    """

    kind: Kind
    scope: Scope
    gate_digest: str
    reviewer: str
    note: str
    override: bool = False


def certify(
    registry: Registry, version: Registered, files: VersionFiles, reasons: Reasons, known: Sequence[Entry]
) -> Certificate:
    """Appends the decision with its certificate, then brings MLflow in line.

    Args:
        registry: The log, opened as promoter.
        version: What shall serve.
        files: Its files, checked.
        reasons: Why it may.
        known: All entries of the log that the reasons were drawn from; a decision since then wins.

    Raises:
        Conflict: Another decision was faster.
        OutageError: The log or MLflow is away; once the log holds the decision, it stands.
    """
    assert registry.key is not None
    sequence = known[-1].sequence + 1 if known else 1
    grant = Grant(
        model_name=version.name,
        version=version.version,
        model_digest=files.model_digest,
        gate_digest=reasons.gate_digest,
        scope=reasons.scope,
        sequence=sequence,
        reviewer=reasons.reviewer,
        override=reasons.override,
        output_contract=output_contract(files),
    )
    certificate = issue(registry.key, grant)
    registry.log.append(_draft(certificate, reasons), expected_sequence=sequence)
    reconcile(version.name, registry.log.entries(version.name))
    return certificate


def _draft(certificate: Certificate, reasons: Reasons) -> Draft:
    return Draft(
        kind=reasons.kind,
        model_name=certificate.model_name,
        version=certificate.version,
        model_digest=certificate.model_digest,
        actor=author(Path()),
        gate_digest=certificate.gate_digest,
        note=reasons.note,
        override=certificate.override,
        payload={"certificate": certificate.model_dump()},
    )


def output_contract(files: VersionFiles) -> int:
    """The version of the form of the model's answers.

    Raises:
        UserError: The export does not say.
    """
    facts = read_json(files.export / "export.json", "register the model anew")
    number = facts.get("output_contract")
    if not isinstance(number, int):
        raise UserError(
            f"{files.export / 'export.json'} has output_contract {number!r}, wanted is a whole number: export and "
            "register the model anew."
        )
    return number
