"""What the consensus of each image is called, and which images cannot have one."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd

from pipeline.agreement.copies import CONSENSUS
from pipeline.formats.source import SPLITS

LONGEST = 200  # bytes of a file's name, which gets a suffix


def consensus_names(index: pd.DataFrame, rows: pd.DataFrame) -> tuple[dict[str, str], dict[str, str]]:
    """Names the consensus of each image.

    That which the dataset has already keeps its name. Else it is called what all copies are called without
    `~ANNOTATOR`, and `NAME~consensus` where an item of that name exists.

    Args:
        index: All rows of `read_index`.
        rows: Those of `copies.overlapping`.

    Returns:
        Names by the image's digest; and why an image gets none, by the name of its first item.
    """
    settled = index[index["annotator"].eq(CONSENSUS)]
    earlier = dict(zip(settled["sha256"], settled["item_id"], strict=True))
    taken = {*index["item_id"]}
    names: dict[str, str] = {}
    problems: dict[str, str] = {}
    for sha256, copies in rows.groupby("sha256", sort=True):
        name = earlier.get(sha256) or _free(_common(copies["item_id"].tolist(), copies["annotator"].tolist()), taken)
        problem = _problem(name, copies)
        if problem:
            problems[copies["item_id"].min()] = problem
        else:
            names[str(sha256)] = name
            taken.add(name)
    return names, problems


def _common(items: Sequence[str], annotators: Sequence[str]) -> str:
    """The first of the names without the annotators'."""
    return min(item.removesuffix(f"~{who}") for item, who in zip(items, annotators, strict=True))


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name = f"{name}~{CONSENSUS}"
    return name


def _problem(name: str, copies: pd.DataFrame) -> str:
    groups = sorted(copies["group"].unique())
    if len(groups) > 1:
        return f"its copies are in the groups {groups}: mend that first"
    if len(copies["sampling"].unique()) > 1:
        return "some of its copies were sampled uniformly, others selected: mend that first"
    return "" if _usable(name) else f"{name!r} cannot be the name of a file"


def _usable(name: str) -> bool:
    """Whether the name, as a path, stays inside a folder and comes back unchanged when that is read."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") for part in path.parts)
    long = any(len(part.encode()) > LONGEST for part in path.parts)
    split = len(path.parts) > 1 and path.parts[0] in SPLITS
    odd = any(character in name for character in "\0\\\r\n")
    return bool(path.parts) and not (path.is_absolute() or hidden or long or split or odd) and path.as_posix() == name
