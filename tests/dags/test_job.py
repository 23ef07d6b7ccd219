"""The task `Job` with the launcher `local`: what becomes of the job when the task is ended, or the job cancelled."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from job_case import Project, make_project, until
from kubernetes_case import Attempt, Attempts, environment

from orchestration import settings

pytestmark = [
    pytest.mark.e2e,  # DVC's commands take a second or two each
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # nobody waits for what is detached
]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project whose training waits after its second epoch."""
    project = make_project(tmp_path)
    file = project.root / "params.yaml"
    sections = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**sections, "loop": {"job_grace_s": 2}}))
    project.hold.touch()
    with environment(project):
        yield project
    project.job("cancel", "train")
    settings.params.cache_clear()


class Running:
    """An attempt that runs in a thread of its own.

    Attributes:
        job: The task.
        error: What it raised.
    """

    def __init__(self, attempt: Attempt) -> None:
        self.job = attempt.job
        self.error: Exception | None = None
        self._attempt = attempt
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def until(self, word: str, project: Project) -> None:
        """Waits until the job has said something."""
        until(lambda: self.error or word in log(project), word)
        assert self.error is None, self.error

    def end(self) -> Any:
        """Waits for its end."""
        self._thread.join(120)
        assert not self._thread.is_alive()
        return self.error

    def _work(self) -> None:
        try:
            self._attempt.job.execute(self._attempt.context)
        except Exception as error:  # noqa: BLE001 - it is looked at by the test
            self.error = error


def local(attempts: Attempts, launcher: str = "local") -> Running:
    """The next attempt, begun."""
    return Running(attempts.next(launcher=launcher))


def log(project: Project, attempt: int = 1) -> str:
    """What an attempt at the job said."""
    return "".join(file.read_text() for file in (project.root / ".segloop/jobs").glob(f"*/log-{attempt}.txt"))


def standing(project: Project) -> str:
    """What `segloop job status` says."""
    return project.job("status", "train")[1]


def test_a_job_goes_some_time_after_its_task(project: Project) -> None:
    """The task is ended for good while it follows the job: nobody follows it any more, so it is cancelled."""
    running = local(Attempts(project))
    running.until("epoch 2", project)
    running.job.on_kill()
    assert running.end()
    until(lambda: "cancelled" in standing(project), "the end of the job")


@pytest.mark.parametrize("seen", ["attempt.json", "leader.json"])
def test_a_task_that_is_ended_while_it_submits_leaves_no_job(project: Project, seen: str) -> None:
    """Whether the job was born or not, nothing of it is at work some time later."""
    running = local(Attempts(project))
    until(lambda: list((project.root / ".segloop/jobs").glob(f"*/{seen}")), "the submission")
    running.job.on_kill()
    assert running.end()
    until(lambda: "running" not in standing(project), "the end of the job")


def test_a_retry_keeps_the_job_of_a_task_that_was_ended(project: Project) -> None:
    """It finds the same attempt, follows it to its end, and has the results."""
    attempts = Attempts(project)
    first = local(attempts)
    first.until("epoch 2", project)
    settings.loop()["job_grace_s"] = 30
    first.job.on_kill()
    assert first.end()
    again = local(attempts)
    until(lambda: again.error or "segloop_job" in attempts.store, "that the task knows its job")
    project.hold.unlink()
    assert again.end() is None
    assert project.weights == "tile tile tile 3"
    assert log(project, 2) == ""


def test_a_job_that_a_person_cancels_fails_its_task_at_once(project: Project) -> None:
    """It is not submitted again; whoever clears the task gets a new attempt."""
    attempts = Attempts(project)
    running = local(attempts)
    running.until("epoch 2", project)
    until(lambda: "segloop_job" in attempts.store, "that the task knows its job")
    assert project.job("cancel", "train")[0] == 0
    error = running.end()
    assert isinstance(error, AirflowFailException), error
    assert "by hand" in str(error)
    project.hold.unlink()
    assert local(attempts).end() is None
    assert "starts after epoch 2" in log(project, 2)


def test_a_job_that_was_cancelled_between_two_tries_is_not_submitted_again(project: Project) -> None:
    """The retry finds out before it submits."""
    attempts = Attempts(project)
    first = local(attempts)
    first.until("epoch 2", project)
    until(lambda: "segloop_job" in attempts.store, "that the task knows its job")
    settings.loop()["job_grace_s"] = 600
    first.job.on_kill()
    first.end()
    assert project.job("cancel", "train")[0] == 0
    assert isinstance(local(attempts).end(), AirflowFailException)
    assert log(project, 2) == ""


def test_a_crash_in_a_job_is_tried_again(project: Project) -> None:
    """A stage that cannot import a module has judged nothing."""
    script = project.root / "learn.py"
    script.write_text("import nothing_of_that_name\n" + script.read_text())
    error = local(Attempts(project)).end()
    assert isinstance(error, AirflowException)
    assert not isinstance(error, AirflowFailException)


def test_a_verdict_in_a_job_is_not_tried_again(project: Project) -> None:
    """The stage said itself that it had judged."""
    project.set_params(train={"fails_with": "verdict"})
    assert isinstance(local(Attempts(project)).end(), AirflowFailException)


def test_a_launcher_that_the_run_changes_is_honoured(project: Project) -> None:
    """With none chosen in the form, the params of the run's workspace say where the job runs."""
    section = yaml.safe_load((project.root / "params.yaml").read_text())["jobs"]
    ray = section["ray"] | {"address": "http://127.0.0.1:1"}
    project.set_params(jobs={"launcher": "ray", "ray": ray})
    error = local(Attempts(project), launcher="").end()
    assert isinstance(error, AirflowException)
    assert "exit code 3" in str(error)  # nothing listens there
    assert not list((project.root / ".segloop/jobs").glob("*/log-1.txt"))
