"""Purges as a journey: killed at every point, on an S3 server, and carried on by the next release."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import release_case
from release_case import add_batch, light_project, more_items, tag_by_hand
from s3_server import BUCKET, S3, s3_server
from workspace import Workspace

from pipeline.parts import read_index
from pipeline.releasing.purge_steps import STEPS, write_record
from pipeline.releasing.purged import RECORD, read_record
from pipeline.releasing.reader import open_release

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning"),
]
GONE = "item-005"
ACTION = (sys.executable, "-m", "pipeline.purge", GONE, "--note", "consent withdrawn", "--yes")
# The steps of a purge with one more among them: the process kills itself as the system would.
KILLED_AFTER = """
import os, signal, sys
from pathlib import Path
from pipeline.releasing.purge_plan import look
from pipeline.releasing.purge_steps import STEPS, Purging, carry_out

def die(purging):
    os.kill(os.getpid(), signal.SIGKILL)

done = int(sys.argv[1])
plan = look(Path.cwd(), Path("data/dataset"), {"item-005"})
carry_out(Purging(plan, "consent withdrawn"), [*STEPS[:done], die, *STEPS[done:]])
"""
# The same in the midst of the deletions: after so many of them.
KILLED_DELETING = """
import os, signal, sys
from pathlib import Path
from pipeline.releasing import purge_steps
from pipeline.releasing.purge_plan import look

delete, left = purge_steps._delete, [int(sys.argv[1])]

def dying(place, md5):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return delete(place, md5)

