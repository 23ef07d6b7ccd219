"""Every dataset that git knows: the lists of files that commits of any branch, tag, stash or reflog point to."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from pipeline.errors import UserError
from pipeline.releasing.git import Git
from pipeline.releasing.pointer import LOCK, Pointer


def dataset_lists(git: Git, dataset: Path) -> dict[str, list[str]]:
    """The lists of the dataset's files that git or the workspace points to.

    Covered is what any branch (remote-tracking ones too), tag, stash, note or reflog of this clone reaches, and the
    files of the workspace as they are. What only another clone knows is not.

    Args:
        git: The repository.
        dataset: The dataset's folder, relative to the workspace.

    Returns:
        The releases that point to it by DVC's digest of the list; none for one that only other commits have.

    Raises:
        UserError: The clone is shallow, so that commits are missing.
    """
    if git.ask("rev-parse", "--is-shallow-repository") == "true":
        raise UserError("This clone is shallow, so it does not know all releases. Run `git fetch --unshallow --tags`.")
    pointers = [Pointer(dataset, by_stage=False).file, LOCK]
    names = [file.as_posix() for file in pointers]
    commits = commits_of(git, *names)
    found: dict[str, list[str]] = {}
    for file in pointers:
        for text in versions(git, commits, file):
            for md5 in _lists(text, dataset, file):
                found.setdefault(md5, [])
    for tag in git.tags():
        for by_stage in (False, True):
            pointer = Pointer(dataset, by_stage)
            listed = pointer.md5(git.show(tag, pointer.file))
            if listed in found:
                found[listed].append(tag)
    return found


def commits_of(git: Git, *names: str) -> list[str]:
    """The commits that changed one of these files: of all branches, tags, stashes and reflogs."""
    return git.do("rev-list", "--all", "--reflog", "--full-history", "--", *names).split()


def versions(git: Git, commits: list[str], file: Path) -> Iterator[str]:
    """The different contents of a file, in these commits and in the workspace."""
    texts = [git.show(commit, file) for commit in commits]
    here = git.root / file
    texts.append(here.read_text(encoding="utf-8") if here.exists() else None)
    yield from filter(None, dict.fromkeys(texts))


def _lists(text: str, dataset: Path, file: Path) -> Iterator[str]:
    """The digests that a pointer file has of the dataset, as what it makes and as what a stage reads."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return  # a conflict that somebody committed names nothing
    if not isinstance(content, dict):
        return
    if file == LOCK:
        stages = content.get("stages") or {}
        entries = [entry for stage in stages.values() for kind in ("deps", "outs") for entry in stage.get(kind) or []]
        yield from _md5s(entries, dataset.as_posix())
    else:
        yield from _md5s(content.get("outs") or [], dataset.name)


def _md5s(entries: list[dict[str, Any]], path: str) -> Iterator[str]:
    for entry in entries:
        if PurePosixPath(entry["path"]) == PurePosixPath(path) and "md5" in entry:
            yield str(entry["md5"])
