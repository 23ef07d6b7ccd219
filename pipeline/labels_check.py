"""Action: checks the masks of the dataset, and lists those that are probably wrong."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.errors import UserError
from pipeline.files import atomic_dir, refuse_foreign, write_json
from pipeline.images import Limits
from pipeline.label_qa.decisions import read_decisions, settled
from pipeline.label_qa.judged import Judged
from pipeline.label_qa.judges import AUTO, with_judges
from pipeline.label_qa.looks import MODEL, Look, Looking, looks
from pipeline.label_qa.page import write_page
from pipeline.label_qa.suspicion import Kind, Suspicion, judge, ranked
from pipeline.outcome import tell
from pipeline.params import Section, read_section
from pipeline.parts import read_index
from pipeline.register import RegisterParams
from pipeline.show import Painting, ShowParams
from pipeline.spreadsheets import as_text
from pipeline.taxonomy import load_taxonomy

TOLD = 20  # rows on the terminal; the files have all


class LabelsParams(Section):
    """Section `labels`.

    Attributes:
        least_score: Log of the odds from which a mask is listed.
        shown: Masks shown as pictures.
        workers: Processes; 0 takes every core.
        decisions: The file of decisions, by which nobody is asked twice.
    """

    least_score: float = Field(gt=0)
    shown: int = Field(ge=0)
    workers: int = Field(ge=0)
    decisions: Path


def main(
    model: Annotated[
        str, typer.Option(help="folds, none, a version or alias such as champion, or the folder of an export.")
    ] = AUTO,
    dataset: Annotated[Path | None, typer.Option(help="The dataset's folder, if not params' dataset.path.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the list and its pictures; replaced as a whole.")] = Path(
        "data/labels"
    ),
    folds: Annotated[Path, typer.Option(help="Folder of `labels folds`; taken where it exists.")] = Path(
        "data/label_folds"
    ),
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Check the masks of the dataset, and list those that are probably wrong.

    Without a model it finds masks that are shifted, of another image, empty, exchanged, coarse or full of specks, and
    objects drawn in a wrong class. With one it also finds regions that the model is sure about otherwise: best with
    the networks of `segloop labels folds`, which never saw the masks that they judge. Masks that somebody decided to
    keep are not listed again. Its error rates: docs/label_error_rates.md.

    Example: segloop labels check
    """
    settings, limits = read_section(LabelsParams, "labels", params), read_section(Limits, "limits", params)
    root, classes = dataset or read_section(DatasetParams, "dataset", params).path, load_taxonomy(taxonomy)
    refuse_foreign(out, "suspicions.json")
    decisions = read_decisions(settings.decisions)
    index = read_index(root)
    if index.empty:
        raise UserError(f"The dataset {root} holds no items. Add some with `segloop ingest`.")
    name = read_section(RegisterParams, "register", params).model_name
    index = with_judges(index, model, folds, classes, name)
    seen = looks(index, Looking.at(root, classes, limits), settings.workers)
    judged = judge(seen, classes.names)
    every = ranked(seen, judged, classes.names, settings.least_score)
    found = [each for each in every if not settled(decisions, each.item_id, each.revision)]
    painting = Painting(limits, classes.palette(), read_section(ShowParams, "show", params).alpha)
    with atomic_dir(out) as folder:
        write_lists(folder, found, len(seen))
        score_table(seen, judged, classes.names).to_parquet(folder / "scores.parquet", index=False)
        write_page(folder, root, index, found[: settings.shown], painting, classes)
    print_found(found, seen, len(every) - len(found))
    tell(listed=len(found))
    judges = [each for each in index[MODEL].unique() if each]
    print(f"judged {f'by {len(judges)} model(s)' if judges else 'without a model: see `segloop labels folds`'}")
    print(f"pictures: {out / 'index.html'}; list: {out / 'suspicions.csv'}; next: segloop labels export")


def write_lists(folder: Path, found: Sequence[Suspicion], items: int) -> None:
    """Writes the list for machines and for spreadsheets."""
    rows = [asdict(each) for each in found]
    write_json(folder / "suspicions.json", {"schema": 1, "items": items, "found": rows})
    cells = [{name: as_text(value) for name, value in row.items()} for row in rows]
    pd.DataFrame(cells, columns=list(Suspicion.__dataclass_fields__)).to_csv(folder / "suspicions.csv", index=False)


def score_table(seen: Sequence[Look], judged: dict[Kind, Judged], class_names: Sequence[str]) -> pd.DataFrame:
    """All scores: a row an item, a column a kind, and per class the share of its pixels that a model disputes."""
    table = pd.DataFrame({"item_id": [each.item_id for each in seen], "revision": [each.revision for each in seen]})
    for kind, each in judged.items():
        table[kind.value] = each.scores
    nothing = np.full(len(class_names), np.nan, np.float32)
    shares = [each.seen.regions.disputed if each.seen and each.seen.regions else nothing for each in seen]
    for label, name in enumerate(class_names):
        table[f"disputed {name}"] = [float(share[label]) for share in shares]
    return table


def print_found(found: Sequence[Suspicion], seen: Sequence[Look], decided: int) -> None:
    """Prints the top of the list."""
    console = Console(highlight=False)
    if found:
        table = Table("item", "suspected of", "class", "score", "why")
        for each in found[:TOLD]:
            name = escape(each.class_name or "")
            table.add_row(escape(each.item_id), each.kind.value, name, f"{each.score:.1f}", escape(each.why))
        console.print(table)
    more = f" (the first {TOLD} are shown)" if len(found) > TOLD else ""
    console.print(f"{len(found)} of {len(seen)} masks are suspicious{more}")
    if decided:
        console.print(f"{decided} more are suspicious, and were decided about: segloop labels decide")
    unreadable = sum(each.seen is None for each in seen)
    if unreadable:
        console.print(f"{unreadable} could not be compared with their image: `segloop validate` names them")


if __name__ == "__main__":
    run(main)
