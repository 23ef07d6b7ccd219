"""The dataset as it lies in the workspace, seen like a release."""

from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.parts import parts
from pipeline.releasing.reader import Release, only_parts
from pipeline.releasing.storage import open_repo, open_storage
from pipeline.releasing.verification import is_named, listed_files, parse_list
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
    repo = open_repo(root)
    file = Path(repo.cache.local.oid_to_path(folder_md5))
    content = file.read_bytes()
    return only_parts(parse_list(content) if is_named(content, folder_md5) else _elsewhere(repo, file, folder_md5))


def _elsewhere(repo: Any, file: Path, folder_md5: str) -> dict[str, str]:
    """The list as the remote has it, where the one in the cache is damaged."""
    try:
        return listed_files(open_storage(repo), folder_md5)
    except UserError as error:
        raise UserError(f"{file}, DVC's list of the dataset's files, is damaged. {error}") from None
