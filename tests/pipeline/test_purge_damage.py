"""Purges where bytes are damaged or out of reach: nothing else is lost, and nothing is said to be gone that is not."""

import re
import shutil
from pathlib import Path

import pytest
import release_case
from purge_case import GONE, NOTE, branch_part, cached, damage, flipped, held, list_of_tiles, tiled, two_releases, world
from release_case import objects
from workspace import Workspace

from pipeline import purge
from pipeline.errors import OutageError, UserError
from pipeline.parts import read_index, read_items
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


def test_a_corrupt_cache_harms_no_other_item(project: Workspace) -> None:
    """Rows whose copy in the cache is damaged are kept as workspace and remote have them."""
    folder = project.root / "data/dataset"
    before = {row["item_id"]: content for row, *content in read_items(folder, read_index(folder))}
    md5 = open_release(project.root, "data/v1").parts["first/part-00000.parquet"]
    damage(cached(project, md5), flipped)
    purge.main([GONE], note=NOTE, yes=True)
    after = {row["item_id"]: content for row, *content in read_items(folder, read_index(folder))}
    assert after == {name: content for name, content in before.items() if name != GONE}
    shutil.rmtree(project.root / ".dvc/cache/files")
    assert list(open_release(project.root, "data/v1").item("item-004")[1:]) == before["item-004"]


def test_a_part_of_another_branch_is_rewritten_from_its_unharmed_copy(project: Workspace) -> None:
    """Where the cache's copy is damaged and the workspace has none, the remote's is taken."""
    part = branch_part(project)
    damage(cached(project, part), flipped)
    purge.main([GONE], note=NOTE, yes=True)
    assert held(project) == []
    new = read_record(RECORD).stand_in(part)
    assert cached(project, new).read_bytes() == objects(project)[new].read_bytes()
    image = next(item.image for item in release_case.tiny_items(groups=8) if item.item_id == "item-004")
    assert image in objects(project)[new].read_bytes()


def test_a_part_that_is_unharmed_nowhere_is_refused(project: Workspace) -> None:
    """What nobody can read may hold the item: the error names the part and the places, and nothing is changed."""
    part = branch_part(project)
    for copy in (cached(project, part), objects(project)[part]):
        damage(copy, flipped)
    before = world(project)
    with pytest.raises(UserError, match=rf"part {part} is damaged in the local cache .* 'storage' .* nowhere unharmed"):
        purge.main([GONE], note=NOTE, yes=True)
    assert world(project) == before


@pytest.mark.parametrize("content", [b"[]", b"not JSON"])
def test_a_damaged_list_of_files_hides_no_release(project: Workspace, content: bytes) -> None:
    """The list of a release whose copy in the cache is damaged is read from the remote."""
    branch_part(project)
    lists = list((project.root / ".dvc/cache/files/md5").rglob("*.dir"))
    for file in lists:
        damage(file, lambda _: content)
    purge.main([GONE], note=NOTE, yes=True)
    assert len(lists) == 3
    assert held(project) == []


def test_a_list_that_is_unharmed_nowhere_is_told(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody can tell which parts it names, and the plan says so."""
    branch_part(project)
    side = re.search(r"\w+\.dir", project.ok("git", "show", "side:data/dataset.dvc"))
    assert side
    for copy in (cached(project, side[0]), objects(project)[side[0]]):
        damage(copy, lambda _: b"[]")
    purge.main([GONE], note=NOTE, dry_run=True)
    assert f"WARNING: the list {side[0]} is damaged in the local cache" in capsys.readouterr().out


def test_a_part_that_stays_is_not_replaced_by_a_corrupt_copy(project: Workspace) -> None:
    """What the workspace has unharmed of untouched parts stays, whatever the cache has under their names."""
    part = project.root / "data/dataset/third/part-00000.parquet"
    before = part.read_bytes()
    damage(cached(project, open_release(project.root, "data/v2").parts["third/part-00000.parquet"]), lambda b: b[::-1])
    purge.main([GONE], note=NOTE, yes=True)
    assert part.read_bytes() == before


def test_a_damaged_list_of_tiles_is_told(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Tiles that nobody can list any more are not passed over in silence."""
    tiled(project)
    folder = list_of_tiles(project)
    damage(cached(project, folder), lambda _: b"[]")
    purge.main([GONE], note=NOTE, dry_run=True)
    assert f"WARNING: the list {folder} of data/tiles is damaged in the local cache" in capsys.readouterr().out


def test_a_remote_that_is_away_stops_it_before_anything_is_done(project: Workspace) -> None:
    """With one remote out of reach the purge is an outage, and nothing is deleted anywhere."""
    project.ok("dvc", "remote", "add", "-q", "far", "s3://nowhere/at/all")
    project.ok("dvc", "remote", "modify", "far", "endpointurl", "http://127.0.0.1:9")
    project.ok("dvc", "remote", "modify", "--local", "far", "access_key_id", "x")
    project.ok("dvc", "remote", "modify", "--local", "far", "secret_access_key", "x")
    before = world(project)
    with pytest.raises(OutageError, match="far"):
        purge.main([GONE], note=NOTE, yes=True)
    assert world(project) == before


def test_a_remote_that_is_not_mounted_stops_it(project: Workspace) -> None:
    """A folder that is not there keeps its bytes, so nothing is said to be gone, and nothing is changed."""
    release_case.remote_of(project).rename(project.root.parent / "unmounted")
    before = world(project)
    with pytest.raises(OutageError, match=r"'storage' is the folder .* is not there.*mount it"):
        purge.main([GONE], note=NOTE, yes=True)
    assert world(project) == before


def test_an_empty_mount_point_is_told(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """A remote without any dataset that git knows may be a disk that is not mounted."""
    release_case.remote_of(project).rename(project.root.parent / "unmounted")
    release_case.remote_of(project).mkdir()
    purge.main([GONE], note=NOTE, dry_run=True)
    assert re.search(r"WARNING: the DVC remote 'storage' .* has none of the datasets", capsys.readouterr().out)
