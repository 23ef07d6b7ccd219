"""Action: checks the masks of the dataset, and lists those that are probably wrong."""

import html
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.errors import UserError
from pipeline.files import atomic_dir, write_atomic, write_json
from pipeline.images import Limits, encode_image
from pipeline.label_qa.looks import looks
from pipeline.label_qa.suspicion import Suspicion, ranked
from pipeline.params import Section, read_section
from pipeline.parts import read_index, read_items
from pipeline.show import Painting, ShowParams, file_names, pictures
from pipeline.taxonomy import load_taxonomy

TOLD = 20  # rows on the terminal; the files have all
STYLE = "body { font-family: sans-serif; margin: 2em; } img { max-width: 48%; } figure { margin: 0 0 2em; }"


class LabelsParams(Section):
    """Section `labels`.

    Attributes:
        least_score: Standard deviations from which a mask is listed.
        shown: Masks shown as pictures.
        workers: Processes; 0 takes every core.
    """

    least_score: float = Field(gt=0)
    shown: int = Field(ge=0)
    workers: int = Field(ge=0)


def main(
    dataset: Annotated[Path | None, typer.Option(help="The dataset's folder, if not params' dataset.path.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the list and its pictures; replaced as a whole.")] = Path(
        "data/labels"
    ),
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Check the masks of the dataset, and list those that are probably wrong.

    Finds masks that are shifted, of another image, or empty, by their outlines and the image's edges; it needs no
    model. Its error rates: docs/label_error_rates.md.

    Example: segloop labels check
    """
    settings, limits = read_section(LabelsParams, "labels", params), read_section(Limits, "limits", params)
    root, classes = dataset or read_section(DatasetParams, "dataset", params).path, load_taxonomy(taxonomy)
    index = read_index(root)
    if index.empty:
        raise UserError(f"The dataset {root} holds no items. Add some with `segloop ingest`.")
    seen = looks(root, index, classes.ignore_index, limits, settings.workers)
    found = ranked(seen, settings.least_score)
    painting = Painting(limits, classes.palette(), read_section(ShowParams, "show", params).alpha)
    with atomic_dir(out) as folder:
        write_json(
            folder / "suspicions.json", {"schema": 1, "items": len(seen), "found": [asdict(each) for each in found]}
        )
        pd.DataFrame([asdict(each) for each in found], columns=list(Suspicion.__dataclass_fields__)).to_csv(
            folder / "suspicions.csv", index=False
        )
        write_page(folder, root, index, found[: settings.shown], painting)
    tell(found, len(seen), int(seen["problem"].notna().sum()))
    print(f"pictures: {out / 'index.html'}; list: {out / 'suspicions.csv'}")


def write_page(folder: Path, root: Path, index: pd.DataFrame, found: list[Suspicion], painting: Painting) -> None:
    """Writes `index.html` with the image and its overlay for each suspicion, in the order of the list."""
    names = file_names(index["item_id"])
    shown = {each.item_id for each in found}
    for row, image, mask in read_items(root, index[index["item_id"].isin(shown)]):
        for kind, picture in pictures(row["item_id"], image, mask, painting).items():
            write_atomic(folder / f"{names[row['item_id']]}_{kind}.png", encode_image(picture))
    figures = "".join(
        f"<figure><figcaption><b>{html.escape(each.item_id)}</b>: {each.kind.value}. {html.escape(each.why)}"
        "</figcaption>"
        f'<img src="{html.escape(names[each.item_id])}_image.png" alt="image"> '
        f'<img src="{html.escape(names[each.item_id])}_overlay.png" alt="overlay"></figure>\n'
        for each in found
    )
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Suspicious masks</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>Suspicious masks, worst first</h1>\n{figures}</body></html>\n"
    )
    write_atomic(folder / "index.html", page)


def tell(found: list[Suspicion], items: int, unreadable: int) -> None:
    """Prints the top of the list."""
    console = Console(highlight=False)
    if found:
        table = Table("item", "suspected of", "score", "why")
        for each in found[:TOLD]:
            table.add_row(escape(each.item_id), each.kind.value, f"{each.score:.1f}", escape(each.why))
        console.print(table)
    more = f" (the first {TOLD} are shown)" if len(found) > TOLD else ""
    console.print(f"{len(found)} of {items} masks are suspicious{more}")
    if unreadable:
        console.print(f"{unreadable} could not be compared with their image: `segloop validate` names them")


if __name__ == "__main__":
    run(main)
