"""What a dossier says has changed since the champion."""

import subprocess
from pathlib import Path

import pytest

from pipeline.dossiers.changes import (
    CommitChanges,
    Setting,
    commit_changes,
    item_changes,
    setting_changes,
    taxonomy_changes,
)
from pipeline.taxonomy import ClassSpec, Remap, Taxonomy


def entry(name: str, image: str = "i", mask: str = "m") -> dict[str, str]:
    """An entry of holdout.json."""
    return {"item_id": name, "image_sha256": image, "mask_sha256": mask}


def test_items_are_added_removed_relabelled_and_replaced() -> None:
    """Items are compared by name, then by the digests of mask and image."""
    before = [entry("gone"), entry("same"), entry("drawn anew"), entry("other image")]
    after = [entry("same"), entry("drawn anew", mask="n"), entry("other image", image="j"), entry("new")]
    found = item_changes(before, after)
    assert (found.before, found.after) == (4, 4)
    assert (found.added, found.removed) == (["new"], ["gone"])
    assert (found.relabelled, found.replaced) == (["drawn anew"], ["other image"])


def taxonomy(*classes: tuple[str, bool], version: int = 1, remaps: dict[str, Remap] | None = None) -> Taxonomy:
    """A taxonomy of classes, each critical or not."""
    specs = tuple(ClassSpec(id=n, name=name, colour="#101010", critical=c) for n, (name, c) in enumerate(classes))
    return Taxonomy(version=version, classes=specs, remaps=remaps or {})


def test_a_taxonomy_is_compared_class_by_class() -> None:
    """Renamed, newly critical, added and removed classes each have a sentence, and so has a changed remap."""
    before = taxonomy(("floor", False), ("person", False))
    after = taxonomy(("floor", True), ("human", False), ("pallet", False), version=2, remaps={"old": Remap()})
    assert taxonomy_changes(before, after) == [
        "version 1 became 2",
        "class floor is now critical",
        "class 1 was called person, is called human",
        "class 2 pallet was added",
        "the remap of source old changed",
    ]
    assert taxonomy_changes(after, before)[3] == "class 2 pallet was removed"
    assert taxonomy_changes(after, after) == []


def test_settings_differ_by_their_dotted_names() -> None:
    """Only what differs is listed, nested or flat alike; one that is missing on a side is None there."""
    before = {"train": {"seed": 1, "loss": {"dice": 1.0}}, "prepare.scale": "0.5"}
    after = {"train": {"seed": 2}, "prepare.scale": "0.5"}
    assert setting_changes(before, after) == [
        Setting("train.loss.dice", "1.0", None),
        Setting("train.seed", "1", "2"),
    ]


def test_credentials_never_reach_the_page() -> None:
    """A password in a setting is not shown, whether by its name or in an address."""
    after = {"store": {"password": "hunter2", "url": "https://somebody:hunter2@host.example/x"}}
    assert "hunter2" not in str(setting_changes({}, after))


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str, list[str]]:
    """A repository with a first commit and two on top of it."""

    def git(*words: str) -> str:
        who = ["-c", "user.name=Ada <x>", "-c", "user.email=ada@host.example"]
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    shas = []
    for number in range(3):
        git("commit", "-q", "--allow-empty", "-m", f"Do {number}")
        shas.append(git("rev-parse", "HEAD"))
    return tmp_path, shas[0], shas[1:]


def test_commits_between_the_two_are_listed(repository: tuple[Path, str, list[str]]) -> None:
    """Newest first, with their authors' names and no addresses."""
    root, first, later = repository
    found = commit_changes(root, first, later[-1])
    assert isinstance(found, CommitChanges)
    assert [line.split(" ", 2)[2] for line in found.gained] == ["Do 2", "Do 1"]
    assert (found.gained_count, found.lost_count) == (2, 0)
    assert found.by_author == {"Ada x": 2}
    assert "host.example" not in str(found)


def test_commits_that_only_the_champion_has_are_counted(repository: tuple[Path, str, list[str]]) -> None:
    """A candidate from an older commit lacks the champion's."""
    root, first, later = repository
    found = commit_changes(root, later[-1], first)
    assert isinstance(found, CommitChanges)
    assert (found.gained_count, found.lost_count) == (0, 2)


def test_unknown_commits_are_said_to_be_unknown(repository: tuple[Path, str, list[str]]) -> None:
    """A commit that is not recorded, not there, or no commit at all is a sentence, not an error."""
    root, first, _ = repository
    assert commit_changes(root, None, first) == "The commit of the champion is not recorded."
    assert commit_changes(root, first, "0" * 40) == f"The repository does not have commit {'0' * 40}."
    assert "does not have" in str(commit_changes(root, "--output=x", first))
    assert commit_changes(root, first, first) == "Both were made from the same commit."
    assert "no repository" in str(commit_changes(None, first, "1" * 40))
