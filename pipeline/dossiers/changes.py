"""What is different since the champion: items, class shares, taxonomy, settings, commits."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.provenance import shareable
from pipeline.taxonomy import ClassSpec, Taxonomy

SHA = re.compile(r"[0-9a-f]{7,64}")
COMMITS_SHOWN = 30
# Facts of export.json that a person chose or that decide how the graph behaves.
EXPORT_FACTS = ("precision", "scale", "tile_px", "overlap_px", "temperature")


@dataclass(frozen=True)
class ItemChanges:
    """Items of a holdout, sorted by name.

    Attributes:
        before: How many there were.
        after: How many there are.
        added: New ones.
        removed: Gone.
        relabelled: With another mask.
        replaced: With another image.
    """

    before: int
    after: int
    added: list[str]
    removed: list[str]
    relabelled: list[str]
    replaced: list[str]


@dataclass(frozen=True)
class Setting:
    """A setting with two values, as text; None where it was not there."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class CommitChanges:
    """Commits between two versions.

    Attributes:
        gained: Lines of those that only the candidate has, newest first, at most `COMMITS_SHOWN`.
        gained_count: How many there are.
        lost_count: Those that only the champion has.
        by_author: How many each author made of the gained ones.
    """

    gained: list[str]
    gained_count: int
    lost_count: int
    by_author: dict[str, int]


def item_changes(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> ItemChanges:
    """Compares two lists of holdout items.

    Args:
        before: Entries of holdout.json: `item_id`, `image_sha256`, `mask_sha256`.
        after: The same of the later one.
    """
    old, new = ({str(item["item_id"]): item for item in items} for items in (before, after))
    both = sorted(old.keys() & new.keys())
    return ItemChanges(
        before=len(old),
        after=len(new),
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        relabelled=[name for name in both if old[name]["mask_sha256"] != new[name]["mask_sha256"]],
        replaced=[name for name in both if old[name]["image_sha256"] != new[name]["image_sha256"]],
    )


def taxonomy_changes(before: Taxonomy, after: Taxonomy) -> list[str]:
    """The differences of two taxonomies, a sentence each; none when they are equal."""
    found = []
    if before.version != after.version:
        found.append(f"version {before.version} became {after.version}")
    if before.ignore_index != after.ignore_index:
        found.append(f"void was {before.ignore_index}, is {after.ignore_index}")
    old, new = ({each.id: each for each in taxonomy.classes} for taxonomy in (before, after))
    for label in sorted(old.keys() | new.keys()):
        found += _class_changes(old.get(label), new.get(label))
    changed = sorted(
        name for name in {*before.remaps, *after.remaps} if before.remaps.get(name) != after.remaps.get(name)
    )
    return [*found, *(f"the remap of source {name} changed" for name in changed)]


def setting_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Setting]:
    """The settings that differ, by their dotted names; credentials and absolute paths are hidden."""
    old, new = (dict(_flat(shareable(dict(each)))) for each in (before, after))
    return [
        Setting(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def export_facts(exported: Mapping[str, Any]) -> dict[str, Any]:
    """What export.json says of how the graph was made, as settings, with the versions of the libraries."""
    facts = {name: exported[name] for name in EXPORT_FACTS if name in exported}
    return {"export": facts, "versions": dict(exported.get("versions", {}))}


def commit_changes(repository: Path | None, before: str | None, after: str | None) -> CommitChanges | str:
    """The commits between two versions, or the reason why they are not known.

    Args:
        repository: A folder of the git repository.
        before: Commit of the champion.
        after: Commit of the candidate.
    """
    if before is None or after is None:
        return f"The commit of the {'champion' if before is None else 'candidate'} is not recorded."
    if before == after:
        return "Both were made from the same commit."
    if repository is None:
        return "There is no repository to look the commits up in."
    for each in (before, after):
        if not SHA.fullmatch(each) or _git(repository, "cat-file", "-e", f"{each}^{{commit}}") is None:
            return f"The repository does not have commit {each}."
    gained = _log(repository, f"{before}..{after}", "%h %as %s")
    authors = _log(repository, f"{before}..{after}", "%an")
    by_author = {
        name: authors.count(name) for name in sorted(set(authors), key=lambda name: (-authors.count(name), name))
    }
    lost = _log(repository, f"{after}..{before}", "%h")
    return CommitChanges(gained[:COMMITS_SHOWN], len(gained), len(lost), by_author)


def _class_changes(old: ClassSpec | None, new: ClassSpec | None) -> list[str]:
    if old is None or new is None:
        gone = new is None
        spec = old or new
        assert spec is not None
        return [f"class {spec.id} {spec.name} was {'removed' if gone else 'added'}"]
    found = []
    if old.name != new.name:
        found.append(f"class {new.id} was called {old.name}, is called {new.name}")
    if old.critical != new.critical:
        found.append(f"class {new.name} is {'now' if new.critical else 'no longer'} critical")
    if old.colour != new.colour:
        found.append(f"class {new.name} changed its colour from {old.colour} to {new.colour}")
    return found


def _flat(tree: Any, prefix: str = "") -> list[tuple[str, str]]:
    if not isinstance(tree, dict) or not tree:
        return [(prefix, str(tree))] if prefix else []
    return [pair for key, value in tree.items() for pair in _flat(value, f"{prefix}.{key}" if prefix else str(key))]


def _log(repository: Path, commits: str, pretty: str) -> list[str]:
    return (_git(repository, "log", "--no-show-signature", f"--format={pretty}", commits, "--") or "").splitlines()


def _git(repository: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=repository, capture_output=True, text=True, check=False)
    except (FileNotFoundError, NotADirectoryError):
        return None  # no git on this machine, or no such folder
    return done.stdout if done.returncode == 0 else None
