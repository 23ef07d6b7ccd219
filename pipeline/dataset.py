"""Prints what the dataset holds: items, groups, splits, class shares and sizes."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from pipeline.command import progress, run
from pipeline.errors import UserError
from pipeline.images import ImageError, Limits, decode_mask
from pipeline.params import Section, read_section
from pipeline.parts import parts, read_index, read_items, slice_columns
from pipeline.splits import SPLITS, Ledger, read_ledger, resolve
from pipeline.taxonomy import Taxonomy, load_taxonomy

if TYPE_CHECKING:
    import pandas as pd

UNPLACED = "(none)"
LISTED = ["item_id", "group", "split", "annotator", "revision"]


class DatasetParams(Section):
    """Section `dataset`: where the dataset and its split ledger are."""

    path: Path
    splits: Path


@dataclass(frozen=True)
class Holdings:
    """The dataset's index with each item's split, and the pixels of its mask.

    Attributes:
        index: One row per item, with `split`.
        pixels: Pixels by item and mask value. Shape: (N, 256), int64, in the order of the index.
        part_bytes: Size of the parts on disk.
    """

    index: "pd.DataFrame"
    pixels: np.ndarray
    part_bytes: int


def main(
    dataset: Annotated[Path | None, typer.Option(help="The dataset's folder, if not params' dataset.path.")] = None,
    splits: Annotated[Path | None, typer.Option(help="The split ledger, if not params' dataset.splits.")] = None,
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    items: Annotated[bool, typer.Option("--items", help="List the items; as CSV for what is no terminal.")] = False,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Print the dataset's items, groups, splits, class shares and sizes.

    Example: segloop dataset
    """
    paths = read_section(DatasetParams, "dataset", params)
    if items:
        print_items(read_items_list(dataset or paths.path, read_ledger(splits or paths.splits)))
        return
    limits = read_section(Limits, "limits", params)
    holdings = inspect(dataset or paths.path, read_ledger(splits or paths.splits), limits)
    print_tables(holdings, load_taxonomy(taxonomy))


def inspect(root: Path, ledger: Ledger, limits: Limits) -> Holdings:
    """Reads the index and counts the pixels of every mask; a damaged mask counts as nothing.

    Args:
        root: The dataset's folder.
        ledger: The split ledger.
        limits: What is refused before decoding.

    Raises:
        UserError: The dataset holds no items.
    """
    index = _placed(root, ledger).sort_values(["part", "row_group", "row"], ignore_index=True)
    masks = progress(read_items(root, index), total=len(index), label="masks")
    pixels = np.stack([_counts(mask, limits) for _, _, mask in masks])
    return Holdings(index, pixels, sum(part.stat().st_size for part in parts(root)))


def read_items_list(root: Path, ledger: Ledger) -> "pd.DataFrame":
    """The items in the order of their names, with the columns of `LISTED` as text; what is not known is empty.

    Raises:
        UserError: The dataset holds no items.
    """
    listed = _placed(root, ledger)[LISTED].astype(object)
    return listed.where(listed.notna(), "").astype(str)


def print_items(items: "pd.DataFrame") -> None:
    """Prints the items: a table on a terminal, CSV for what else reads it."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, emoji=False)
    if not console.is_terminal:
        items.to_csv(sys.stdout, index=False, lineterminator="\n")
        return
    table = Table(*items.columns)
    for row in items.itertuples(index=False):
        table.add_row(*row)
    console.print(table)


def print_tables(holdings: Holdings, classes: Taxonomy) -> None:
    """Prints the tables: batches, splits with their class shares, slices."""
    from rich.console import Console

    # What users named is printed as it is: brackets are no markup, colons no pictograms.
    console = Console(markup=False, emoji=False)
    console.print(_batches(holdings))
    console.print(_shares(holdings, classes))
    if slice_columns(holdings.index.drop(columns="split")):
        console.print(_slices(holdings))
    index, pixels = holdings.index, holdings.pixels.sum(axis=1)
    size = f"{np.median(pixels):,.0f} px (smallest {pixels.min():,}, largest {pixels.max():,})"
    console.print(f"{len(index)} items in {index['group'].nunique()} groups; a mask has {size};")
    console.print(f"{holdings.part_bytes / 2**20:,.1f} MiB on disk")


def _placed(root: Path, ledger: Ledger) -> "pd.DataFrame":
    index = read_index(root)
    if index.empty:
        raise UserError(f"The dataset {root} holds no items. Add some with `segloop ingest`.")
    index["split"] = list(_splits(index, ledger))
    return index


def _splits(index: "pd.DataFrame", ledger: Ledger) -> Iterator[str]:
    sides = ledger.splits
    for group, came_with in zip(index["group"], index["source_split"], strict=True):
        yield resolve(sides.get(group, set()), came_with) or UNPLACED


def _counts(mask: bytes, limits: Limits) -> np.ndarray:
    try:
        return np.bincount(decode_mask(mask, limits).ravel(), minlength=256)
    except ImageError:
        return np.zeros(256, dtype=np.int64)


def _batches(holdings: Holdings) -> object:
    from rich.table import Table

    table = Table("batch", "items", "groups", "source", "sampling", "revised", title="batches")
    for batch, rows in holdings.index.groupby("batch"):
        sources, samplings = (", ".join(sorted(set(rows[name]))) for name in ("source", "sampling"))
        counts = [len(rows), rows["group"].nunique()]
        table.add_row(str(batch), *map(str, counts), sources, samplings, str((rows["revision"] > 1).sum()))
    return table


def _shares(holdings: Holdings, classes: Taxonomy) -> object:
    from rich.table import Table

    table = Table("", title="splits, and share of pixels per class")
    rows: list[list[str]] = [["items"], ["groups"], *([name] for name in classes.names), ["void"]]
    for split in [*SPLITS, UNPLACED]:
        of_split = (holdings.index["split"] == split).to_numpy()
        if not of_split.any():
            continue
        table.add_column(split, justify="right")
        pixels = holdings.pixels[of_split].sum(axis=0)
        per_class = pixels[: classes.num_classes]
        cells = [str(of_split.sum()), str(holdings.index.loc[of_split, "group"].nunique())]
        cells += [f"{share:.2%}" for share in per_class / max(per_class.sum(), 1)]
        cells.append(f"{pixels[classes.ignore_index] / max(pixels.sum(), 1):.2%}")
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)
    for row in rows:
        table.add_row(*row)
    return table


def _slices(holdings: Holdings) -> object:
    from rich.table import Table

    table = Table("slice", "value", "items", title="slices")
    for name in slice_columns(holdings.index.drop(columns="split")):
        for value, count in holdings.index[name].value_counts(dropna=False).items():
            table.add_row(name, str(value), str(count))
    return table


if __name__ == "__main__":
    run(main)
