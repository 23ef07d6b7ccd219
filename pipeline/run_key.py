"""The key of a training run: a digest of the content that determines it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.files import digest_json
from pipeline.releasing.card import FOLDER as CARDS
from pipeline.releasing.git import PATTERN, Git
from pipeline.releasing.making import CONFIG, DECISIONS, PARAMS, TAXONOMY
from pipeline.releasing.pointer import LOCK, Pointer
from pipeline.releasing.purged import RECORD, read_record

LENGTH = 16
# Params that name files which the project's commands write: the ledger of splits, and what tells of decisions.
WRITTEN = (
    ("dataset", "splits"),
    ("inbox", "ledger"),
    ("registry", "head"),
    ("registry", "reviewers"),
    ("registry", "promoter"),
)


def key_of(git: Git, release: str, commit: str, overrides: Mapping[str, Any]) -> str:
    """The key of a run.

    Args:
        git: The project's repository.
        release: A tag, or any revision with a dataset.
        commit: Whose code and params are run.
        overrides: Params by `section.key`.
    """
    determined_by = [git.commit_of(release), code_digest(git, commit), dict(overrides), purged_from(git, release)]
    return digest_json(determined_by)[:LENGTH]


def code_digest(git: Git, commit: str) -> str:
    """The digest of what a commit brings into a run: all its files but those that the project's own commands write.

    A release brings its own of these, or they tell of releases and decisions: with another release, or another
    decision, HEAD is another commit, and a run on an earlier release is the same.
    """
    written = _written(yaml.safe_load(git.show(commit, PARAMS) or "") or {})
    entries = [line.partition("\t") for line in git.do("ls-tree", "-r", "-z", "--full-tree", commit).split("\0")]
    return digest_json([[path, facts] for facts, _, path in entries if path and not _is_written(Path(path), written)])


def purged_from(git: Git, release: str) -> list[str]:
    """When items of a release were purged, act by act: other parts stand in since, and a run on it is another."""
    tagged = git.ask("tag", "--points-at", f"{release}^{{commit}}", "--list", PATTERN) or ""
    names = {release, *tagged.split()}
    return [purge.at for purge in read_record(git.root / RECORD).purges if names.intersection(purge.releases)]


def _written(params: Mapping[str, Any]) -> set[Path]:
    sections = {section: params.get(section) or {} for section in ("dataset", "inbox", "registry")}
    named = {Path(sections[section][key]) for section, key in WRITTEN if key in sections[section]}
    dataset = sections["dataset"].get("path")
    pointer = Pointer(Path(dataset), by_stage=False).files if dataset else ()
    return {*named, *pointer, LOCK, CONFIG, TAXONOMY, DECISIONS, RECORD}


def _is_written(path: Path, written: set[Path]) -> bool:
    return path in written or path.is_relative_to(CARDS)
