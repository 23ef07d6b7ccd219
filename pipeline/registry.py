"""Action: sets the registry up, and brings MLflow in line with the decision log."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipeline.aliases import lost, reconcile
from pipeline.command import run
from pipeline.decisions.keys import key_id, load_private, new_key, public_text, read_public_keys
from pipeline.errors import UserError
from pipeline.files import write_atomic
from pipeline.model_versions import all_versions
from pipeline.params import read_section
from pipeline.register import RegisterParams
from pipeline.registry_access import KEY_VARIABLE, RegistryParams, key_path, open_registry
from pipeline.review import open_asked
from pipeline.tracking import configure, outage

LONGEST = 40


class Act(StrEnum):
    """What to do."""

    INIT = "init"
    RECONCILE = "reconcile"


def main(
    act: Annotated[Act, typer.Argument(help="init or reconcile.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")] = False,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Set the registry up, or bring MLflow in line with the decision log.

    `init` makes the promoter's key where there is none and puts its public half into the workspace. `reconcile` makes
    MLflow's aliases and tags show what the log says, and opens the reviews that were asked for there.

    Example: segloop registry reconcile --dry-run
    """
    settings = read_section(RegistryParams, "registry", params)
    if act is Act.INIT:
        init(settings.promoter, dry_run=dry_run)
        return
    name = read_section(RegisterParams, "register", params).model_name
    registry = open_registry(settings)
    configure()
    if not dry_run:
        registry.log.seal()
        with outage("reading the versions"):
            versions = all_versions(name)
        for each in open_asked(registry, versions):
            print(f"{each.title}: somebody asked for a review")
    entries = registry.log.entries(name)
    changes = reconcile(name, entries, dry_run=dry_run)
    for change in changes:
        print(f"{'would mend' if dry_run else 'mended'} {change.what}: {_cut(change.before)} -> {_cut(change.after)}")
    if not changes:
        print("MLflow shows what the log says; nothing to do")
    with outage("reading the versions"):
        gone = lost(entries, all_versions(name))
    if gone:
        named = ", ".join(f"version {version} ({alias})" for alias, version in gone.items())
        raise UserError(f"MLflow has lost {named}: restore it there. All else was brought in line.")


def init(public: Path, *, dry_run: bool) -> None:
    """Makes the promoter's key, once.

    Raises:
        UserError: The workspace trusts another key already.
    """
    place = key_path()
    if dry_run:
        print(f"would {'use' if place.exists() else 'make'} {place} and write its public half to {public}")
        return
    trusted = read_public_keys(public) if public.exists() else []
    if trusted and not place.exists():
        raise UserError(
            f"{public} holds a promoter's key already, whose private half is not at {place}. Put it there, or name it "
            f"by {KEY_VARIABLE}."
        )
    private = load_private(place) if place.exists() else new_key(place)
    text = public_text(private) + "\n"
    if trusted and text.strip() not in trusted:
        raise UserError(
            f"{public} holds another promoter's key than {place}. Take the right private key. To change keys, add the "
            f"line {text.strip()} to {public} and keep the old one: what was decided before is signed by it."
        )
    if not public.exists():
        write_atomic(public, text)
    print(f"promoter's key {key_id(text.strip())}: public half in {public} (commit it), private half in {place}")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


if __name__ == "__main__":
    run(main)
