"""Action: prints what a version was made from, back to the masks, and proves it."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from pipeline.command import run
from pipeline.decisions.entry import CERTIFIED, Entry
from pipeline.decisions.states import state_of
from pipeline.errors import UserError, VerdictError
from pipeline.model_versions import Registered, all_versions, fetch
from pipeline.origins import Link, Origins
from pipeline.outputs import short
from pipeline.params import Section, read_section
from pipeline.register import RegisterParams
from pipeline.registry_access import RegistryParams, open_registry
from pipeline.releasing.card import card_at
from pipeline.releasing.git import Git
from pipeline.served_requests import version_of_request
from pipeline.tracking import AUTHOR_TAG, COMMIT_TAG, DIRTY_TAG, client, configure, outage

RUN = re.compile(r"[0-9a-f]{32}")
MOST_NAMED = 5
DATASET_TAG = "segloop.dataset_dvc"


class LineageParams(Section):
    """Section `lineage`: where the record of served requests lies."""

    requests: Path = Field()


def main(
    what: Annotated[str, typer.Argument(help="A version's number or alias, a run's id, or a request's.")] = "candidate",
    items: Annotated[bool, typer.Option("--items", help="List every image that taught or measured it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON, for programs.")] = False,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Print what a version was made from, back to the masks, and prove it.

    Each step names the next by a digest that is computed again: the decision log, which must stand up to its audit,
    the graph, its training, the tiles, every mask. Exits 1 when one does not hold.

    Example: segloop lineage champion
    """
    name = read_section(RegisterParams, "register", params).model_name
    log = open_registry(read_section(RegistryParams, "registry", params)).log
    log.check()
    entries = log.entries(name)
    configure()
    version = find(what, name, read_section(LineageParams, "lineage", params).requests)
    origins = Origins(fetch(version))
    mine = [entry for entry in entries if entry.version == version.version]
    links = origins.links(mine[-1].model_digest if mine else None)
    facts = {"state": state_of(entries, version.version).value, **run_facts(version)}
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        console.print_json(data=record(version, facts, mine, links, origins))
    else:
        console.print(tree(version, facts, mine, links, origins))
        if items:
            console.print(listing(origins))
    if broken := [each.name for each in links if each.holds is False]:
        raise VerdictError(
            f"The lineage of {version.title} is broken at: {', '.join(broken)}. What MLflow keeps there is not what "
            "the version was made from; restore MLflow's artifacts."
        )


def find(what: str, name: str, requests: Path) -> Registered:
    """The version that is meant.

    Args:
        what: Its number or alias, the id of its run, or of a request that it answered.
        name: The registered model.
        requests: Folder of the record of served requests.

    Raises:
        UserError: There is none.
        OutageError: MLflow is away.
    """
    with outage("looking for the version"):
        known = all_versions(name)
    number = what.removeprefix("v")
    by_name = [each for each in known if what in each.aliases or number == str(each.version)]
    of_run = [each for each in known if each.run_id == what]
    if by_name or of_run:
        return (by_name or of_run)[-1]
    if RUN.fullmatch(what) and _is_run(what):
        raise UserError(f"Run {what} was never registered, so no version comes from it: `segloop register`.")
    if number.isdecimal() and not RUN.fullmatch(what):
        there = ", ".join(str(each.version) for each in known) or "none"
        raise UserError(f"Model '{name}' has no version {number}. There is: {there}.")
    answered = version_of_request(what, name, requests)
    found = [each for each in known if str(each.version) == answered]
    if not found:
        raise UserError(f"Request {what} was answered by version {answered}, which MLflow lacks. Restore it there.")
    return found[0]


def run_facts(version: Registered) -> dict[str, str]:
    """What the run says of its origin; words of MLflow, which no digest proves.

    Raises:
        OutageError: MLflow is away.
        UserError: It has no such run.
    """
    with outage("reading the run"):
        tags = client().get_run(version.run_id).data.tags
    return {
        "run": version.run_id,
        "author": tags.get(AUTHOR_TAG, "not recorded"),
        "trained at commit": _commit(tags),
        "registered at commit": _commit(version.tags),
        "dataset in DVC": tags.get(DATASET_TAG, "not recorded"),
        "dataset release": release_of(tags.get(DATASET_TAG)),
    }


