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
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Keep the allow-list of reviewers.

    `add` makes a key where there is none and puts its public half on the list, which takes effect once it is merged.
    The private half never leaves the machine.

    Example: segloop reviewer add alice
    """
    file = read_section(RegistryParams, "registry", params).reviewers
    if act is Act.LIST:
        show(file)
        return
    if not name:
        raise UserError("`segloop reviewer add` needs a name, received none. Example: segloop reviewer add alice")
    check_name(name)
    if name in read_reviewers(file):
        raise UserError(f"{file} lists '{name}' already. Choose another name, or remove the old line first.")
    place = key or reviewer_key_path(name)
    private = load_private(place) if place.exists() else new_key(place)
    added = add_reviewer(file, name, public_text(private))
    print(f"'{name}' is on {file} with key {key_id(added.public_key)}; commit and merge it")
    print(f"private key: {place} (keep it; whoever has it reviews as '{name}')")


def show(file: Path) -> None:
    """Prints the list."""
    table = Table("reviewer", "key", "since")
    for name, reviewer in read_reviewers(file).items():
        table.add_row(escape(name), key_id(reviewer.public_key), str(reviewer.added_at))
    Console().print(table)


if __name__ == "__main__":
    run(main)
