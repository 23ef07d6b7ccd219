"""Action: gives the place of the champion back to the version before it, at once."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.aliases import reconcile
from pipeline.certify import Reasons, certify
from pipeline.command import run
from pipeline.decisions.entry import CERTIFIED, Entry, Kind
from pipeline.decisions.states import champion, returnable
from pipeline.errors import UserError, VerdictError
from pipeline.model_versions import fetch, find_version
from pipeline.params import read_section
from pipeline.register import RegisterParams
from pipeline.registry_access import RegistryParams, open_registry
from pipeline.tracking import configure


def main(
    note: Annotated[str, typer.Option(help="Why; required.")],
    across_contracts: Annotated[
        bool, typer.Option("--across-contracts", help="Though the answers have another form.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would come back; change nothing.")] = False,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Give the place of the champion back to the version before it, at once.

    Needs no gate and no approval: it served before, by both or by an override. Issues a new certificate and leaves an
    alarm in the record.

    Example: segloop rollback --note "people at the dock are missed since noon"
    """
    if not note.strip():
        raise UserError("--note is empty; say why, for whoever reads the record later.")
    registry = open_registry(read_section(RegistryParams, "registry", params), as_promoter=True)
    name = read_section(RegisterParams, "register", params).model_name
    configure()
    known = registry.log.entries()
    mine = [entry for entry in known if entry.model_name == name]
    refuse_repetition(name, mine)
    back = returnable(mine, across_contracts=across_contracts)
    wanted = find_version(name, str(back.version))
    files = fetch(wanted)
    if files.model_digest != back.model_digest:
        raise VerdictError(
            f"The graph of {wanted.title} is not the one that served (decision {back.sequence}): it has the digest "
            f"{files.model_digest}, not {back.model_digest}. Restore MLflow's artifacts."
        )
    now = champion(mine)
    if dry_run:
        print(f"{wanted.title} would take the place of version {now}; nothing was changed")
        return
    reasons = Reasons(
        Kind.ROLLBACK, "champion", back.gate_digest, _reviewer(back), note.strip(), override=back.override
    )
    certificate = certify(registry, wanted, files, reasons, known)
    print(f"ALARM: version {now} was rolled back by decision {certificate.sequence}: {note.strip()}")
    print(f"{wanted.title} is champion again; check: segloop verify {wanted.version}")
    print(f"`segloop dossier {now}` shows the alarm in red")


def refuse_repetition(name: str, entries: list[Entry]) -> None:
    """Refuses a rollback while MLflow does not show the last one: it is more likely repeated than meant twice.

    Raises:
        UserError: It does not.
        OutageError: MLflow is away.
    """
    last = next((entry for entry in reversed(entries) if entry.kind in CERTIFIED), None)
    if last is None or last.kind != Kind.ROLLBACK:
        return
    if not any(change.what == "alias champion" for change in reconcile(name, entries, dry_run=True)):
        return
    raise UserError(
        f"Decision {last.sequence} has rolled back to version {last.version} already, and MLflow does not show it yet: "
        "run `segloop registry reconcile`. Then roll back once more only if one version further back is meant."
    )


def _reviewer(entry: Entry) -> str:
    return str(entry.payload["certificate"].get("reviewer", ""))


if __name__ == "__main__":
    run(main)
