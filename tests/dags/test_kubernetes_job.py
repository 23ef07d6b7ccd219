"""The task `Job` with the launcher `kubernetes`: Airflow's own operator and trigger against a stand-in for the API.

The stand-in (tests/kubernetes_api.py) validates pods as Kubernetes does and runs their container as a process of this
machine. It is no cluster: images, users, volumes, rights and networks are not tried here.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from dag_case import DONE, Ran
from job_case import Project, until
from kubernetes_api import Cluster
from kubernetes_case import (
    GPUS,
    SECRET,
    SECTION,
    Attempts,
    copy_of,
    environment,
    fails_for_now,
    logged,
    make_template,
    running,
    said,
    set_params,
)

from orchestration import pods
from pipeline.command import BUG
from pipeline.jobs.launcher import VERDICT

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning"),
]

DAG = """
from airflow.sdk import DAG
from orchestration.job import Job

with DAG("one_job"):
    Job(task_id="train", stage="train", launcher="{{ 'kubernetes' }}", folder=FOLDER)
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project, whose jobs run on Kubernetes; copied, not changed."""
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def project(template: Project, tmp_path: Path) -> Project:
    """A project to work in."""
    return copy_of(template, tmp_path)


@pytest.fixture
def cluster(project: Project) -> Iterator[Cluster]:
    """A cluster to work on."""
    with running(project) as cluster:
        yield cluster


@pytest.fixture
def held(project: Project, cluster: Cluster) -> Attempts:
    """A task whose training waits after its second epoch."""
    assert cluster
    project.hold.touch()
    return Attempts(project)


@dataclass(frozen=True)
class First:
    """A run of Airflow in which the task was computed by a pod.

    Attributes:
        project: The project afterwards.
        cluster: What received the pod.
        ran: Airflow's record.
        log: The task's log.
    """

    project: Project
    cluster: Cluster
    ran: Ran
    log: list[str]


@pytest.fixture(scope="module")
def first(bag: object, template: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[First]:
    """A DAG of this one task, run by `dag.test()`."""
    from airflow.dag_processing.dagbag import DagBag

    assert bag  # Airflow's database is there
    folder = tmp_path_factory.mktemp("first")
    project = copy_of(template, folder)
    (folder / "dags").mkdir()
    file = folder / "dags/one_job.py"
    file.write_text(DAG.replace("FOLDER", repr(str(project.root))))
    bundle = {"classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {"path": str(file.parent)}}
    with running(project) as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle | {"name": "one"}]))
        found = DagBag(str(file))
        assert found.import_errors == {}
        with logged() as log:
            ran = Ran(found.dags["one_job"].test())
        yield First(project, cluster, ran, said(log))


def test_a_job_runs_in_a_pod(first: First) -> None:
    """The task is deferred, resumed, and has the results in its workspace, as DVC itself sees it."""
    assert first.ran.states == {"train": DONE}
    assert first.project.weights == "tile tile tile 3"
    assert "up to date" in first.project.ok("dvc", "status", "train")
    assert len(first.cluster.made) == 1


def test_the_pod_is_gone_when_it_has_succeeded(first: First) -> None:
    """Its scratch volume is free again; on the remote, bundle and checkpoints are removed too."""
    until(lambda: not first.cluster.pods, "the pod is deleted")
    assert first.project.on_remote("segloop/**/*") == []


def test_lines_of_the_pod_reach_the_tasks_log(first: First) -> None:
    """Whoever reads the task's log sees what the training said, to its last epoch."""
    assert [line for line in first.log if line.endswith("epoch 3")]


