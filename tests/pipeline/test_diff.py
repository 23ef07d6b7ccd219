"""Two releases compared through the command, in a small repository whose releases were tagged by hand."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from release_case import CLASSES, LIMITS, add_batch, copy_of, enter, light_project, relabelled, tag_by_hand
from tiny import tiny_items
from workspace import Workspace

from pipeline import diff, migrate
from pipeline.errors import UserError
from pipeline.files import sha256_bytes
from pipeline.images import decode_image
from pipeline.part_writer import write_batch
from pipeline.releasing.difference import ItemChange, varied
from pipeline.releasing.reader import open_release

# A deprecation between DVC and a library of its own.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A repository that the others are copies of."""
    workspace = light_project(tmp_path_factory.mktemp("light") / "workspace")
    tag_by_hand(workspace, "data/v1")
    return workspace


@pytest.fixture
def project(template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A repository with the release data/v1 of 16 items."""
    return enter(copy_of(template, tmp_path), monkeypatch)


def compared(old: str = "data/v1", new: str = "data/v2") -> dict[str, object]:
    """What the command found."""
    diff.main(old, new, Path("found"))
    found = json.loads(Path("found/diff.json").read_text())
    assert isinstance(found, dict)
    return found


def rewrite_taxonomy(workspace: Workspace, **changes: object) -> None:
    """Writes the taxonomy with other classes."""
    file = workspace.root / "data" / "taxonomy.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))


def test_equal_releases_do_not_differ(project: Workspace) -> None:
    """A release against itself has no change, and no picture."""
    found = compared("data/v1", "data/v1")
    assert set(found["counts"].values()) == {0}  # type: ignore[attr-defined]
    assert found["taxonomy"] == []
    assert sorted(file.name for file in (project.root / "found").iterdir()) == ["diff.json", "index.html"]


def test_a_removed_item_is_named(project: Workspace) -> None:
    """A tombstone in the later release counts as removed, not as relabelled."""
    [gone] = relabelled(["item-004"], lambda mask: mask)
    add_batch(project, "gone", [dataclasses.replace(gone, deleted=True)])
    tag_by_hand(project, "data/v2")
    found = compared()
    assert found["removed"] == ["item-004"]
    assert found["relabelled"] == []


def test_parts_written_anew_with_the_same_items_do_not_differ(project: Workspace) -> None:
    """What counts are the items' bytes and not where they lie: rewritten parts are read and found equal."""
    project.ok("rm", "-r", "data/dataset")
    kept = list(tiny_items(groups=8))
    write_batch(project.root / "data" / "dataset", "half", kept[8:], ["camera"], CLASSES)
    write_batch(project.root / "data" / "dataset", "other", kept[:8], ["camera"], CLASSES)
    tag_by_hand(project, "data/v2")
    assert set(compared()["counts"].values()) == {0}  # type: ignore[attr-defined]


def test_another_image_is_a_replacement(project: Workspace) -> None:
    """A new revision with another image and the same mask is replaced and not relabelled."""
    [item] = relabelled(["item-002"], lambda mask: mask)
    other = list(tiny_items(groups=8))[9].image
    add_batch(project, "other", [dataclasses.replace(item, image=other, sha256=sha256_bytes(other))])
    tag_by_hand(project, "data/v2")
    found = compared()
    assert found["replaced"] == ["item-002"]
    assert found["relabelled"] == []


def test_a_renamed_class_is_a_sentence_and_a_flow(project: Workspace) -> None:
    """Where pallets are called loads, all their pixels in a relabelled item went from the one to the other."""
    classes = yaml.safe_load((project.root / "data" / "taxonomy.yaml").read_text())["classes"]
    classes[2]["name"] = "load"
    rewrite_taxonomy(project, classes=classes, version=2)
    add_batch(project, "second", relabelled(["item-001"], lambda mask: mask.clip(0, 3)))
    tag_by_hand(project, "data/v2")
    found = compared()
    assert "class 2 was called pallet, is called load" in found["taxonomy"]  # type: ignore[operator]
    [pallet] = [each for each in found["classes"] if each["name"] == "pallet"]  # type: ignore[attr-defined]
    assert pallet["kept"] == 0
    assert pallet["into"].startswith("load")


def migrate_classes(project: Workspace, **change: object) -> None:
    """Runs a migration in the repository."""
    (project.root / "m.yaml").write_text(yaml.safe_dump({"from": 1, "note": "n", **change}))
    migrate.main(project.root / "m.yaml")
    (project.root / "m.yaml").unlink()


MERGED = {"merge": {"obstacle": "pallet"}, "add": [{"name": "ladder", "colour": "#123456"}]}


def test_a_migration_alone_relabels_nothing(project: Workspace) -> None:
    """Items that only changed their ids are counted apart; the taxonomy's sentences say what became of classes."""
    migrate_classes(project, **MERGED, rename={"human": "person"}, void=["floor"])
    tag_by_hand(project, "data/v2")
    found = compared()
    counts: dict[str, int] = found["counts"]  # type: ignore[assignment]
    assert (counts["relabelled"], counts["migrated"]) == (0, 16)
    assert found["taxonomy"] == [
        "class floor was turned to void",
        "class obstacle was merged into pallet",
        "class human is called person",
        "class ladder was added",
        "version 1 became 2",
    ]
    assert sum(map(sum, found["agreement"]["px"])) == 0  # type: ignore[index]
    assert "Migrated, and not otherwise relabelled: 16" in Path("found/index.html").read_text()


def test_what_was_relabelled_across_a_migration_stands_out(project: Workspace) -> None:
    """Of all migrated items the one that was drawn anew is told, by the classes' new names; merged pixels are kept."""
    migrate_classes(project, **MERGED)
    [item] = relabelled(["item-001"], lambda mask: np.where(mask == 4, 2, np.where(mask == 3, 4, mask)), revision=3)
    names = ["background", "floor", "pallet", "human", "ladder"]
    write_batch(project.root / "data" / "dataset", "anew", [item], ["camera"], names)
    tag_by_hand(project, "data/v2")
    found = compared()
    assert [(each["item_id"], each["flow"]) for each in found["relabelled"]] == [("item-001", "human to ladder")]  # type: ignore[attr-defined]
    assert found["counts"]["migrated"] == 15  # type: ignore[index]
    kept = {each["name"]: each["kept"] for each in found["classes"]}  # type: ignore[attr-defined]
    assert kept == {"background": 1, "floor": 1, "pallet": 1, "human": 0, "ladder": None, "void": None}


def test_pictures_stand_side_by_side_at_the_wanted_size(project: Workspace) -> None:
    """The most changed item's picture has four panels, none longer than asked for."""
    add_batch(project, "second", relabelled(["item-001", "item-002"], lambda mask: mask.clip(0, 3)))
    tag_by_hand(project, "data/v2")
    compared()
    shown = decode_image((project.root / "found" / "item-001.png").read_bytes(), LIMITS)
    assert shown.shape == (24, 4 * 32 + 3 * 4, 3)


def test_a_mask_of_another_size_is_told_and_not_counted(project: Workspace) -> None:
    """Pixels cannot be compared across sizes: the item is listed with the reason."""
    add_batch(project, "second", relabelled(["item-001"], lambda mask: mask[:40]))
    tag_by_hand(project, "data/v2")
    found = compared()
    [item] = found["relabelled"]  # type: ignore[misc]
    assert item["problem"] == "the mask was 64x48, is 64x40"
    assert sum(map(sum, found["agreement"]["px"])) == 0  # type: ignore[index]


def test_names_of_items_cannot_write_html(project: Workspace) -> None:
    """What a source called its items is text on the page."""
    [item] = relabelled(["item-001"], lambda mask: mask)
    add_batch(project, "second", [dataclasses.replace(item, item_id="<script>alert(1)</script>")])
    tag_by_hand(project, "data/v2")
    compared()
    page = (project.root / "found" / "index.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_an_unknown_release_is_the_users_mistake(project: Workspace) -> None:
    """The message names the command that lists the releases, and nothing is written."""
    with pytest.raises(UserError, match="segloop releases"):
        diff.main("data/v1", "data/v7", Path("found"))
    assert not (project.root / "found").exists()


def test_a_commit_without_a_dataset_is_the_users_mistake(project: Workspace) -> None:
    """A revision before the first `dvc add` has nothing to compare."""
    first = project.ok("git", "rev-list", "--max-parents=0", "HEAD").strip()
    with pytest.raises(UserError, match="no dataset"):
        open_release(project.root, first)


def test_a_release_reads_single_columns(project: Workspace) -> None:
    """Columns are read by name, of every row, in the order of the parts."""
    found = open_release(project.root, "data/v1").columns("item_id", "camera")
    assert list(found.columns) == ["item_id", "camera"]
    assert len(found) == 16


def test_an_unknown_item_is_the_users_mistake(project: Workspace) -> None:
    """The message says how many there are."""
    with pytest.raises(UserError, match="It has 16"):
        open_release(project.root, "data/v1").item("nobody")


def test_bytes_that_changed_after_the_release_are_not_handed_out(project: Workspace) -> None:
    """An object in cache and remote that was tampered with does not pass for the release's image."""
    release = open_release(project.root, "data/v1")
    [md5] = release.parts.values()
    image = release.item("item-000")[1]
    cached = project.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    content = bytearray(cached.read_bytes())
    content[content.index(image) + 20] ^= 1
    cached.chmod(0o644)
    cached.write_bytes(content)
    with pytest.raises(UserError, match="not those that were ingested"):
        release.item("item-000")


def test_a_release_whose_objects_are_gone_says_so(project: Workspace) -> None:
    """Neither in the cache nor on the remote: the message names the object."""
    project.ok("rm", "-r", ".dvc/cache")
    release = open_release(project.root, "data/v1")
    [md5] = release.parts.values()
    (project.root.parent / "segloop-remote" / "files" / "md5" / md5[:2] / md5[2:]).unlink()
    with pytest.raises(UserError, match=md5):
        _ = release.index


def test_the_remote_is_where_it_is_now(project: Workspace) -> None:
    """After the remote has moved, an old release is read from its new place."""
    project.ok("rm", "-r", ".dvc/cache")
    project.ok("mv", "../segloop-remote", "../moved")
    project.ok("dvc", "remote", "modify", "storage", "url", "../moved")
    assert len(open_release(project.root, "data/v1").index) == 16


def test_one_kind_of_change_does_not_hide_the_others() -> None:
    """Pictures are taken in turn from each flow of classes, the most changed first; none without a comparison."""
    changes = [
        ItemChange("a", 9, 0.9, "", "tree to void"),
        ItemChange("b", 8, 0.8, "", "tree to void"),
        ItemChange("x", 0, 1.0, "another size"),
        ItemChange("c", 1, 0.1, "", "fence to void"),
    ]
    assert varied(changes, 2) == ["a", "c"]
    assert varied(changes, 9) == ["a", "c", "b"]
