"""Action: lets an approved version serve."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.aliases import reconcile
from pipeline.certify import Reasons, certify
from pipeline.command import run
from pipeline.decisions.entry import Entry, Kind
from pipeline.decisions.states import champion, promotable, refuse_champion
from pipeline.dossier import Places, refresh
from pipeline.errors import SegloopError, UserError, VerdictError
from pipeline.evaluate import EvaluateParams
from pipeline.files import read_json
from pipeline.gating.slo import GateParams
from pipeline.holdout_counts import judging_digest
from pipeline.model_versions import Registered, VersionFiles, fetch, find_version
from pipeline.outputs import short
from pipeline.params import read_section
from pipeline.register import RegisterParams
from pipeline.registry_access import Registry, RegistryParams, open_registry
from pipeline.run_author import authors_of
from pipeline.taxonomy import load_taxonomy
from pipeline.tracking import configure


class As(StrEnum):
    """What a version may serve as."""

    CHAMPION = "champion"
    CANARY = "canary"
    SHADOW = "shadow"


def main(
    version: Annotated[str, typer.Argument(help="Its number or alias.")],
    scope: Annotated[As, typer.Option(help="What it may serve as.")] = As.CHAMPION,
    force: Annotated[
        bool, typer.Option("--force", help="Over the verdict, without approval; recorded as an override.")
    ] = False,
    note: Annotated[str, typer.Option(help="Why; required with --force.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything; change nothing.")] = False,
    data: Annotated[Path, typer.Option(help="The folder of the stages' outputs, for today's holdout.")] = Path("data"),
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Let an approved version serve.

    Needs a valid verdict that passed and an approval of it. Appends to the decision log, issues the signed
    certificate, then brings MLflow's aliases in line. Of two at once, one wins. An override (--force) still needs a
    verdict, whatever it says: nothing serves that was never measured. `segloop dossier` then shows it in red.

    Example: segloop promote candidate
    """
    if force and not note.strip():
        raise UserError("--force needs --note: say why the rules are broken, for whoever reads the record later.")
    registry = open_registry(read_section(RegistryParams, "registry", params), as_promoter=True)
    configure()
    wanted = find_version(read_section(RegisterParams, "register", params).model_name, version)
    places = Places(data=data, taxonomy=taxonomy, params=params)
    known = registry.log.entries()
    mine = [entry for entry in known if entry.model_name == wanted.name]
    if scope is As.CHAMPION and champion(mine) == wanted.version:
        nothing_to_decide(registry, wanted, mine, dry_run=dry_run)
        return
    files = fetch(wanted)
    if force:
        reasons = forced(registry, wanted, files, mine, scope, note.strip())
    else:
        reasons = approved(registry, wanted, files, mine, scope, valid_gate(registry, wanted, places))
    if dry_run:
        print(f"{wanted.title} may serve as {scope.value}: {reasons.note}; nothing was changed")
        return
    certificate = certify(registry, wanted, files, reasons, known)
    said = "OVERRIDE, recorded as such: " if force else ""
    print(
        f"{said}{wanted.title} is {scope.value} by decision {certificate.sequence}, model {short(files.model_digest)}"
    )
    if scope is As.CHAMPION:
        print(f"check: segloop verify {wanted.version}; take back: segloop rollback --note TEXT")
    else:
        print(f"check: segloop verify {wanted.version} --scope {scope.value}; it ends when the champion changes")
    if force:
        show_in_dossier(registry, wanted, places)


def show_in_dossier(registry: Registry, wanted: Registered, places: Places) -> None:
    """Writes the dossier anew, where the override stands in red; what keeps it from that is told, and no more."""
    try:
        print(f"the override stands in red in {refresh(registry, wanted, places)}")
    except SegloopError as error:
        print(f"warning: the dossier does not show the override: {error}", file=sys.stderr)


def nothing_to_decide(registry: Registry, wanted: Registered, entries: list[Entry], *, dry_run: bool) -> None:
    """Says that a version is the champion, and makes MLflow show it: a promotion that was cut off goes on.

    Raises:
        VerdictError: The log was tampered with.
        OutageError: MLflow is away.
    """
    registry.log.check()
    changes = reconcile(wanted.name, entries, dry_run=dry_run)
    missing = f"; MLflow did not show it: {', '.join(change.what for change in changes)}" if changes else ""
    print(f"{wanted.title} is the champion already; nothing was decided{missing}")


def forced(
    registry: Registry, wanted: Registered, files: VersionFiles, entries: list[Entry], scope: As, note: str
) -> Reasons:
    """The reasons of an override: a note, beside a verdict of any outcome on this very graph.

    Raises:
        UserError: It was never judged, or is the champion already.
        VerdictError: Another graph was judged.
    """
    refuse_champion(entries, wanted.version)
    verdict = registry.verdict(wanted)
    if verdict is None:
        raise UserError(
            f"{wanted.title} was never judged: run `segloop gate {wanted.version}` first. An override goes over a "
            "verdict, not without one; what served before comes back by `segloop rollback`."
        )
    if verdict.candidate.model_digest != files.model_digest:
        raise VerdictError(f"The graph of {wanted.title} is not the one that was judged: `segloop gate --again`.")
    return Reasons(Kind.PROMOTION, scope.value, verdict.digest(), "", note, override=True)


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
        promoter_keys=registry.promoter_keys,
        four_eyes_authors=authors_of(wanted, entries) if registry.params.four_eyes else None,
    )
    note = f"approved by {approval.reviewer}: {approval.note}"
    return Reasons(Kind.PROMOTION, scope.value, approval.gate_digest, approval.reviewer, note)


def valid_gate(registry: Registry, wanted: Registered, places: Places) -> str | None:
    """The digest of the last verdict, if it was made on today's holdout with today's settings; else None.

    Raises:
        VerdictError: It contradicts itself: whoever wrote it, the gate did not.
    """
    verdict = registry.verdict(wanted)
    today = read_json(places.data / "holdout.json", "run `dvc repro prepare`").get("digest")
    if verdict is None or verdict.holdout_digest != today:
        return None
    if verdict.passed == any(each.blocks for each in verdict.decisions) or verdict.candidate.version != wanted.version:
        raise VerdictError(
            f"The verdict on {wanted.title} contradicts itself: `segloop gate {wanted.version} --again`."
        )
    settings, evaluate = (
        read_section(GateParams, "gate", places.params),
        read_section(EvaluateParams, "evaluate", places.params),
    )
    digest = judging_digest(settings, load_taxonomy(places.taxonomy), evaluate)
    return verdict.digest() if verdict.settings_digest == digest else None


if __name__ == "__main__":
    run(main)
