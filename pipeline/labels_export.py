"""Action: exports doubted items as tasks for an annotation tool, with their masks as they are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from rich.console import Console

from pipeline.annotation_tasks.choice import decided, known_suspicions, named, suspicions, unsettled
from pipeline.annotation_tasks.tasks import IMAGES, RECORD, Export, Format
from pipeline.annotation_tasks.writing import Source, write_tasks
from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.errors import UserError
from pipeline.files import atomic_dir
from pipeline.images import Limits
from pipeline.label_qa.decisions import DecisionParams, read_decisions
from pipeline.params import read_section
from pipeline.parts import check_classes, read_index
from pipeline.taxonomy import load_taxonomy

SHOWN = 10


def main(  # noqa: PLR0913, PLR0917 - a command's options
    format_: Annotated[Format, typer.Option("--format", help="The annotation tool.")],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    suspects: Annotated[Path, typer.Option("--suspicions", help="The list of doubted masks.")] = Path(
        "data/labels/suspicions.json"
    ),
    items: Annotated[Path | None, typer.Option(help="A file that names items, one a line, instead.")] = None,
    decided_: Annotated[bool, typer.Option("--decided", help="The items decided to relabel, instead.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Items at most, the worst first.")] = None,
    images_at: Annotated[
        str | None, typer.Option(help="Where Label Studio finds the images; local files by default.")
    ] = None,
    dataset: Annotated[Path | None, typer.Option(help="The dataset's folder, if not params' dataset.path.")] = None,
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Export doubted items as tasks for an annotation tool, with their masks as they are.

    The tasks come worst first. Items that were kept or removed are not exported again. How to import them, and to read
    them back: docs/annotation_tools.md.

    Example: segloop labels export --format cvat --out review --limit 50
    """
    if items and decided_:
        raise UserError("--items and --decided each say which items to export, received both. Leave out one.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not empty. Name another folder, or remove it: answers might lie in it.")
    root = dataset or read_section(DatasetParams, "dataset", params).path
    limits, classes = read_section(Limits, "limits", params), load_taxonomy(taxonomy)
    check_classes(root, classes.names)
    index = read_index(root)
    made = read_decisions(read_section(DecisionParams, "labels", params).decisions)
    if items:
        wanted = named(items, known_suspicions(suspects))
    elif decided_:
        wanted = decided(made, index, known_suspicions(suspects))
    else:
        wanted = unsettled(suspicions(suspects), index, made)
    if not wanted:
        print("There is nothing to ask about: every doubted mask is settled, or none is marked to relabel.")
        return
    source = Source(root, index, limits, classes)
    address = images_at if images_at is not None else f"/data/local-files/?d={quote(out.resolve().name)}/{IMAGES}/"
    with atomic_dir(out) as folder:
        export = write_tasks(folder, source, wanted[:limit], format_, address)
        if not export.tasks:
            raise UserError(f"No item could be exported. {_first(export.left_out)}")
    tell(export, out)


def tell(export: Export, out: Path) -> None:
    """Prints what was exported, and what was not."""
    console = Console(markup=False, emoji=False, highlight=False)
    console.print(f"{len(export.tasks)} items in {out}, worst first; see docs/annotation_tools.md for the import.")
    if export.left_out:
        console.print(f"{len(export.left_out)} left out, listed in {out / RECORD}:", style="yellow")
        for name, reason in list(export.left_out.items())[:SHOWN]:
            console.print(f"  {name}: {reason}", style="yellow")
    print(f"next: segloop labels read ANSWER --export {out} --format {export.tool} --batch NAME")


def _first(left_out: Mapping[str, str]) -> str:
    name, reason = next(iter(left_out.items()))
    return f"{len(left_out)} left out, first '{name}': {reason}."


if __name__ == "__main__":
    run(main)
