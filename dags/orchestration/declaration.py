"""What all DAGs have in common: owner, retries, limits, alerts."""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, DeadlineAlert, SyncCallback

from orchestration import alerts, settings
from segloop_deadline import RunQueued

GPU, CPU = "gpu", "cpu"  # pools; a task of a pool that does not exist waits for ever, which the deadline tells
START = datetime(2026, 1, 1, tzinfo=UTC)


def declare(dag_id: str, *, doc: str, schedule: Any = None, tags: list[str], **more: Any) -> DAG:
    """A DAG with the owner, retries, limits and alerts of section `loop`.

    Args:
        dag_id: Its name.
        doc: What its page says: the docstring of its file.
        schedule: A cron line, a timetable, or None for by hand only.
        tags: Where it is listed.
        more: What else `airflow.sdk.DAG` takes.
    """
    section, limit = settings.loop(), settings.limit(dag_id)
    again = section["retries"]
    late = SyncCallback(alerts.late, {"dag": dag_id})
    return DAG(
        dag_id,
        description=doc.partition("\n")[0],
        doc_md=doc,
        schedule=schedule,
        start_date=START,
        catchup=False,
        tags=["segloop", *tags],
        dagrun_timeout=limit * 2,  # the alert comes first
        deadline=DeadlineAlert(reference=RunQueued(), interval=limit, callback=late),
        on_failure_callback=alerts.Alert(),
        default_args={
            "owner": section["owner"],
            "pool": CPU,
            "retries": again["count"],
            "retry_delay": again["delay_s"],
            "retry_exponential_backoff": True,
            "max_retry_delay": again["longest_delay_s"],
            "execution_timeout": settings.limit("task"),
        },
        **more,
    )
