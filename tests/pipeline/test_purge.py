"""Purges with real git, real DVC and a local remote: what goes, what stays, and what old releases then say."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import release_case
from purge_case import (
    GONE,
    NOTE,
    darker,
    held,
    two_releases,
    world,
)
from release_case import add_batch, objects, relabelled
from workspace import Workspace

from pipeline import diff, purge, releases
from pipeline.class_lists import CLASSES_KEY
from pipeline.errors import UserError
from pipeline.parts import parts, read_index
from pipeline.releasing.purged import RECORD, read_record
from pipeline.releasing.reader import open_release

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with two releases, to be copied."""
    return two_releases(tmp_path_factory.mktemp("purge") / "workspace")


@pytest.fixture
def project(template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy to purge in."""
    return release_case.enter(release_case.copy_of(template, tmp_path), monkeypatch)


def test_the_bytes_are_nowhere_any_more(project: Workspace) -> None:
    """No file of workspace, cache and remote holds the image afterwards, in none of its revisions."""
    assert len(held(project)) >= 6
    purge.main([GONE], note=NOTE, yes=True)
    assert held(project) == []
    assert len(held(project, "item-004")) >= 3


def test_the_other_rows_keep_order_and_metadata(project: Workspace) -> None:
    """A rewritten part has its other rows as they were, its classes, and row groups that can be read."""
    part = project.root / "data/dataset/second/part-00000.parquet"
    before = pq.read_table(part)
    purge.main([GONE], note=NOTE, yes=True)
    after = pq.read_table(part)
    names = [name for name in before["item_id"].to_pylist() if name != GONE]
    assert after["item_id"].to_pylist() == names
    assert after.schema.metadata[CLASSES_KEY] == before.schema.metadata[CLASSES_KEY]
    keep = [name != GONE for name in before["item_id"].to_pylist()]
    assert after.equals(before.filter(keep))


def test_the_workspace_is_recorded_and_complete(project: Workspace) -> None:
    """DVC's pointer names the rewritten parts, which the cache has; an untouched part stays the same file."""
    untouched = (project.root / "data/dataset/third/part-00000.parquet").stat().st_ino
    purge.main([GONE], note=NOTE, yes=True)
    assert (project.root / "data/dataset/third/part-00000.parquet").stat().st_ino == untouched
    assert json.loads(project.ok("dvc", "status", "--json")) == {}
    shutil.rmtree(project.root / "data/dataset")
    project.ok("dvc", "checkout", "data/dataset")
    assert GONE not in set(read_index(project.root / "data/dataset")["item_id"])
    assert len(read_index(project.root / "data/dataset")) == 19


def test_old_releases_are_read_without_the_item(project: Workspace) -> None:
    """Other items of the same parts are read as ever, the item's name gets the reason, and so does the whole."""
    mask = open_release(project.root, "data/v2").item("item-001")[2]
    purge.main([GONE], note=NOTE, yes=True)
    release = open_release(project.root, "data/v1")
    assert len(release.index) == 15
    assert release.item("item-004")[0]["group"] == "g2"
    assert open_release(project.root, "data/v2").item("item-001")[2] == mask
    with pytest.raises(UserError, match=rf"no longer has item '{GONE}': it was purged on .*{NOTE}"):
        release.item(GONE)
    assert len(release.losses.sentences) == 1
    assert release.losses.sentences[0].startswith("1 item was purged on ")


def test_a_part_without_a_stand_in_says_what_is_gone(project: Workspace) -> None:
    """Where what stands in is lost too, the message names the part, how many items, when and why."""
    purge.main([GONE], note=NOTE, yes=True)
    stand_in = read_record(RECORD).purges[0].parts[0].new
    for root in (project.root / ".dvc/cache/files/md5", release_case.remote_of(project) / "files/md5"):
        (root / stand_in[:2] / stand_in[2:]).unlink()
    with pytest.raises(UserError, match=rf"part .* of data/v1 is gone: 1 item was purged on .*: {NOTE}"):
        _ = open_release(project.root, "data/v1").index
    # Rows of the parts that are there can still be read.
    release = open_release(project.root, "data/v2")
    assert "third/part-00000.parquet" in release.parts
    rows = release._part_rows("third/part-00000.parquet")
    assert len(rows) == 2


def test_a_clone_learns_it_from_the_record(project: Workspace, tmp_path: Path) -> None:
    """A clone with an empty cache reads the old release from the remote, by the record that git brings."""
    purge.main([GONE], note=NOTE, yes=True)
    project.ok("git", "add", "-f", str(RECORD), "data/dataset.dvc")
    project.ok("git", "commit", "-q", "-m", "purged")
    clone = Workspace(tmp_path / "clone")
    project.ok("git", "clone", "-q", str(project.root), str(clone.root))
    clone.ok("dvc", "remote", "modify", "storage", "url", str(release_case.remote_of(project)))
    release = open_release(clone.root, "data/v1")
    assert len(list(release.items(release.index))) == 15


def test_another_clone_finishes_it_without_naming_the_items(
    project: Workspace, template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`segloop purge` alone, in a clone that has the record, cleans its workspace and cache, and what it pushed."""
    other = release_case.copy_of(template, tmp_path / "other")
    purge.main([GONE], note=NOTE, yes=True)
    shutil.copytree(
        release_case.remote_of(project) / "files", release_case.remote_of(other) / "files", dirs_exist_ok=True
    )
    shutil.copy(project.root / RECORD, other.root / RECORD)
    monkeypatch.chdir(other.root)
    purge.main([], yes=True)
    assert held(other) == []
    assert (other.root / RECORD).read_bytes() == (project.root / RECORD).read_bytes()
    assert len(open_release(other.root, "data/v1").index) == 15


def test_the_record_says_who_what_when_and_why(project: Workspace) -> None:
    """One line with the item, its image, the parts with what stands in, the releases, and git's user."""
    purge.main([GONE], note=NOTE, yes=True)
    (act,) = read_record(RECORD).purges
    assert (act.by, act.note, act.releases) == ("Ada", NOTE, ("data/v1", "data/v2"))
    assert [(item.item_id, item.rows, len(item.images)) for item in act.items] == [(GONE, 2, 1)]
    assert len(act.parts) == 2
    stored = objects(project)
    assert all(part.new in stored and part.old not in stored for part in act.parts)


def test_anonymous_keeps_no_name(project: Workspace) -> None:
    """The record has the digest of the name only; old releases still know whom somebody asks for."""
    purge.main([GONE], note=NOTE, anonymous=True, yes=True)
    assert GONE not in RECORD.read_text()
    with pytest.raises(UserError, match="purged on"):
        open_release(project.root, "data/v1").item(GONE)


def test_a_second_purge_follows_the_first(project: Workspace) -> None:
    """A part that stands in is itself rewritten; the record only grows, and old releases say both."""
    purge.main([GONE], note=NOTE, yes=True)
    first = RECORD.read_text()
    purge.main(["item-004"], note="a face", yes=True)
    assert RECORD.read_text().startswith(first)
    assert held(project, "item-004") == []
    release = open_release(project.root, "data/v1")
    assert len(release.index) == 14
    assert len(release.losses.sentences) == 2


def test_again_there_is_nothing_left(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command again changes nothing."""
    purge.main([GONE], note=NOTE, yes=True)
    before = world(project)
    purge.main([GONE], note=NOTE, yes=True)
    assert "nothing is left to purge" in capsys.readouterr().out
    assert world(project) == before


def test_a_rehearsal_says_it_and_changes_nothing(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry-run` names item, parts, releases and remotes, and touches nothing."""
    before = world(project)
    purge.main([GONE], note=NOTE, dry_run=True)
    said = capsys.readouterr().out
    assert f"item '{GONE}': 2 row(s), 1 image(s)" in said
    assert "data/v1" in said
    assert "the DVC remote 'storage'" in said
    assert world(project) == before


def test_a_release_that_was_not_fetched_must_be_fetched_first(project: Workspace) -> None:
    """What somebody else released holds the item too; a purge that does not know of it would claim too much."""
    bare = project.root.parent / "origin.git"
    project.ok("git", "init", "-q", "--bare", str(bare))
    project.ok("git", "remote", "add", "origin", str(bare))
    project.ok("git", "push", "-q", "origin", "HEAD", "data/v1", "data/v1:refs/tags/data/v7")
    before = world(project)
    with pytest.raises(UserError, match=r"data/v7.*git fetch --tags"):
        purge.main([GONE], note=NOTE, yes=True)
    assert world(project) == before


def test_nobody_to_ask_is_no_consent(project: Workspace) -> None:
    """Without a terminal and without --yes nothing is purged."""
    before = world(project)
    with pytest.raises(UserError, match="--yes"):
        purge.main([GONE], note=NOTE)
    assert world(project) == before


def test_an_unknown_item_is_the_users_mistake(project: Workspace) -> None:
    """A name that no part has is refused before anything is done."""
    with pytest.raises(UserError, match="nobody-here"):
        purge.main([GONE, "nobody-here"], note=NOTE, yes=True)
    assert not (project.root / RECORD).exists()


def test_a_purge_needs_a_reason(project: Workspace) -> None:  # noqa: ARG001 - the workspace it runs in
    """Items without a note are refused."""
    with pytest.raises(UserError, match="reason"):
        purge.main([GONE], yes=True)


def test_an_item_with_the_same_image_goes_too(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """The image under another name would be the same bytes: both go, and the plan says why."""
    (item,) = relabelled([GONE], darker)
    add_batch(project, "copy", [release_case.replace(item, item_id="a-copy", revision=1)])
    purge.main([GONE], note=NOTE, yes=True)
    assert "item 'a-copy': 1 row(s), 1 image(s), since it has the same image" in capsys.readouterr().out
    assert held(project) == []
    assert "a-copy" not in set(read_index(project.root / "data/dataset")["item_id"])


def test_a_part_may_be_left_without_rows(project: Workspace) -> None:
    """A batch of nothing but purged items stays as a valid part without rows."""
    purge.main(["more-8-0", "more-8-1"], note=NOTE, yes=True)
    part = project.root / "data/dataset/third/part-00000.parquet"
    assert part in parts(project.root / "data/dataset")
    assert pq.read_table(part).num_rows == 0
    assert len(read_index(project.root / "data/dataset")) == 18


def test_every_remote_is_cleaned(project: Workspace) -> None:
    """A second remote loses the bytes like the first, and gets what stands in."""
    project.ok("dvc", "remote", "add", "-q", "second", "../segloop-remote/second")
    project.ok("dvc", "push", "-q", "-r", "second", "-T")
    purge.main([GONE], note=NOTE, yes=True)
    assert held(project) == []
    new = read_record(RECORD).purges[0].parts[0].new
    assert (release_case.remote_of(project) / "second/files/md5" / new[:2] / new[2:]).exists()


def test_the_diff_of_old_releases_tells_what_was_purged(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Releases that lost an item are still compared, and the report says that they are no longer whole."""
    purge.main([GONE], note="<b>withdrawn</b>", yes=True)
    capsys.readouterr()
    diff.main("data/v1", "data/v2")
    said = capsys.readouterr().out
    assert "data/v1 is no longer whole: 1 item was purged on" in said
    found = json.loads((project.root / "data/diff/v1-v2/diff.json").read_text())
    assert [each["item_id"] for each in found["relabelled"]] == ["item-001"]
    page = (project.root / "data/diff/v1-v2/index.html").read_text()
    assert "&lt;b&gt;withdrawn&lt;/b&gt;" in page
    assert "<b>withdrawn" not in page


def test_the_list_of_releases_says_which_lost_something(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Below the table stands what was purged from which release, when and why."""
    purge.main(["more-7-0"], note=NOTE, yes=True)
    capsys.readouterr()
    releases.main()
    assert "data/v2 no longer whole: 1 item(s) purged on" in capsys.readouterr().out
    assert GONE in set(open_release(project.root, "data/v1").index["item_id"])


def test_a_commit_of_another_branch_is_covered(project: Workspace) -> None:
    """A part that only a branch without a tag points to loses the item as well."""
    project.ok("git", "switch", "-q", "-c", "side")
    add_batch(project, "side", [*relabelled([GONE], darker, revision=5)])
    project.ok("dvc", "add", "-q", "data/dataset")
    project.ok("dvc", "push", "-q")
    project.ok("git", "add", "-A")
    project.ok("git", "commit", "-q", "-m", "side")
    project.ok("git", "switch", "-q", "-")
    project.ok("dvc", "checkout", "-q")
    assert not (project.root / "data/dataset/side").exists()
    purge.main([GONE], note=NOTE, yes=True)
    assert held(project) == []