def release_of(dvc_hash: str | None) -> str:
    """The releases of this repository that hold a dataset of this DVC hash, or that there is none."""
    git = Git(Path.cwd())
    cards = {tag: card_at(git, tag) for tag in git.tags()} if dvc_hash else {}
    found = [tag for tag, card in cards.items() if card and card.dvc_md5 == dvc_hash]
    return ", ".join(found) or "none of this repository: `segloop release` makes one"


def _commit(tags: dict[str, str]) -> str:
    commit = tags.get(COMMIT_TAG, "not recorded")
    return f"{commit}, with uncommitted changes" if tags.get(DIRTY_TAG) == "true" else commit


def tree(
    version: Registered, facts: dict[str, str], decisions: list[Entry], links: list[Link], origins: Origins
) -> Tree:
    """The lineage for people: from what serves down to the masks."""
    root = Tree(f"[bold]{escape(version.title)}[/bold], {facts['state']}")
    for entry in decisions:
        if entry.kind in CERTIFIED:
            said = "[bold red]override[/], " if entry.override else ""
            root.add(f"{entry.kind} by decision {entry.sequence} of {entry.at}: {said}{escape(entry.actor)}")
    for key in ("run", "author", "trained at commit", "registered at commit", "dataset in DVC", "dataset release"):
        root.add(escape(f"{key}: {facts[key]}"))
    place = root
    for link in links:
        place = place.add(f"{link.name} {short(link.digest)}: {_told(link.holds)}")
    for line in _counted(origins):
        place.add(escape(line))
    return root


def listing(origins: Origins) -> Table:
    """A row for each image that taught or measured the version.

    Raises:
        UserError: The version does not keep them.
    """
    table = Table("item", "revision", "split", "group", "annotator", "source", "mask (SHA-256)")
    if origins.items is None:
        raise UserError("The version does not keep the list of its images: it was registered by an older release.")
    for row in origins.items.where(origins.items.notna(), "").to_dict("records"):
        words = [str(row[key]) for key in ("item_id", "revision", "split", "group", "annotator", "source")]
        table.add_row(*map(escape, words), short(str(row["mask_sha256"])))
    return table


def record(
    version: Registered, facts: dict[str, str], decisions: list[Entry], links: list[Link], origins: Origins
) -> dict[str, Any]:
    """The lineage for programs."""
    rows = origins.items
    return {
        "schema": 1,
        "model_name": version.name,
        "version": version.version,
        **facts,
        "decisions": [{"sequence": each.sequence, "kind": each.kind, "at": each.at} for each in decisions],
        "links": [{"name": each.name, "digest": each.digest, "holds": each.holds} for each in links],
        "items": None if rows is None else rows.where(rows.notna(), None).to_dict("records"),
    }


def _told(holds: bool | None) -> str:
    words = {True: "[green]holds[/]", False: "[bold red]DOES NOT HOLD[/]", None: "[yellow]cannot be checked[/]"}
    return words[holds]


def _counted(origins: Origins) -> list[str]:
    measured = f"measured on {len(origins.holdout['items'])} images of holdout {short(origins.holdout['digest'])}"
    taught = origins.taught
    if taught is None:
        return ["images that taught it: not kept by this version", measured]
    splits = ", ".join(f"{count} {split}" for split, count in taught["split"].value_counts().items())
    lines = [f"taught by {len(taught)} images ({splits}) of {taught['group'].nunique()} groups", measured]
    drawn = taught["annotator"].value_counts()
    if len(drawn):
        named = ", ".join(f"{name} {count}" for name, count in drawn[:MOST_NAMED].items())
        lines.insert(1, f"masks drawn by {named}{', ...' if len(drawn) > MOST_NAMED else ''}")
    return lines


def _is_run(run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    with outage("looking for the run"):
        try:
            client().get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
    return True


if __name__ == "__main__":
    run(main)
