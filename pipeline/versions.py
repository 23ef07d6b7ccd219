"""Action: prints the versions of the model, and where each one stands."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from pipeline.aliases import reconcile
from pipeline.command import run
from pipeline.decisions.entry import Entry
from pipeline.decisions.states import NEXT, state_of
from pipeline.errors import OutageError
from pipeline.model_versions import Registered, all_versions
from pipeline.outputs import short
from pipeline.params import read_section
from pipeline.register import RegisterParams
from pipeline.registry_access import RegistryParams, open_registry
from pipeline.tracking import configure, outage

MODEL_TAG = "segloop.model_sha256"


def main(
    log: Annotated[bool, typer.Option("--log", help="Print the decisions too, oldest first.")] = False,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Print the versions of the model, and where each one stands.

    With MLflow away, the decisions alone: they are what holds.

    Example: segloop versions --log
    """
    name = read_section(RegisterParams, "register", params).model_name
    registry = open_registry(read_section(RegistryParams, "registry", params))
    entries = registry.log.entries(name)
    console = Console(highlight=False)
    try:
        configure()
        with outage("reading the versions"):
            versions = all_versions(name)
    except OutageError:
        console.print(decisions(entries))  # what holds is in the log, MLflow or not
        raise
    console.print(table(versions, entries))
    if log:
        console.print(decisions(entries))
    if drifted := reconcile(name, entries, dry_run=True):
        what = ", ".join(change.what for change in drifted)
        console.print(f"MLflow does not show what the log says ({what}): segloop registry reconcile", markup=False)


def table(versions: Sequence[Registered], entries: Sequence[Entry]) -> Table:
    """A row a version, the newest first; what the log knows and MLflow lacks is shown too."""
    result = Table("version", "state", "aliases", "model", "last decision", "next")
    there = {each.version: each for each in versions}
    for number in sorted({*there, *(entry.version for entry in entries)}, reverse=True):
        state = state_of(entries, number)
        mine = [entry for entry in entries if entry.version == number]
        version = there.get(number)
        digest = version.tags.get(MODEL_TAG, "") if version else mine[-1].model_digest
        result.add_row(
            str(number) if version else f"{number} (not in MLflow, or not for this account)",
            state.value,
            escape(", ".join(version.aliases)) if version else "",
            escape(short(digest)),
            escape(_told(mine[-1])) if mine else "",
            NEXT[state].replace("`", ""),
        )
    return result


def decisions(entries: Sequence[Entry]) -> Table:
    """A row a decision."""
    result = Table("number", Column("at", no_wrap=True), "version", "decision", "by", "note")
    for entry in entries:
        word = f"[bold red]{entry.kind}, OVERRIDE[/]" if entry.override else entry.kind
        told = [escape(each) for each in (entry.actor, entry.note)]  # brackets in a note are no markup
        result.add_row(str(entry.sequence), entry.at, str(entry.version), word, *told)
    return result


def _told(entry: Entry) -> str:
    return f"{entry.sequence}: {entry.kind}{', OVERRIDE,' if entry.override else ''} by {entry.actor}"


if __name__ == "__main__":
    run(main)
