"""Action: lets an approved version serve."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.certify import Reasons, certify
from pipeline.command import run
from pipeline.decisions.entry import Entry, Kind
from pipeline.decisions.states import promotable, refuse_champion
from pipeline.errors import UserError
from pipeline.files import digest_json, read_json
from pipeline.gating.slo import GateParams
from pipeline.model_versions import Registered, VersionFiles, fetch, find_version
from pipeline.outputs import short
from pipeline.params import read_section
from pipeline.register import RegisterParams
from pipeline.registry_access import Registry, RegistryParams, open_registry
from pipeline.run_author import author_of
from pipeline.tracking import configure


class As(StrEnum):
    """What a version may serve as."""

    CHAMPION = "champion"
    CANARY = "canary"
    SHADOW = "shadow"


def main(
    version: Annotated[str, typer.Argument(help="Its number or alias.")],
    scope: Annotated[As, typer.Option(help="What it may serve as.")] = As.CHAMPION,
    force: Annotated[bool, typer.Option("--force", help="Without gate or approval; recorded as an override.")] = False,
    note: Annotated[str, typer.Option(help="Why; required with --force.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything; change nothing.")] = False,
    data: Annotated[Path, typer.Option(help="The folder of the stages' outputs, for today's holdout.")] = Path("data"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Let an approved version serve.

    Needs a valid verdict that passed and an approval of it. Appends to the decision log, issues the signed
    certificate, then brings MLflow's aliases in line. Of two at once, one wins.

    Example: segloop promote candidate
    """
    if force and not note.strip():
        raise UserError("--force needs --note: say why the rules are broken, for whoever reads the record later.")
    registry = open_registry(read_section(RegistryParams, "registry", params), as_promoter=True)
    configure()
    wanted = find_version(read_section(RegisterParams, "register", params).model_name, version)
    known = registry.log.entries()
    files = fetch(wanted)
    mine = [entry for entry in known if entry.model_name == wanted.name]
    if force:
        refuse_champion(mine, wanted.version)
        reasons = Reasons(Kind.PROMOTION, scope.value, "", "", note.strip(), override=True)
    else:
        reasons = approved(registry, wanted, files, mine, scope, valid_gate(registry, wanted, data, params))
    if dry_run:
        print(f"{wanted.title} may serve as {scope.value}: {reasons.note}; nothing was changed")
        return
    certificate = certify(registry, wanted, files, reasons, known)
    said = "OVERRIDE, recorded as such: " if force else ""
    print(
        f"{said}{wanted.title} is {scope.value} by decision {certificate.sequence}, model {short(files.model_digest)}"
    )
    print(f"check: segloop verify {wanted.version}; take back: segloop rollback --note TEXT")


def approved(
    registry: Registry,
    wanted: Registered,
    files: VersionFiles,
    entries: list[Entry],
    scope: As,
    gate_digest: str | None,
) -> Reasons:
    """The reasons of an ordinary promotion.

    Raises:
        UserError: A step is missing.
        VerdictError: The gate did not pass or is void, or nobody who may has approved exactly this.
    """
    approval = promotable(
        entries,
        wanted.version,
        gate_digest=gate_digest,
        model_digest=files.model_digest,
        reviewers=registry.reviewers,
        four_eyes_author=author_of(wanted) if registry.params.four_eyes else None,
    )
    note = f"approved by {approval.reviewer}: {approval.note}"
    return Reasons(Kind.PROMOTION, scope.value, approval.gate_digest, approval.reviewer, note)


def valid_gate(registry: Registry, wanted: Registered, data: Path, params: Path) -> str | None:
    """The digest of the last verdict, if it was made on today's holdout with today's settings; else None."""
    verdict = registry.verdict(wanted)
    settings = read_section(GateParams, "gate", params)
    today = read_json(data / "holdout.json", "run `dvc repro prepare`")["digest"]
    if verdict is None or verdict.holdout_digest != today:
        return None
    return verdict.digest() if verdict.settings_digest == digest_json(settings.model_dump()) else None


if __name__ == "__main__":
    run(main)
