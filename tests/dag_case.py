"""DAGs of the repository, run in this process by `dag.test()` for the project that the environment names."""

from dataclasses import dataclass
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
