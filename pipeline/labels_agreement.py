"""Action: measures how well annotators of the same images agree, and makes one mask out of several."""

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.agreement.annotators import annotators, error_figures
from pipeline.agreement.consensus import Method
from pipeline.agreement.consensus_folder import Source, Wish, Written, write_consensus
from pipeline.agreement.copies import CONSENSUS, UNNAMED, overlapping
from pipeline.agreement.figures import Figure, figures
from pipeline.agreement.files import as_json, pair_table
from pipeline.agreement.images import How, compare_all
from pipeline.agreement.page import page
from pipeline.agreement.pictures import Panel, panels
from pipeline.agreement.report import Report, order, report
from pipeline.agreement.totals import Totals
from pipeline.command import progress, run
from pipeline.dataset import DatasetParams
from pipeline.errors import UserError
from pipeline.files import atomic_dir, read_json, refuse_foreign, write_atomic, write_json
from pipeline.images import Limits
from pipeline.params import Section, read_section
from pipeline.parts import check_classes, read_index
from pipeline.show import Painting, ShowParams
from pipeline.taxonomy import Taxonomy, load_taxonomy

EVALUATION = Path("data/evaluation")


class AgreementParams(Section):
    """Section `agreement`.

    Attributes:
        tolerance_px: Outlines this near count as the same.
        look_below: IoU of a class below which a pair needs a third look.
        look_px: Pixels in dispute from which it does.
        looks: Pairs listed for a third look.
        pictures: Of these, shown as pictures.
        picture_px: Longest side of a picture.
        mixups: Confusions listed of each annotator.
        void_below: Pixels of the consensus with less confidence become void; 0 keeps all.
        replicates: Draws of the bootstrap.
        seed: Of the draws.
        workers: Processes; 0 takes every core.
    """

    tolerance_px: int = Field(ge=0)
    look_below: float = Field(ge=0, le=1)
    look_px: int = Field(ge=1)
    looks: int = Field(ge=0)
    pictures: int = Field(ge=0)
    picture_px: int = Field(ge=16)
    mixups: int = Field(ge=0)
    void_below: float = Field(ge=0, le=1)
    replicates: int = Field(ge=1)
    seed: int
    workers: int = Field(ge=0)


