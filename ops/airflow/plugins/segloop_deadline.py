"""The deadline of a run, counted from when it was queued; with Airflow's own of the kind, tasks cannot be cleared."""

from datetime import datetime
from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.definitions.deadline import BaseDeadlineReference, deadline_reference


@deadline_reference
class RunQueued(BaseDeadlineReference):
    """When a run was queued, or was to begin where it never was.

    Airflow 3.3 answers 500 to a request to clear tasks of a run whose deadline has the reference DAGRUN_QUEUED_AT.
    """

    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}

    def _evaluate_with(self, *, session: Any, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import func, select

        moment = func.coalesce(DagRun.queued_at, DagRun.run_after)
        found: datetime | None = session.scalar(select(moment).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        return found


class SegloopPlugin(AirflowPlugin):
    """Makes the deadline known to the scheduler."""

    name = "segloop"
    deadline_references: ClassVar[list[Any]] = [RunQueued]
