"""The dataset as it lies in the workspace, seen like a release."""

import json
from pathlib import Path

from pipeline.parts import parts
from pipeline.releasing.reader import Release, only_parts
from pipeline.releasing.storage import open_repo
from pipeline.splits import read_ledger
from pipeline.taxonomy import Taxonomy


def open_workspace(root: Path, dataset: Path, splits: Path, taxonomy: Taxonomy, folder_md5: str | None) -> Release:
    """The dataset as it lies in the workspace, seen like a release.

    Args:
        root: The workspace.
        dataset: The dataset's folder.
        splits: The split ledger.
        taxonomy: The classes.
        folder_md5: DVC's digest of the folder, where it has just been recorded; None where it is not known.
    """
    on_disk = {part.relative_to(root / dataset).as_posix(): "" for part in parts(root / dataset)}
    return Release(
        name="the workspace",
        commit="",
        dataset=dataset.as_posix(),
        folder_md5=folder_md5 or "",
        parts=_listed_parts(root, folder_md5) if folder_md5 else on_disk,
        taxonomy=taxonomy,
        ledger=read_ledger(splits),
        opener=lambda part: (root / dataset / part).open("rb"),
    )


def _listed_parts(root: Path, folder_md5: str) -> dict[str, str]:
    content = Path(open_repo(root).cache.local.oid_to_path(folder_md5)).read_bytes()
    return only_parts({entry["relpath"]: entry["md5"] for entry in json.loads(content)})
