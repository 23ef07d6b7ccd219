"""Writes items of the dataset as pictures."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from pydantic import Field

from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.errors import UserError, near_names
from pipeline.files import sha256_bytes, write_atomic
from pipeline.images import ImageError, Limits, colour_mask, decode_image, decode_mask, encode_image, overlay
from pipeline.params import Section, read_section
from pipeline.parts import read_index, read_items
from pipeline.taxonomy import load_taxonomy

LONGEST_NAME = 100  # of a picture's file, in characters; what is longer is told apart by a digest


class ShowParams(Section):
    """Section `show`: how strongly the mask's colours cover the image."""

    alpha: float = Field(ge=0, le=1)


def main(
    items: Annotated[list[str], typer.Argument(help="Names of the items.")],
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    release: Annotated[
        str | None, typer.Option(help="A release (data/v3) to read them from; nothing is checked out.")
    ] = None,
    dataset: Annotated[Path | None, typer.Option(help="The dataset's folder, if not params' dataset.path.")] = None,
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Write items as pictures: image, mask and overlay.

    Of the dataset as it lies here, or of a release with its own taxonomy.

    Example: segloop show 0001TP_006690 0001TP_006720 --out pictures
    """
    limits = read_section(Limits, "limits", params)
    alpha = read_section(ShowParams, "show", params).alpha
    if release:
        shown = _of_release(release, items)
    else:
        root = dataset or read_section(DatasetParams, "dataset", params).path
        index = read_index(root)
        found = read_items(root, _rows(root, index, items))
        shown = Shown(found, file_names(index["item_id"]), load_taxonomy(taxonomy).palette())
    for row, image, mask in shown.items:
        stem = out / shown.names[row["item_id"]]
        for name, picture in pictures(row["item_id"], image, mask, Painting(limits, shown.palette, alpha)).items():
            file = stem.with_name(f"{stem.name}_{name}.png")
            write_atomic(file, encode_image(picture))
            print(file)


@dataclass(frozen=True)
class Shown:
    """What is shown.

    Attributes:
        items: Row, encoded image, encoded mask of each.
        names: File names by item.
        palette: Colours by mask value. Shape: (256, 3), uint8.
    """

    items: Iterable[tuple[dict[str, Any], bytes, bytes]]
    names: dict[str, str]
    palette: np.ndarray


@dataclass(frozen=True)
class Painting:
    """How pictures are made.

    Attributes:
        limits: What is refused before decoding.
        palette: Colours by mask value. Shape: (256, 3), uint8.
        alpha: Weight of the mask's colours in the overlay, 0 to 1.
    """

    limits: Limits
    palette: np.ndarray
    alpha: float


def pictures(item: str, image: bytes, mask: bytes, painting: Painting) -> dict[str, np.ndarray]:
    """An item's pictures by name: `image`, `mask` and, where both have one size, `overlay`.

    Returns:
        Shape of each: (H, W, 3), uint8 RGB.

    Raises:
        UserError: The image or the mask cannot be decoded.
    """
    try:
        shown, ids = decode_image(image, painting.limits), decode_mask(mask, painting.limits)
    except ImageError as error:
        raise UserError(f"Item '{item}' cannot be shown: {error}. `segloop validate` lists such items.") from None
    made = {"image": shown, "mask": colour_mask(ids, painting.palette)}
    if ids.shape == shown.shape[:2]:
        made["overlay"] = overlay(shown, ids, painting.palette, painting.alpha)
    return made


def file_names(items: Iterable[str]) -> dict[str, str]:
    """A file name for each item: its id with `_` for what is awkward in names, a digest where ids are long or alike.

    Args:
        items: All ids of the dataset, so that a name never depends on what else is shown.
    """
    plain = {item: re.sub(r"[^\w.-]+", "_", item)[:LONGEST_NAME] for item in items}
    uses = Counter(plain.values())
    return {
        item: name if uses[name] == 1 and len(item) <= LONGEST_NAME else f"{name}-{sha256_bytes(item.encode())[:8]}"
        for item, name in plain.items()
    }


def _of_release(revision: str, items: list[str]) -> Shown:
    from pipeline.releasing.reader import open_release  # DVC takes a second, which the others need not wait

    release = open_release(Path.cwd(), revision)
    found = (release.item(item) for item in dict.fromkeys(items))
    return Shown(found, file_names(release.index["item_id"]), release.taxonomy.palette())


def _rows(root: Path, index: pd.DataFrame, items: list[str]) -> pd.DataFrame:
    missing = sorted(set(items) - set(index["item_id"]))
    if missing:
        raise UserError(
            f"{root} has no item {', '.join(map(repr, missing))}. It has {len(index)}: see `segloop dataset --items`."
            + near_names(missing, index["item_id"])
        )
    return index[index["item_id"].isin(items)]


if __name__ == "__main__":
    run(main)
