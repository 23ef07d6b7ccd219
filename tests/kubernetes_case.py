"""A project whose jobs run on a stand-in for Kubernetes, and the task that computes them, attempt after attempt."""

import asyncio
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
import yaml
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred
from job_case import JOBS, Project, make_project
from kubernetes_api import Cluster

from orchestration import pods, settings
from orchestration.job import Job

SECRET = {"STORAGE_KEY": "hush-hush-hush"}
SECTION: Any = JOBS["kubernetes"]
SAYS = """
import os
print("the key has", len(os.environ["STORAGE_KEY"]), "characters", flush=True)
"""
GPUS = 2


class Store(dict[str, Any]):
    """What Airflow keeps for the attempts of one task."""

    def set(self, name: str, value: object) -> None:
        """Keeps something."""
        self[name] = value

    def delete(self, name: str) -> None:
        """Forgets something."""
        self.pop(name, None)


@dataclass
class Attempts:
    """One task of a run of Airflow, attempt after attempt, as a task runner and a triggerer take it.

    Attributes:
        project: Whose stage `train` it computes.
        number: Of the attempt.
    """

    project: Project
    number: int = 0
    store: Store = field(default_factory=Store)

    def next(self, **more: Any) -> "Attempt":
        """A new attempt, in a process that knows nothing of the last one."""
        self.number += 1
        job = Job(task_id="train", stage="train", folder=str(self.project.root), **{"launcher": "kubernetes", **more})
        ti = SimpleNamespace(
            dag_id="training",
            task_id="train",
            run_id="manual__2026-01-01T00:00:00+00:00",
            map_index=-1,
            try_number=self.number,
            start_date=datetime.now(UTC),
            stats_tags={},
            xcom_push=lambda **_: None,
        )
        context = {"ti": ti, "run_id": ti.run_id, "dag": SimpleNamespace(), "task_state_store": self.store}
        return Attempt(job, context)


@dataclass
class Attempt:
    """An attempt.

    Attributes:
        job: The task.
        context: What Airflow gives it.
        deferred: How it left for the triggerer.
    """

    job: Job
    context: Any
    deferred: Any = None

    def begin(self) -> "Attempt":
        """Runs until the task is deferred."""
        with pytest.raises(TaskDeferred) as raised:
            self.job.execute(self.context)
        self.deferred = raised.value
        return self

    def end(self) -> Any:
        """Waits as the triggerer does, and resumes by the method's name, in another process."""

        async def first() -> Any:
            return await anext(self.deferred.trigger.run())

        words = {**(self.deferred.kwargs or {}), "event": asyncio.run(first()).payload}
        again = Job(task_id="train", stage="train", launcher="kubernetes", folder=self.job.folder)
        return again.resume_execution(self.deferred.method_name, words, self.context)


@contextmanager
def environment(project: Project) -> Iterator[None]:
    """Commands find the project; what they say is not filtered."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**project.environment, "SEGLOOP_ROOT": str(project.root)}.items():
            patch.setenv(name, value)
        patch.setattr(pods, "LOOK_S", 1)
        patch.setattr(pods, "LOG_S", 1)
        settings.params.cache_clear()
        yield


@contextmanager
def running(project: Project) -> Iterator[Cluster]:
    """A cluster, to which Airflow's connection leads."""
    secrets = {SECTION["secret"]: SECRET}
    cluster = Cluster(project.root.parent / "cluster", SECTION["namespace"], SECTION["service_account"], secrets)
    with environment(project), cluster.running(), pytest.MonkeyPatch.context() as patch:
        extra = {"kube_config_path": str(cluster.kubeconfig())}
        patch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps({"conn_type": "kubernetes", "extra": extra}))
        yield cluster


@contextmanager
def logged() -> Iterator[list[Any]]:
    """What Airflow's own parts write into the logs of tasks, as soon as it is written."""
    from airflow._shared.logging.structlog import PER_LOGGER_LEVELS

    with pytest.MonkeyPatch.context() as patch, structlog.testing.capture_logs() as log:
        patch.setitem(PER_LOGGER_LEVELS, "", logging.INFO)
        yield log


def said(log: list[Any]) -> list[str]:
    """The lines of the container in a log."""
    return [str(entry["event"]) for entry in log if str(entry["event"]).startswith(f"[{pods.CONTAINER}] ")]


def set_params(project: Project, section: str, **keys: object) -> None:
    """Replaces keys of a section that no stage before the training reads."""
    file = project.root / "params.yaml"
    sections = yaml.safe_load(file.read_text())
    sections[section] |= keys
    file.write_text(yaml.safe_dump(sections))


def make_template(folder: Path) -> Project:
    """A project whose jobs run on Kubernetes, and whose training says how long the Secret is."""
    project = make_project(folder)
    script = project.root / "learn.py"
    script.write_text(SAYS + script.read_text())
    set_params(project, "jobs", kubernetes={**SECTION, "env": ["HOLD"], "gpus": GPUS})
    return project


def copy_of(template: Project, folder: Path) -> Project:
    """A copy, with a DVC remote of its own."""
    shutil.copytree(template.root, folder / "project", symlinks=True)
    project = Project(folder / "project")
    config = project.root / ".dvc/config"
    config.write_text(config.read_text().replace(str(template.remote), str(project.remote)))
    return project


def fails_for_now(attempt: Attempt) -> None:
    """Ends an attempt that fails such that Airflow tries again."""
    with pytest.raises(AirflowException) as raised:
        attempt.end()
    assert not isinstance(raised.value, AirflowFailException)
