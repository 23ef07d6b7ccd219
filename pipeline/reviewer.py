"""Action: keeps the allow-list of reviewers."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.command import run
from pipeline.decisions.keys import add_reviewer, check_name, key_id, load_private, new_key, public_text, read_reviewers
from pipeline.errors import UserError
from pipeline.params import read_section
from pipeline.registry_access import RegistryParams, reviewer_key_path


class Act(StrEnum):
    """What to do with the list."""

    ADD = "add"
    LIST = "list"


def main(
    act: Annotated[Act, typer.Argument(help="add or list.")],
    name: Annotated[str, typer.Argument(help="The reviewer's name, for add.")] = "",
    key: Annotated[Path | None, typer.Option(help="Private key; made when missing. Default: in ~/.config.")] = None,
    airflow: Annotated[str, typer.Option(help="User name in Airflow, whose answers there count as reviews.")] = "",
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Keep the allow-list of reviewers.

    `add` makes a key where there is none and puts its public half on the list, which takes effect once it is merged.
    The private half never leaves the machine. With --airflow it lists an account of Airflow instead, or beside the
    key that is listed already; with --key as well, both at once.

    Example: segloop reviewer add alice --airflow alice
    """
    file = read_section(RegistryParams, "registry", params).reviewers
    if act is Act.LIST:
        show(file)
        return
    if not name:
        raise UserError("`segloop reviewer add` needs a name, received none. Example: segloop reviewer add alice")
    check_name(name)
    listed = read_reviewers(file).get(name)
    if listed is not None and listed.public_key is not None and not airflow:
        raise UserError(f"{file} lists '{name}' already. Choose another name, or remove the old line first.")
    place = key or (None if airflow else reviewer_key_path(name))
    public = public_text(load_private(place) if place.exists() else new_key(place)) if place else None
    add_reviewer(file, name, public, airflow=airflow or None)
    known_by = [f"key {key_id(public)}"] if public else []
    known_by += [f"Airflow's user '{airflow}'"] if airflow else []
    print(f"'{name}' is on {file} with {' and '.join(known_by)}; commit and merge it")
    if place:
        print(f"private key: {place} (keep it; whoever has it reviews as '{name}')")


def show(file: Path) -> None:
    """Prints the list."""
    table = Table("reviewer", "key", "user in Airflow", "since")
    for name, reviewer in read_reviewers(file).items():
        key = key_id(reviewer.public_key) if reviewer.public_key else ""
        table.add_row(escape(name), key, escape(reviewer.airflow or ""), str(reviewer.added_at))
    Console().print(table)


if __name__ == "__main__":
    run(main)
