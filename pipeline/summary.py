"""Action: prints what the loop has reached, and where to look next."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.outputs import Outputs
from pipeline.params import read_section
from pipeline.provenance import has_changed
from pipeline.shell_hints import ui_command
from pipeline.tracking import DEFAULT_URI

MOST_PICTURES = 6


def main(
    data: Annotated[Path, typer.Option(help="The folder of the stages' outputs.")] = Path("data"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
    lock: Annotated[Path, typer.Option(help="DVC's record of the last run.")] = Path("dvc.lock"),
) -> None:
    """Print the IoU per class and where to look next.

    Example: segloop summary
    """
    outputs = Outputs(data)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table(outputs))
    metrics = outputs.metrics
    baseline = metrics["majority"]
    console.print(
        f"mIoU {score(metrics['miou'])} on {metrics['items']} holdout images of {metrics['groups']} groups; "
        f"predicting '{baseline['class']}' everywhere gives {score(baseline['miou'])}"
    )
    if stale := outputs.stale():
        console.print(f"[bold]Not up to date:[/bold] {stale}")
    if params.exists() and has_changed(lock, "prepare", dataset := read_section(DatasetParams, "dataset", params).path):
        console.print(f"[bold]Not up to date:[/bold] {dataset} changed since; run `dvc repro`.")
    console.print("\nWhere to look next:")
    for what, where in places(outputs):
        console.print(f"  {what + ':':<17}{where}", markup=False)
    console.print("  may it serve?    segloop registry init, then segloop gate candidate", markup=False)


def table(outputs: Outputs) -> Table:
    """IoU and support per class in the classes' order, the mean and the baseline below."""
    metrics = outputs.metrics
    result = Table()
    for column in ("class", "IoU", "images", "pixels", "share"):
        result.add_column(column, justify="left" if column == "class" else "right")
    total = max(sum(metrics["support_px"].values()), 1)
    for each in outputs.exported["classes"]:
        name = each["name"]
        pixels, images = metrics["support_px"][name], metrics["support_images"][name]
        label = f"{name} (critical)" if each["critical"] else name
        result.add_row(label, score(metrics["iou"][name]), str(images), f"{pixels:,}", f"{pixels / total:.1%}")
    result.add_section()
    result.add_row("mean", score(metrics["miou"]), str(metrics["items"]), f"{total:,}", "")
    result.add_row("majority class", score(metrics["majority"]["miou"]), "", "", "")
    return result


def score(value: float | None) -> str:
    """A score for people; what is undefined is a dash."""
    return "-" if value is None else f"{value:.3f}"


def places(outputs: Outputs) -> Iterator[tuple[str, str]]:
    """What there is to look at, as far as it exists: what it is, and its path or command."""
    pictures = outputs.pictures()
    for folder in sorted({picture.parent for picture in pictures}):
        inside = [picture.name for picture in pictures if picture.parent == folder]
        more = f" and {len(inside) - MOST_PICTURES} more" if len(inside) > MOST_PICTURES else ""
        yield "pictures", f"{folder}/ ({', '.join(inside[:MOST_PICTURES])}{more})"
    for what, folder in (("worst images", outputs.evaluation), ("data docs", outputs.validation)):
        pages = sorted(folder.rglob("index.html"))
        if pages:
            yield what, str(pages[0])
    yield "runs and models", ui_command(os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI)


if __name__ == "__main__":
    run(main)