def main(
    dataset: Annotated[Path | None, typer.Option(help="The dataset's folder, if not params' dataset.path.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report; replaced as a whole.")] = Path("data/agreement"),
    evaluation: Annotated[
        Path | None, typer.Option(help="Folder of an evaluation, to compare with; data/evaluation if there is one.")
    ] = None,
    consensus: Annotated[
        Path | None, typer.Option(help="Folder to write one mask for each image into, for `segloop ingest`.")
    ] = None,
    method: Annotated[Method, typer.Option(help="How that mask is found.")] = Method.MAJORITY,
    void_below: Annotated[
        float | None, typer.Option(min=0, max=1, help="Its pixels of less confidence become void.")
    ] = None,
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Measure how well annotators of the same images agree, and make one mask out of several.

    Items of one image (equal bytes) by several annotators are compared: IoU, Dice, kappa, alpha and outlines, beside
    the model's IoU; how good and how fast each annotator is; which pairs need a third look. With --consensus, the
    masks' majority or STAPLE is written as a source folder, with a map of the confidence.

    Example: segloop labels agreement --consensus agreed --method staple --void-below 0.6
    """
    settings, limits = read_section(AgreementParams, "agreement", params), read_section(Limits, "limits", params)
    root, classes = dataset or read_section(DatasetParams, "dataset", params).path, load_taxonomy(taxonomy)
    refuse_foreign(out, "agreement.json")
    check_classes(root, classes.names)
    index, metrics = read_index(root), read_metrics(evaluation)
    rows = overlapping(index)
    if rows.empty:
        raise UserError(
            f"No image of {root} was drawn by several annotators: {len(index)} items, all of different images. Ingest "
            "a second annotator's masks of the same image files under other names, such as NAME~ANNOTATOR."
        )
    how = _how(settings, classes, limits)
    totals = Totals.of(compare_all(root, rows, how, settings.workers), classes.num_classes)
    if not totals.groups:
        raise UserError(f"No two masks of {len(rows)} items could be compared, first: {_first(totals)}.")
    drawn = index[index["annotator"].ne(CONSENSUS)]
    errors = error_figures(totals.pairs, settings.replicates, settings.seed)
    who = annotators(totals, drawn.assign(annotator=drawn["annotator"].fillna(UNNAMED)), settings.mixups, errors)
    found = figures([totals.groups[name] for name in sorted(totals.groups)], settings.replicates, settings.seed)
    account = report(totals, found, who, classes, metrics, settings.looks)
    alpha = read_section(ShowParams, "show", params).alpha
    write_report(out, account, totals, (root, index), (classes, settings, Painting(limits, classes.palette(), alpha)))
    tell(account)
    print(f"pictures: {out / 'index.html'}; figures: {out / 'agreement.json'}; pairs: {out / 'pairs.parquet'}")
    if consensus:
        wish = Wish(method, settings.void_below if void_below is None else void_below, tuple(each.name for each in who))
        made = write_consensus(Source(root, index, rows), how, wish, consensus, settings.workers)
        tell_consensus(made, classes)


def read_metrics(evaluation: Path | None) -> dict[str, Any] | None:
    """The metrics of an evaluation; None where none is named and none is in the usual place."""
    if evaluation is None and not (EVALUATION / "metrics.json").exists():
        return None
    return read_json((evaluation or EVALUATION) / "metrics.json", "run `dvc repro evaluate`")


def write_report(
    out: Path,
    account: Report,
    totals: Totals,
    data: tuple[Path, pd.DataFrame],
    how: tuple[Taxonomy, AgreementParams, Painting],
) -> None:
    """Writes the figures, the pairs, the page and its pictures, all or nothing."""
    classes, settings, painting = how
    shown = account.looks[: settings.pictures]
    pictures: dict[int, list[Panel]] = {}
    with atomic_dir(out) as folder:
        write_json(folder / "agreement.json", as_json(account, classes))
        pair_table(totals.pairs).to_parquet(folder / "pairs.parquet", index=False)
        drawn = panels(*data, shown, painting, classes.ignore_index, settings.picture_px)
        for place, made in progress(drawn, total=len(shown), label="pictures"):
            for each in made:
                write_atomic(folder / "pictures" / each.file, each.png)
            if made:
                pictures[place] = [Panel(each.title, each.file, b"") for each in made]
        write_atomic(folder / "index.html", page(account, classes, pictures))


def tell(account: Report) -> None:
    """Prints the classes, the annotators, and what to do next."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table("class", "IoU of annotators", "Dice", "boundary F", "model IoU", "the model is")
    for row in account.classes:
        scores = [_figure(each) for each in (row.iou, row.dice, row.boundary_f)]
        table.add_row(escape(row.name), *scores, _score(row.model_iou), row.standing.value)
    console.print(table)
    table = Table("annotator", "masks", "own error", "mean IoU", "time for a mask")
    for each in account.annotators:
        error = "not known" if each.own_error is None else _figure(each.own_error, ".2%")
        time = "not known" if each.seconds is None else f"{each.seconds:,.0f} s"
        table.add_row(escape(each.name), str(each.items), error, _score(each.miou), time)
    console.print(table)
    if said := order(account.annotators):
        console.print(escape(said))
    console.print(
        f"{account.pairs} pairs of {account.images} images: mean IoU {_figure(account.miou)}, "
        f"Krippendorff's alpha {_figure(account.alpha)}"
    )
    console.print(f"{len(account.looks) + account.more_looks} pairs need a third look")
    if account.problems:
        item, why = next(iter(account.problems.items()))
        console.print(f"{len(account.problems)} masks could not be compared, first '{escape(item)}': {escape(why)}")


def tell_consensus(made: Written, classes: Taxonomy) -> None:
    """Prints what was written, and the command that takes it."""
    for item, why in sorted(made.left_out.items()):
        print(f"left out: {item}: {why}")
    print(f"{made.items} masks agreed on")
    now = f"version-{classes.version}"
    source = f" --source {now}" if now in classes.remaps else ""  # after a migration plain ids need their version
    for sampling, folder in made.folders.items():
        chosen = "" if sampling == "uniform" else f" --sampling {sampling}"
        print(f"next: segloop ingest {folder} --format folders --batch NAME{chosen}{source}")


def _how(settings: AgreementParams, classes: Taxonomy, limits: Limits) -> How:
    return How(
        classes.num_classes,
        classes.ignore_index,
        tuple(classes.critical_ids),
        settings.tolerance_px,
        settings.look_below,
        settings.look_px,
        limits,
    )


def _first(totals: Totals) -> str:
    return next((f"'{item}': {why}" for item, why in totals.problems.items()), "each was drawn by one annotator")


def _figure(figure: Figure, form: str = ".3f") -> str:
    ends = "" if figure.low is None or figure.high is None else f" ({figure.low:{form}} to {figure.high:{form}})"
    return "undefined" if figure.value is None else f"{figure.value:{form}}{ends}"


def _score(value: float | None) -> str:
    return "undefined" if value is None or value != value else f"{value:.3f}"  # noqa: PLR0124 - NaN


if __name__ == "__main__":
    run(main)
