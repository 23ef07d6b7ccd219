"""DAGs of the repository, run in this process by `dag.test()` for the project that the environment names."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from orchestration import settings

ROOT = Path(__file__).resolve().parent.parent
DONE, SKIPPED, FAILED, NOT_REACHED = "success", "skipped", "failed", "upstream_failed"


@dataclass(frozen=True)
class Ran:
    """What became of a run.

    Attributes:
        run: Airflow's record of it.
    """

    run: Any

    @property
    def states(self) -> dict[str, str]:
        """The state of each task."""
        return {task.task_id: str(task.state) for task in self.run.get_task_instances()}

    @property
    def tries(self) -> dict[str, int]:
        """How often each task was tried."""
        return {task.task_id: task.try_number for task in self.run.get_task_instances()}

    def facts(self, task: str) -> dict[str, Any]:
        """What a task told those after it."""
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session

        wanted = XComModel.get_many(run_id=self.run.run_id, dag_ids=self.run.dag_id, task_ids=task, key="return_value")
        with create_session() as session:
            found: dict[str, Any] = XComModel.deserialize_value(session.scalars(wanted).one())
        return found


def read_dag(name: str) -> Any:
    """A DAG as it is declared for the project of the environment, on a database that is there."""
    from airflow.dag_processing.dagbag import DagBag

    settings.params.cache_clear()
    bag = DagBag(str(ROOT / "dags" / f"{name}.py"))
    assert bag.import_errors == {}
    dag = bag.dags[name]
    dag.deadline = None  # `dag.test()` of Airflow 3.3 stumbles over any when the run has succeeded
    return dag


def run_dag(dag: Any, **conf: object) -> Ran:
    """Runs a DAG to its end."""
    return Ran(dag.test(run_conf=conf))


def run_event(dag: Any, asset: Any, key: str) -> Ran:
    """Announces a key of an asset, and runs to its end the run of a DAG that Airflow's scheduler makes of it."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.sdk.definitions.dag import _run_task
    from airflow.settings import Session

    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(DagBag(str(ROOT / "dags")), "dags-folder", None)
    session = Session()
    run = _run_of_event(dag, asset, key, session)
    while run.state == "running":
        session.expire_all()
        ready, _ = run.update_state(session=session)
        for task in ready:
            task.try_number += 1
            task.state = "scheduled"
        session.commit()
        for task in ready:
            _run_task(ti=task, task=dag.task_dict[task.task_id], run_triggerer=True)
    return Ran(run)


def _run_of_event(dag: Any, asset: Any, key: str, session: Any) -> Any:
    from airflow.assets.manager import asset_manager
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dag import DagModel
    from airflow.models.dagrun import DagRun
    from airflow.serialization.serialized_objects import DagSerialization
    from sqlalchemy import select, update

    session.execute(update(DagModel).values(is_paused=DagModel.dag_id != dag.dag_id))
    session.expire_all()
    asset_manager.register_asset_change(asset=asset, partition_key=key, source_is_api=True, session=session)
    session.flush()
    SchedulerJobRunner(Job())._create_dagruns_for_partitioned_asset_dags(session)
    # Also those of other DAGs, by events of earlier tests: until they start, the API cannot tell of these events (500).
    session.execute(update(DagRun).where(DagRun.start_date.is_(None)).values(start_date=datetime.now(UTC)))
    wanted = select(DagRun).where(DagRun.dag_id == dag.dag_id, DagRun.partition_key == key)
    run = session.scalars(wanted.order_by(DagRun.id.desc())).first()
    run.dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    run.dag.on_success_callback = run.dag.on_failure_callback = None  # which serialization leaves out
    run.start_date, run.state = datetime.now(UTC), "running"
    session.commit()
    return run


def give_up(dag_id: str) -> None:
    """Fails the tasks of a DAG that have not ended, from another thread: `dag.test()` waits for an answer for ever."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import or_, update

    waiting = or_(TaskInstance.state.is_(None), TaskInstance.state == "awaiting_input")
    with create_session() as session:
        session.execute(update(TaskInstance).where(TaskInstance.dag_id == dag_id, waiting).values(state=FAILED))


def events(asset: str) -> list[str]:
    """The partition keys of an asset's events, the oldest first."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    wanted = select(AssetEvent.partition_key).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
    with create_session() as session:
        return list(session.scalars(wanted.where(AssetModel.name == asset).order_by(AssetEvent.id)))


def at_work(folder: Path) -> list[str]:
    """The command lines of processes that work in a folder."""
    return [line for each in psutil.process_iter() if (line := _line_in(each, folder))]


def _line_in(process: psutil.Process, folder: Path) -> str:
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return " ".join(process.cmdline()) if alive and Path(process.cwd()).is_relative_to(folder) else ""
    except psutil.Error:
        return ""  # it has just ended, or is another user's
