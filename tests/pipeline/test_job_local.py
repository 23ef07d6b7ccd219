"""Jobs of this machine: detached, found again, resumed, ended as a whole."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from job_case import Project, make_project, until

from pipeline.command import BUG
from pipeline.jobs.launcher import VERDICT, meant
from pipeline.jobs.processes import Leader, members, myself

pytestmark = pytest.mark.e2e  # DVC's commands take a second or two each


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project; copied, not changed."""
    return make_project(tmp_path_factory.mktemp("jobs"))


@pytest.fixture
def project(template: Project, tmp_path: Path) -> Project:
    """A copy to work in."""
    shutil.copytree(template.root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def folder(project: Project) -> Path:
    """The job's folder."""
    (found,) = (project.root / ".segloop/jobs").glob("*/")
    return found


def leader(project: Project) -> int:
    """The number of the process that leads the job."""
    return int(json.loads((folder(project) / "leader.json").read_text())["pid"])


def log(project: Project, attempt: int = 1) -> str:
    """What an attempt said."""
    return (folder(project) / f"log-{attempt}.txt").read_text()


def start_and_hold(project: Project) -> None:
    """Submits the training, and lets it wait after its second epoch."""
    project.hold.touch()
    code, said = project.job("submit", "train")
    assert code == 0, said
    until(lambda: "epoch 2" in log(project), "the second epoch")


def living(project: Project) -> dict[int, str]:
    """Command lines of the processes that work in the job's folder, by their numbers."""
    found = {}
    for each in psutil.process_iter():
        try:
            if each.status() != psutil.STATUS_ZOMBIE and Path(each.cwd()).is_relative_to(folder(project)):
                found[each.pid] = " ".join(each.cmdline())
        except psutil.Error:
            continue
    return found


@dataclass(frozen=True)
class Finished:
    """A project whose training ran as a job, and what was said and seen on the way."""

    project: Project
    followed: str
    before_restoring: str | None
    checkout: list[str]
    checkout_before: list[str]


@pytest.fixture(scope="module")
def finished(template: Project, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A project whose training ran as a job."""
    root = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(template.root, root, symlinks=True)
    project = Project(root)
    before = checkout(project)
    assert project.job("submit", "train")[0] == 0
    code, said = project.job("follow", "train")
    assert code == 0, said
    after, weights = checkout(project), project.weights
    code, restored = project.job("restore", "train")
    assert code == 0, restored
    return Finished(project, said, weights, after, before)


def checkout(project: Project) -> list[str]:
    """What git says of index, working tree and branches."""
    return [project.ok("git", *words) for words in (["status", "--porcelain"], ["branch", "-a", "-v"])]


def is_alive(number: int) -> bool:
    """Whether a process lives; one that nobody has asked about since its end still has its number."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_job_computes_what_the_workspace_then_restores(finished: Finished) -> None:
    """Followed and restored, the stage's outputs are there, DVC has nothing left to do, and nothing else is left."""
    project = finished.project
    assert "epoch 3" in finished.followed
    assert finished.before_restoring is None  # the job worked elsewhere
    assert project.weights == "tile tile tile 3"
    assert "up to date" in project.ok("dvc", "status", "train")
    assert project.ok("git", "for-each-ref", "refs/segloop") == ""
    assert not (folder(project) / "code").exists()


def test_a_job_knows_who_submitted_it(finished: Finished) -> None:
    """Its clone has not the checkout's `user.name`, and the run in MLflow is to name a person."""
    assert "starts after epoch 0, for Ada" in finished.followed


def test_the_checkout_that_submits_is_not_touched(finished: Finished) -> None:
    """Neither index nor working tree nor branches change while a job is submitted and runs."""
    assert finished.checkout == finished.checkout_before


def test_what_was_computed_is_not_computed_again(finished: Finished) -> None:
    """A second submission of the same finds the results, starts nothing, and says so."""
    project = finished.project
    code, said = project.job("submit", "train")
    assert code == 0
    assert "results are there already" in said
    assert json.loads((project.root.parent / "told.json").read_text())["finished"] is True
    assert project.job("follow", "train")[0] == 0
    assert not (folder(project) / "log-2.txt").exists()


def test_a_job_outlives_whoever_follows_it(project: Project) -> None:
    """Killed with its whole process group, the follower leaves the job; a second one streams to the end."""
    start_and_hold(project)
    command = [sys.executable, "-m", "pipeline.job_follow", "train"]
    follower = subprocess.Popen(command, cwd=project.root, env=project.environment, start_new_session=True)
    os.killpg(follower.pid, signal.SIGKILL)
    follower.wait()
    assert is_alive(leader(project))
    project.hold.unlink()
    code, said = project.job("follow", "train")
    assert code == 0, said
    assert [line for line in said.splitlines() if line.startswith("epoch")] == ["epoch 1", "epoch 2", "epoch 3"]


def test_a_second_submission_attaches_to_the_running_job(project: Project) -> None:
    """The same key finds the same process."""
    start_and_hold(project)
    before = leader(project)
    code, said = project.job("submit", "train")
    assert code == 0
    assert "attached" in said
    assert leader(project) == before
    assert project.job("cancel", "train")[0] == 0


def test_a_killed_job_goes_on_from_its_checkpoint(project: Project) -> None:
    """Leader and training killed without a word: the job has failed by a signal, and the next attempt goes on."""
    start_and_hold(project)
    os.killpg(leader(project), signal.SIGKILL)
    until(lambda: not living(project), "the end of the group")
    code, said = project.job("follow", "train")
    assert code == 137, said
    project.hold.unlink()
    code, said = project.job("submit", "train")
    assert "attempt 2 after one that failed" in said
    assert project.job("follow", "train")[0] == 0
    assert "starts after epoch 2" in log(project, 2)


def test_what_a_killed_leader_leaves_behind_is_ended(project: Project) -> None:
    """The leader alone killed, its training still runs: a new attempt ends that before it starts."""
    start_and_hold(project)
    os.kill(leader(project), signal.SIGKILL)
    learners = [number for number, command in living(project).items() if "learn.py" in command]
    assert learners
    said = project.job("submit", "train")[1]
    assert "attempt 2" in said, said
    assert not set(learners) & set(living(project))
    assert project.job("follow", "train")[0] == 0


def test_cancel_ends_every_process(project: Project) -> None:
    """After it nothing of the job lives, and status and follow say that it was cancelled."""
    start_and_hold(project)
    code, said = project.job("cancel", "train")
    assert (code, said.strip()) == (0, "train: cancelled")
    assert living(project) == {}
    assert not is_alive(leader(project))
    assert "cancelled" in project.job("status", "train")[1]
    assert project.job("follow", "train")[0] == 143


def test_a_job_waits_for_a_slot_and_can_be_cancelled_meanwhile(project: Project) -> None:
    """With one slot a second training waits, whoever has failed the first one's task; cancelled, it ends at once."""
    start_and_hold(project)
    (first,) = (project.root / ".segloop/jobs").glob("*/")
    project.set_params(train={"epochs": 4})
    assert project.job("submit", "train")[0] == 0
    (second,) = set((project.root / ".segloop/jobs").glob("*/")) - {first}
    until(lambda: "waits for one of 1 slots" in (second / "log-1.txt").read_text(), "that it says what it waits for")
    assert project.job("cancel", "train")[1].strip() == "train: cancelled"
    assert "epoch" not in (second / "log-1.txt").read_text()
    assert "attempt 2" in project.job("submit", "train")[1]
    project.hold.unlink()
    code, said = project.job("follow", "train")
    assert (code, "epoch 4" in said) == (0, True), said


@pytest.mark.parametrize(("end", "code"), [("verdict", 1), (2, 2), (3, 3)])
def test_the_exit_code_is_the_stages_own(project: Project, end: object, code: int) -> None:
    """What the stage exits with is what `follow` exits with, though DVC has one code for all."""
    project.set_params(train={"fails_with": end})
    project.job("submit", "train")
    assert project.job("follow", "train")[0] == code
    assert (project.told.get("ended") == "verdict") == (code == 1)


@pytest.mark.parametrize("code", [1, VERDICT])
def test_a_crash_in_a_job_is_no_verdict(project: Project, code: int) -> None:
    """The stage did not say that it had judged: `follow` exits as after a bug, which is tried again."""
    project.set_params(train={"fails_with": code})
    project.job("submit", "train")
    assert project.job("follow", "train")[0] == BUG
    assert "ended" not in project.told


def test_a_job_that_cannot_begin_gives_no_verdict() -> None:
    """Python exits with 1 where the project's packages are not to be had on the job's side."""
    assert [meant(code) for code in (1, VERDICT, 2, 3, 137)] == [BUG, 1, 2, 3, 137]


def test_stale_inputs_are_refused(project: Project) -> None:
    """A stage before it that has not run with today's params is named, and nothing is started."""
    file = project.root / "params.yaml"
    file.write_text(file.read_text().replace("size: 3", "size: 4"))
    code, said = project.job("submit", "train")
    assert code == 2
    assert "dvc repro prepare" in said
    assert not (project.root / ".segloop/jobs").exists()


def test_a_stage_that_was_not_submitted_is_named(project: Project) -> None:
    """Follow, cancel and restore say what to do first; an unknown stage is the user's mistake."""
    for act in ("follow", "cancel", "restore"):
        code, said = project.job(act, "train")
        assert (code, "segloop job submit train" in said) == (2, True), said
    code, said = project.job("submit", "trian")
    assert code == 2
    assert "trian" in said


def test_an_input_that_nobody_keeps_is_found_out(project: Project) -> None:
    """A file that git ignores is not there for the job, which says so instead of computing something else."""
    (project.root / "learn.py").write_text((project.root / "learn.py").read_text() + "\nimport extra\n")
    (project.root / "data/extra.txt").write_text("1")
    graph = project.root / "dvc.yaml"
    graph.write_text(graph.read_text().replace("[data/tiles, learn.py]", "[data/tiles, learn.py, data/extra.txt]"))
    assert project.job("submit", "train")[0] == 0
    code, said = project.job("follow", "train")
    assert code == 2
    assert "data/extra.txt" in said


@pytest.mark.parametrize("delay_s", [0.0, 0.2])
def test_whoever_starts_a_job_may_be_killed_meanwhile(project: Project, delay_s: float) -> None:
    """The submission killed around the birth of the job: the next one attaches to it, and it runs once."""
    project.hold.touch()
    submission = project.start(sys.executable, "-m", "pipeline.job_submit", "train")
    until(lambda: list((project.root / ".segloop/jobs").glob("*/attempt.json")), "the attempt")
    time.sleep(delay_s)
    submission.kill()
    submission.communicate()
    code, said = project.job("submit", "train")
    assert code == 0, said
    project.hold.unlink()
    assert project.job("follow", "train")[0] == 0
    logs = "".join(file.read_text() for file in folder(project).glob("log-*.txt"))
    assert logs.count("epoch 1") == 1


def test_a_number_that_was_given_anew_is_not_the_leaders() -> None:
    """The same number with another start is another process, and its session is none of the job's."""
    me = myself()
    assert not me.is_replaced
    assert Leader(me.pid, me.started - 60).is_replaced


def test_a_foreign_session_is_left_alone(tmp_path: Path) -> None:
    """After the number of a dead leader was given to somebody else, that session is not ended with the job."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        started = psutil.Process(stranger.pid).create_time()
        assert [each.pid for each in members(Leader(stranger.pid, started), tmp_path)] == [stranger.pid]
        assert members(Leader(stranger.pid, started - 60), tmp_path) == []
        stranger.kill()