purge_steps._delete = dying
plan = look(Path.cwd(), Path("data/dataset"), {"item-005"})
purge_steps.carry_out(purge_steps.Purging(plan, "consent withdrawn"))
"""


def filled(workspace: Workspace) -> Workspace:
    """Two releases with the item in two parts."""
    tag_by_hand(workspace, "data/v1")
    changed = release_case.relabelled([GONE, "item-001"], lambda mask: mask * 0)
    add_batch(workspace, "second", [*changed, *more_items(2, seed=7)])
    tag_by_hand(workspace, "data/v2")
    return workspace


def tiled(workspace: Workspace) -> Workspace:
    """Tiles with the item's image, made by a stage and pushed, and a report in the workspace."""
    (workspace.root / "make.py").write_text(
        "from pathlib import Path; out = Path('data/tiles'); out.mkdir();"
        "parts = sorted(Path('data/dataset').rglob('*.parquet'));"
        "(out / 'shard.npy').write_bytes(b''.join(part.read_bytes() for part in parts))"
    )
    made = ["-d", "data/dataset", "-o", "data/tiles"]
    workspace.ok("dvc", "stage", "add", "-q", "--run", "-n", "prepare", *made, "python make.py")
    workspace.ok("dvc", "push", "-q")
    workspace.ok("git", "add", "-A")
    workspace.ok("git", "commit", "-q", "-m", "tiles")
    report = workspace.root / "data/labels/page.png"
    report.parent.mkdir()
    report.write_bytes(needle())
    return workspace


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with two releases and tiles, to be copied."""
    workspace = tiled(filled(light_project(tmp_path_factory.mktemp("purge") / "workspace")))
    workspace.environment["PYTHONPATH"] = str(release_case.ROOT)
    return workspace


@pytest.fixture
def project(template: Workspace, tmp_path: Path) -> Workspace:
    """A copy to purge in."""
    copy = release_case.copy_of(template, tmp_path)
    copy.environment |= template.environment
    return copy


def needle() -> bytes:
    """The image of the item."""
    return next(item.image for item in release_case.tiny_items(groups=8) if item.item_id == GONE)


def holding(*roots: Path) -> list[Path]:
    """The files below these folders with the image of the item."""
    files = (file for root in roots for file in root.rglob("*") if file.is_file())
    return [file for file in files if needle() in file.read_bytes()]


def assert_others_are_safe(workspace: Workspace) -> None:
    """Whatever has happened, every other item of both releases and of the workspace can be read."""
    for tag, count in (("data/v1", 15), ("data/v2", 17)):
        release = open_release(workspace.root, tag)
        others = release.index[release.index["item_id"] != GONE]
        assert len(list(release.items(others))) == count
    names = set(read_index(workspace.root / "data/dataset")["item_id"]) - {GONE}
    assert len(names) == 17


def assert_finished(workspace: Workspace) -> None:
    """The item is nowhere, the record has one line for it, and DVC finds the workspace as it was recorded."""
    assert holding(workspace.root, release_case.remote_of(workspace)) == []
    acts = read_record(workspace.root / RECORD).purges
    assert [[item.item_id for item in act.items] for act in acts] == [[GONE]]
    assert workspace.ok("dvc", "status", "--json", "data/dataset.dvc").strip() == "{}"
    assert_others_are_safe(workspace)


def after_each(first: int) -> pytest.MarkDecorator:
    """Once for each step from this one on, with how many were done when the process was killed."""
    names = [f"after_{step.__name__}" for step in STEPS[first - 1 :]]
    return pytest.mark.parametrize("done", range(first, len(STEPS) + 1), ids=names)


@after_each(1)
def test_a_purge_killed_between_two_steps_is_finished_by_the_next(project: Workspace, done: int) -> None:
    """No other row is out of reach at any moment, and the same command again ends it, recorded once."""
    killed = project.run(sys.executable, "-c", KILLED_AFTER, str(done))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert_others_are_safe(project)
    project.ok(*ACTION)
    assert_finished(project)


@after_each(STEPS.index(write_record) + 1)
def test_what_is_recorded_is_finished_without_naming_the_items(project: Workspace, done: int) -> None:
    """Killed after any step since the record was written, a purge ends by `segloop purge` alone, tiles included."""
    killed = project.run(sys.executable, "-c", KILLED_AFTER, str(done))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    project.ok(sys.executable, "-m", "pipeline.purge", "--yes")
    assert_finished(project)


@pytest.mark.parametrize("deleted", [1, 3])
def test_a_purge_killed_among_its_deletions_is_finished_by_the_next(project: Workspace, deleted: int) -> None:
    """With some objects gone from the cache or the remote and others not, the rest goes with the next run."""
    killed = project.run(sys.executable, "-c", KILLED_DELETING, str(deleted))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert_others_are_safe(project)
    project.ok(*ACTION)
    assert_finished(project)


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """An S3 server whose credentials are in the environment."""
    with s3_server(tmp_path / "buckets") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        (tmp_path / "aws").touch()
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):  # DVC takes no device for a file
            monkeypatch.setenv(name, str(tmp_path / "aws"))
        # rclone answers a range with the checksum of the whole object, which AWS does not.
        monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
        yield server


@pytest.fixture
def on_s3(tmp_path: Path, s3: S3) -> Workspace:
    """A workspace with two releases whose DVC remote is a bucket."""
    workspace = light_project(tmp_path / "workspace")
    workspace.environment["PYTHONPATH"] = str(release_case.ROOT)
    workspace.ok("dvc", "remote", "modify", "storage", "url", f"s3://{BUCKET}/releases")
    workspace.ok("dvc", "remote", "modify", "storage", "endpointurl", s3.url)
    return filled(workspace)


def test_a_bucket_loses_the_bytes(on_s3: Workspace, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts go from the bucket, others stand in, and with an empty cache the old release is read from there."""
    assert len(holding(s3.bucket)) == 2
    said = on_s3.ok(*ACTION)
    assert "deleted 2 part(s) from the DVC remote 'storage'" in said
    s3.settle()
    assert holding(s3.bucket, on_s3.root) == []
    release_case.shutil.rmtree(on_s3.root / ".dvc" / "cache")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(on_s3.root / ".site"))
    release = open_release(on_s3.root, "data/v1")
    assert len(list(release.items(release.index))) == 15


def test_a_bucket_that_fails_on_the_way_loses_nothing_else(on_s3: Workspace, s3: S3) -> None:
    """Without the server it is an outage; when the server is back, the same command ends it."""
    s3.stop()
    done = on_s3.run(*ACTION)
    assert done.returncode == 3, done.stderr
    assert not (on_s3.root / RECORD).exists()
    assert len(read_index(on_s3.root / "data/dataset")) == 18


def test_the_next_release_carries_it_on(tmp_path: Path) -> None:
    """After a purge the dataset counts as new; the release commits the record, and the old one still reads."""
    workspace = release_case.make_template(tmp_path / "workspace")
    release = (sys.executable, "-m", "pipeline.release", "--message")
    workspace.ok(*release, "the first one")
    workspace.ok(*ACTION)
    said = workspace.ok(*release, "without what was withdrawn")
    assert "released data/v2: 15 items" in said
    assert release_case.tags(workspace) == ["data/v1", "data/v2"]
    assert RECORD.as_posix() in workspace.ok("git", "show", "--format=", "--name-only", "HEAD").split()
    assert workspace.ok("git", "status", "--porcelain", "--", RECORD.as_posix(), "data/dataset.dvc") == ""
    release_case.assert_trustworthy(workspace)
    assert holding(workspace.root, release_case.remote_of(workspace)) == []
    assert len(open_release(workspace.root, "data/v1").index) == 15
