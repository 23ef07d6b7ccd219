"""Releases as a journey: killed at every point, compared, read from afar, and kept on an S3 server."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import release_case
from release_case import LIMITS, add_batch, assert_trustworthy, more_items, objects, relabelled, tags
from s3_server import BUCKET, S3, s3_server
from workspace import Workspace

from pipeline.images import decode_mask
from pipeline.releasing.reader import open_release
from pipeline.releasing.steps import STEPS

pytestmark = pytest.mark.e2e

ACTION = (sys.executable, "-m", "pipeline.release", "--message")
# The steps of a release with one more among them: the process kills itself as the system would.
KILLED_AFTER = """
import os, signal, sys
from pathlib import Path
from pipeline.dataset import DatasetParams
from pipeline.params import read_section
from pipeline.releasing.making import PARAMS, Making, ReleaseParams
from pipeline.releasing.steps import STEPS, make

def die(making):
    os.kill(os.getpid(), signal.SIGKILL)

done = int(sys.argv[1])
params = read_section(ReleaseParams, "release", PARAMS)
making = Making(Path.cwd(), params, read_section(DatasetParams, "dataset", PARAMS), "the first one")
make(making, [*STEPS[:done], die, *STEPS[done:]])
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A validated workspace that the others are copies of."""
    return release_case.make_template(tmp_path_factory.mktemp("release") / "workspace")


@pytest.fixture
def project(template: Workspace, tmp_path: Path) -> Workspace:
    """A workspace before its first release, with a git remote."""
    workspace = release_case.copy_of(template, tmp_path)
    workspace.ok("git", "init", "-q", "--bare", str(tmp_path / "origin.git"))
    workspace.ok("git", "remote", "add", "origin", str(tmp_path / "origin.git"))
    return workspace


@pytest.fixture(scope="module")
def two_releases(template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Releases data/v1 and data/v2: two masks changed in between (one class partly to void), three items came."""
    workspace = release_case.copy_of(template, tmp_path_factory.mktemp("two"))
    workspace.ok(*ACTION, "the first one")
    changed = relabelled(["item-001", "item-005"], human_partly_to_void)
    add_batch(workspace, "second", [*changed, *more_items(3, seed=7)])
    workspace.ok(*ACTION, "humans in the dark are void, pallets are obstacles")
    return workspace


