"""What stages and actions made of purged items: it goes from workspace, cache and remotes, and nothing else does."""

import json
import os
from pathlib import Path

import pytest
import release_case
from purge_case import (
    GONE,
    NOTE,
    cached,
    held,
    list_of_tiles,
    tiled,
    two_releases,
    world,
)
from workspace import Workspace

from pipeline import purge

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


def test_reports_that_may_show_it_go_too(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Pages with pictures of items, and what is under way of them, are deleted and told."""
    shown = project.root / "data" / "labels" / f"{GONE}_image.png"
    shown.parent.mkdir(parents=True)
    shown.write_bytes(b"picture")
    purge.main([GONE], note=NOTE, yes=True)
    assert not shown.parent.exists()
    assert "deleted data/labels" in capsys.readouterr().out


def test_tiles_and_pictures_of_it_go_from_the_cache(project: Workspace) -> None:
    """What a stage made of a part with the item, and holds pixels, is deleted; its figures stay."""
    tiled(project)
    purge.main([GONE], note=NOTE, yes=True)
    assert held(project) == []
    left = [file.read_bytes() for file in (project.root / ".dvc/cache/files").rglob("*") if file.is_file()]
    assert b"{}" in left


def test_what_a_stage_made_of_it_goes_from_the_workspace(
    project: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its files with pixels go, so that no commit brings them back, and the plan says so; facts and weights stay."""
    tiles = tiled(project)
    weights = tiles / "weights.safetensors"
    weights.write_bytes(b"nobody has registered them yet")
    purge.main([GONE], note=NOTE, dry_run=True)
    assert "the tiles and pictures of data/tiles go" in capsys.readouterr().out
    assert (tiles / "shard.npy").exists()
    purge.main([GONE], note=NOTE, yes=True)
    assert not (tiles / "shard.npy").exists()
    assert weights.exists()
    assert (project.root / "data/facts.json").exists()


def test_what_is_made_anew_stays(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Tiles that a stage made of the dataset as it is after the purge are none of its business."""
    tiles = tiled(project)
    purge.main([GONE], note=NOTE, yes=True)
    project.ok("dvc", "repro", "-q")
    before = world(project)
    purge.main([], yes=True)
    assert "nothing is left to purge" in capsys.readouterr().out
    assert world(project) == before
    assert (tiles / "shard.npy").exists()


def test_tiles_that_come_back_go_again(project: Workspace) -> None:
    """What another clone had of them, in its workspace and cache, goes there by the record alone."""
    tiles = tiled(project)
    listed = json.loads(cached(project, list_of_tiles(project)).read_text())
    (md5,) = (entry["md5"] for entry in listed if entry["relpath"] == "shard.npy")
    content = cached(project, md5).read_bytes()
    purge.main([GONE], note=NOTE, yes=True)
    remote = release_case.remote_of(project) / "files/md5" / md5[:2] / md5[2:]
    for file in (tiles / "shard.npy", cached(project, md5), remote):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    assert len(held(project)) == 3
    purge.main([], yes=True)
    assert held(project) == []


def test_reports_from_before_a_purge_go_where_it_was_done_elsewhere(project: Workspace) -> None:
    """By the record alone, pages that are older than the purge go, and newer ones stay."""
    purge.main([GONE], note=NOTE, yes=True)
    old, new = (project.root / name / "page.png" for name in (".segloop/reports/dag/run", "data/labels"))
    for page in (old, new):
        page.parent.mkdir(parents=True)
        page.write_bytes(b"picture")
    os.utime(old, (0, 0))
    ahead = old.stat().st_mtime + 2**33
    os.utime(new, (ahead, ahead))
    purge.main([], yes=True)
    assert not old.parent.exists()
    assert new.exists()


def test_workspaces_and_jobs_that_it_does_not_reach_are_named(
    project: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan names each worktree and each job's folder, with the command that removes it."""
    project.ok("git", "worktree", "add", "-q", ".segloop/workspaces/a-run", "older")
    (project.root / ".segloop/jobs/a-job").mkdir(parents=True)
    purge.main([GONE], note=NOTE, dry_run=True)
    said = capsys.readouterr().out
    assert f"git worktree remove --force {project.root}/.segloop/workspaces/a-run" in said
    assert "rm -rf .segloop/jobs/a-job" in said
