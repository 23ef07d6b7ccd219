"""One job of two workspaces: what one run gives up, another may be waiting for."""

import subprocess
import sys
from pathlib import Path

import pytest
from job_case import Project, make_project, until

pytestmark = pytest.mark.e2e  # DVC's commands take a second or two each

LONG, SHORT = "20", "1"
LEFT_ALONE, CANCELLED = "train: is followed, and left alone", "train: cancelled"


@pytest.fixture
def first(tmp_path: Path) -> Project:
    """A run's workspace whose training waits after its second epoch; it is the project's checkout as well."""
    project = make_project(tmp_path)
    project.hold.touch()
    code, said = project.job("submit", "train")
    assert code == 0, said
    (log,) = (project.root / ".segloop/jobs").glob("*/log-1.txt")
    until(lambda: "epoch 2" in log.read_text(), "the second epoch")
    return project


@pytest.fixture
def second(first: Project) -> Project:
    """Another run's workspace, in which the training is the same."""
    other = Project(first.root.parent / "second")
    first.ok("git", "worktree", "add", "-q", "--detach", str(other.root))
    other.ok("dvc", "cache", "dir", "--local", str(first.root / ".dvc/cache"))
    other.ok("dvc", "repro", "-q", "prepare")
    return other


def give_up(project: Project, grace_s: str) -> "subprocess.Popen[str]":
    """Starts what a task leaves behind when it is ended, which has begun to wait when this returns."""
    cancel = project.start(sys.executable, "-m", "pipeline.job_cancel", "train", "--unless-followed", grace_s)
    assert cancel.stdout
    assert "unless somebody follows it" in cancel.stdout.readline()
    return cancel


def test_a_run_that_is_ended_leaves_a_job_that_another_follows(first: Project, second: Project) -> None:
    """The first run gives the job up while the second follows it: it goes on, and the second has its results."""
    assert "attached" in second.job("submit", "train")[1]
    follower = second.start(sys.executable, "-m", "pipeline.job_follow", "train")
    assert follower.stdout
    while "epoch 2" not in follower.stdout.readline():
        assert follower.poll() is None
    assert give_up(first, SHORT).communicate(timeout=120)[0].strip() == LEFT_ALONE
    first.hold.unlink()
    said = follower.communicate(timeout=120)[0]
    assert follower.returncode == 0, said
    assert second.job("restore", "train")[0] == 0
    assert second.weights == "tile tile tile 3"


def test_a_job_that_another_has_just_found_is_left_alone(first: Project, second: Project) -> None:
    """Between finding it and following it there is a while, in which nobody holds the lock."""
    cancel = give_up(first, LONG)
    assert "attached" in second.job("submit", "train")[1]
    assert cancel.communicate(timeout=120)[0].strip() == LEFT_ALONE
    first.hold.unlink()
    assert second.job("follow", "train")[0] == 0


def test_a_job_that_nobody_wants_any_more_is_ended(first: Project) -> None:
    """No person did it: whoever comes later gets a new attempt, which goes on from the checkpoint."""
    assert give_up(first, SHORT).communicate(timeout=120)[0].strip() == CANCELLED
    code, said = first.job("follow", "train")
    assert code == 143, said
    assert not first.told["by_hand"]
    first.hold.unlink()
    assert "attempt 2 after one that cancelled" in first.job("submit", "train")[1]
    assert "starts after epoch 2" in first.job("follow", "train")[1]


def test_a_job_that_a_person_cancels_is_known_as_such(first: Project, second: Project) -> None:
    """Whoever follows it, from whatever workspace, is told; and what a task gives up later changes nothing of it."""
    second.job("submit", "train")
    assert first.job("cancel", "train")[1].strip() == CANCELLED
    assert give_up(second, SHORT).communicate(timeout=120)[0].strip() == CANCELLED
    assert second.job("follow", "train")[0] == 143
    assert second.told["by_hand"]