def human_partly_to_void(mask: np.ndarray) -> np.ndarray:
    """The left half of the humans becomes void, all pallets become obstacles. Shape: (H, W), uint8."""
    left = mask[:, : mask.shape[1] // 2]
    left[left == 3] = 255
    mask[mask == 2] = 4
    return mask


def assert_finished(workspace: Workspace) -> None:
    """One release, made once, pushed, with nothing left over."""
    assert tags(workspace) == ["data/v1"]
    assert workspace.ok("git", "log", "--format=%s").count("Release data/v1") == 1
    refs = workspace.ok("git", "ls-remote", "origin")
    assert "refs/tags/data/v1" in refs
    assert workspace.ok("git", "rev-parse", "HEAD").strip() in refs
    assert workspace.ok("git", "status", "--porcelain") == ""
    assert_trustworthy(workspace)


@pytest.mark.parametrize("done", range(1, len(STEPS)), ids=[f"after_{step.__name__}" for step in STEPS[:-1]])
def test_a_release_killed_between_two_steps_is_finished_by_the_next(project: Workspace, done: int) -> None:
    """No tag names bytes that are not on the remote, and the same command again makes the one release whole."""
    killed = project.run(sys.executable, "-c", KILLED_AFTER, str(done))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert_trustworthy(project)
    project.ok(*ACTION, "the first one")
    assert_finished(project)


def test_a_release_killed_in_the_middle_of_a_step_is_finished_by_the_next(project: Workspace) -> None:
    """Killed as soon as the first object shows on the remote, whatever is then under way."""
    environment = {
        "DVC_SITE_CACHE_DIR": str(project.root / ".site"),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    running = subprocess.Popen(
        [*ACTION, "the first one"],
        cwd=project.root,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while running.poll() is None and not objects(project):
        time.sleep(0.001)
    running.kill()
    running.wait()
    assert_trustworthy(project)
    project.ok(*ACTION, "the first one")
    assert_finished(project)


def test_the_diff_of_two_releases_says_what_became_of_every_pixel(two_releases: Workspace) -> None:
    """Items added and relabelled are named; the matrix shows humans flowing to void and pallets into obstacles."""
    two_releases.ok(sys.executable, "-m", "pipeline.diff", "data/v1", "data/v2")
    folder = two_releases.root / "data" / "diff" / "v1-v2"
    found = json.loads((folder / "diff.json").read_text())
    assert found["added"] == ["more-7-0", "more-7-1", "more-7-2"]
    assert sorted(each["item_id"] for each in found["relabelled"]) == ["item-001", "item-005"]
    matrix, names = np.array(found["agreement"]["px"]), found["agreement"]["old"]
    expected = np.zeros_like(matrix)
    release = open_release(two_releases.root, "data/v1")
    for name in ("item-001", "item-005"):
        was = decode_mask(release.item(name)[2], LIMITS)
        now = human_partly_to_void(was.copy())
        for old, new in zip(was.ravel(), now.ravel(), strict=True):
            expected[old, min(int(new), 5)] += 1
    assert matrix.tolist() == expected.tolist()
    assert matrix[names.index("human"), names.index("void")] > 0
    page = (folder / "index.html").read_text()
    assert all((folder / name).exists() for name in ("item-001.png", "item-005.png"))
    assert "item-001.png" in page


def test_a_release_is_read_in_a_clone_without_its_data(two_releases: Workspace, tmp_path: Path) -> None:
    """A clone with an empty cache reads index and items of an old release from the remote, and checks nothing out."""
    clone = tmp_path / "clone"
    two_releases.ok("git", "clone", "-q", str(two_releases.root), str(clone))
    remote = Workspace(clone)
    remote.ok("dvc", "remote", "modify", "storage", "url", str(release_case.remote_of(two_releases)))
    release = open_release(clone, "data/v1")
    assert len(release.index) == 16
    row, image, mask = release.item("item-003")
    assert row["split"] == "val"
    assert len(image) > 0
    assert decode_mask(mask, LIMITS).shape == (48, 64)
    assert not (clone / "data" / "dataset").exists()


@pytest.fixture
def clones(template: Workspace, tmp_path: Path) -> tuple[Workspace, Workspace]:
    """Two clones that share data/v1, a git remote and a DVC remote."""
    mine = release_case.copy_of(template, tmp_path)
    mine.ok("git", "init", "-q", "--bare", str(tmp_path / "origin.git"))
    mine.ok("git", "remote", "add", "origin", str(tmp_path / "origin.git"))
    mine.ok(*ACTION, "the first one")
    theirs = Workspace(tmp_path / "theirs")
    mine.ok("git", "clone", "-q", str(tmp_path / "origin.git"), str(theirs.root))
    for key in ("user.name", "user.email"):
        theirs.ok("git", "config", key, "ben@localhost")
    theirs.ok("dvc", "pull", "-q", "data/dataset")
    return mine, theirs


def items_at(workspace: Workspace, tag: str) -> set[str]:
    """The items of a release."""
    return set(open_release(workspace.root, tag).index["item_id"])


def test_who_releases_second_comes_after_the_first_by_what_is_printed(clones: tuple[Workspace, Workspace]) -> None:
    """Of two releases of the same number the later one is refused; its remedy, word by word, loses neither's items."""
    mine, theirs = clones
    add_batch(mine, "mine", more_items(3, seed=7))
    mine.ok(*ACTION, "mine", "--no-push")
    add_batch(theirs, "theirs", more_items(3, seed=8))
    theirs.ok(*ACTION, "theirs")
    refused = mine.run(*ACTION, "mine")
    assert refused.returncode == 2, refused.stderr
    commands = [line for line in refused.stderr.splitlines() if line.startswith("    ")]
    *way_out, bring_back = commands
    mine.ok("bash", "-e", "-c", "\n".join(way_out))
    add_batch(mine, "mine", more_items(3, seed=7))
    mine.ok(*ACTION, "mine after theirs")
    added = {f"more-{seed}-{number}" for seed in (7, 8) for number in range(3)}
    assert items_at(mine, "data/v3") - items_at(mine, "data/v1") == added
    assert "refs/tags/data/v3" in mine.ok("git", "ls-remote", "origin")
    part = mine.root / "data" / "dataset" / "mine" / "part-00000.parquet"
    content = part.read_bytes()
    shutil.rmtree(part.parent)
    mine.ok("bash", "-e", "-c", bring_back.replace("BATCH", "mine"))
    assert part.read_bytes() == content


def test_who_comes_late_with_a_batch_of_his_own_can_still_fetch(clones: tuple[Workspace, Workspace]) -> None:
    """A release that is not here yet is told before any work; with one's own batch put aside, it can be fetched."""
    mine, theirs = clones
    add_batch(theirs, "theirs", more_items(3, seed=8))
    theirs.ok(*ACTION, "theirs")
    add_batch(mine, "mine", more_items(3, seed=7))
    refused = mine.run(*ACTION, "mine")
    assert refused.returncode == 2
    assert "git stash" in refused.stderr
    (mine.root / "data" / "dataset" / "mine").rename(mine.root.parent / "aside")
    mine.ok("git", "stash")
    [fetch] = [line for line in refused.stderr.splitlines() if line.startswith("    ")]
    mine.ok("bash", "-e", "-c", fetch)
    add_batch(mine, "mine", more_items(3, seed=7))
    mine.ok(*ACTION, "mine after theirs")
    assert len(items_at(mine, "data/v3")) == len(items_at(mine, "data/v1")) + 6


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
def on_s3(template: Workspace, tmp_path: Path, s3: S3) -> Workspace:
    """A workspace whose DVC remote is a bucket."""
    workspace = release_case.copy_of(template, tmp_path)
    workspace.ok("dvc", "remote", "add", "-q", "-d", "bucket", f"s3://{BUCKET}/releases")
    workspace.ok("dvc", "remote", "modify", "bucket", "endpointurl", s3.url)
    return workspace


def test_a_release_on_s3_mends_what_the_bucket_lost_or_spoiled(on_s3: Workspace, s3: S3) -> None:
    """A corrupt and a missing object of a bucket are found, though DVC takes both for pushed, and sent again."""
    on_s3.ok(*ACTION, "the first one")
    stored = [file for file in (s3.bucket / "releases").rglob("*") if file.is_file()]
    content = {file: file.read_bytes() for file in stored}
    assert len(stored) == 2
    part = next(file for file in stored if file.suffix != ".dir")
    part.write_bytes(bytes(len(content[part])))
    on_s3.ok(*ACTION, "again")
    assert part.read_bytes() == content[part]
    part.unlink()
    on_s3.ok(*ACTION, "again")
    assert part.read_bytes() == content[part]
    s3.seen.clear()
    assert "0 of them read back" in on_s3.ok(*ACTION, "again")
    assert s3.gets(part.name) == []


def test_the_index_of_a_release_on_s3_costs_ranges_only(on_s3: Workspace, s3: S3) -> None:
    """With an empty cache, one item is read by ranges: no request asks for the whole part."""
    add_batch(on_s3, "large", more_items(200, seed=3))
    on_s3.ok(*ACTION, "larger")
    shutil.rmtree(on_s3.root / ".dvc" / "cache")
    script = (
        "from pathlib import Path; from pipeline.releasing.reader import open_release;"
        "release = open_release(Path.cwd(), 'data/v1'); print(len(release.index)); release.item('more-3-150')"
    )
    part = max(
        (file for file in (s3.bucket / "releases").rglob("*") if file.is_file()), key=lambda file: file.stat().st_size
    )
    s3.seen.clear()
    assert on_s3.ok(sys.executable, "-c", script).split()[-1] == "216"
    ranges = s3.gets(part.name)
    assert ranges
    assert None not in ranges


def test_a_release_on_s3_without_the_server_is_an_outage(on_s3: Workspace, s3: S3) -> None:
    """A server that is away exits 3 and leaves no tag."""
    s3.stop()
    done = on_s3.run(*ACTION, "alone")
    assert done.returncode == 3, done.stderr
    assert "bucket" in done.stderr
    assert tags(on_s3) == []