def test_gpus_are_asked_for(first: First) -> None:
    """The body that the API received has the limit and a request alike."""
    resources = first.cluster.made[0].container["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == str(GPUS)


def test_no_secret_is_sent(first: First) -> None:
    """Nothing that the API received holds the value: the pod names the Secret, and the training has what it holds."""
    assert not [body for body in first.cluster.received if SECRET["STORAGE_KEY"] in body]
    assert first.cluster.made[0].container["envFrom"] == [{"secretRef": {"name": SECTION["secret"]}}]
    assert "the key has 14 characters" in first.cluster.made[0].said


def test_results_that_exist_need_no_pod(first: First) -> None:
    """The same task once more restores them; it fails on no pod that was never made."""
    with environment(first.project):
        assert Attempts(first.project).next().job.execute({})["returncode"] == 0
    assert len(first.cluster.made) == 1


def test_a_retry_finds_the_running_pod(held: Attempts, cluster: Cluster) -> None:
    """A second attempt watches the pod of the first, and makes no other."""
    before = held.next().begin()
    after = held.next().begin()
    assert after.deferred.trigger.pod_name == before.deferred.trigger.pod_name
    assert len(cluster.made) == 1


@pytest.mark.parametrize(("end", "code"), [("verdict", VERDICT), (2, 2)])
def test_a_verdict_or_a_mistake_in_the_pod_is_not_tried_again(
    project: Project, cluster: Cluster, end: object, code: int
) -> None:
    """The stage's own word fails the task at once; the pod is deleted."""
    set_params(project, "train", fails_with=end)
    attempt = Attempts(project).next().begin()
    with pytest.raises(AirflowFailException, match=f"exit code {code}"):
        attempt.end()
    until(lambda: not cluster.pods, "the pod is deleted")


def test_a_crash_in_the_pod_is_tried_again(project: Project, cluster: Cluster) -> None:
    """Python's own exit code 1 is nobody's verdict."""
    set_params(project, "train", fails_with=1)
    fails_for_now(Attempts(project).next().begin())
    assert cluster.made[0].exit_code == BUG


def test_a_lost_pod_is_made_anew_and_goes_on(held: Attempts, project: Project, cluster: Cluster) -> None:
    """An outage, which is tried again: the second pod fetches the checkpoint of the first and goes on from it."""
    attempt = held.next().begin()
    until(lambda: project.on_remote("segloop/**/checkpoints.tar"), "a checkpoint is kept")
    cluster.lose(cluster.made[0])
    fails_for_now(attempt)
    project.hold.unlink()
    held.next().begin().end()
    assert len(cluster.made) == 2
    assert [line for line in cluster.made[1].said if line.startswith(("starts after epoch 1", "starts after epoch 2"))]
    assert project.weights == "tile tile tile 3"


def test_an_evicted_pod_is_tried_again(held: Attempts, cluster: Cluster) -> None:
    """The node's verdict is none on the training; the next attempt makes a new pod."""
    attempt = held.next().begin()
    until(lambda: cluster.made[0].phase == "Running", "the container runs")
    cluster.evict(cluster.made[0])
    fails_for_now(attempt)
    held.next().begin()
    assert len(cluster.made) == 2


def test_a_pod_out_of_time_is_deleted(held: Attempts, cluster: Cluster) -> None:
    """It does not go on computing beside its successor."""
    attempt = held.next(execution_timeout=timedelta(seconds=1)).begin()
    fails_for_now(attempt)
    until(lambda: not cluster.pods, "the pod is deleted")


def test_killing_the_task_deletes_the_pod(held: Attempts, cluster: Cluster) -> None:
    """The task that is ended while it works with the pod ends the pod with its process."""
    attempt = held.next().begin()
    until(lambda: cluster.made[0].phase == "Running", "the container runs")
    attempt.job.on_kill()
    until(lambda: not cluster.pods, "the pod is deleted")
    assert not psutil.pid_exists(cluster.made[0].number)


def test_lines_are_seen_while_the_pod_runs(held: Attempts) -> None:
    """The triggerer writes them; a training of days is not silent until its end."""
    trigger = held.next().begin().deferred.trigger

    async def watched() -> None:
        waiting = asyncio.ensure_future(anext(trigger.run()))
        while not [line for line in said(log) if line.endswith("epoch 2")]:
            assert not waiting.done()
            await asyncio.sleep(0.1)
        waiting.cancel()

    with logged() as log:
        asyncio.run(asyncio.wait_for(watched(), 120))


def test_killing_the_deferred_task_deletes_the_pod(held: Attempts, project: Project, cluster: Cluster) -> None:
    """The triggerer ends it, and the training has time to keep its checkpoint."""
    attempt = held.next().begin()
    until(lambda: project.on_remote("segloop/**/checkpoints.tar"), "a checkpoint is kept")
    asyncio.run(attempt.deferred.trigger.on_kill())
    until(lambda: not cluster.pods, "the pod is deleted")
    assert cluster.made[0].exit_code == 128 + 15
    assert project.on_remote("segloop/**/checkpoints.tar")


def test_a_pod_that_kubernetes_refuses_is_not_tried_again(project: Project, cluster: Cluster) -> None:
    """A mistake in params.yaml is one of the user, in the words of Kubernetes."""
    set_params(project, "jobs", kubernetes={**SECTION, "node_selector": {"gpu": "not a label"}})
    attempt = Attempts(project).next()
    with pytest.raises(AirflowFailException, match="gpu=not a label"):
        attempt.job.execute(attempt.context)
    assert cluster.made == []


@pytest.mark.parametrize(
    ("code", "reason"), [(1, None), (3, None), (70, None), (137, None), (143, None), (2, "Evicted"), (None, None)]
)
def test_every_other_end_is_tried_again(code: int | None, reason: str | None) -> None:
    """An outage, a bug, a signal, a node's decision, or no end at all."""
    from kubernetes.client import models

    ended = models.V1ContainerState(terminated=models.V1ContainerStateTerminated(exit_code=code)) if code else None
    base = models.V1ContainerStatus(name="base", image="", image_id="", ready=False, restart_count=0, state=ended)
    pod = models.V1Pod(status=models.V1PodStatus(phase="Failed", reason=reason, container_statuses=[base]))
    assert pods.mistake(AirflowException("it failed"), pod) is None
