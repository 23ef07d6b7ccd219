"""Removes what nobody needs any more: workspaces of finished runs, unused objects of DVC's cache, old telemetry."""

from airflow.sdk import Param

from orchestration import settings
from orchestration.command import Command
from orchestration.declaration import declare

with declare(
    "housekeeping",
    doc=__doc__,
    schedule=settings.schedule("housekeeping"),
    tags=["operation"],
    max_active_runs=1,
    params={"dry_run": Param(False, type="boolean", description="Say what would be removed; remove nothing.")},
) as dag:
    Command(
        task_id="clean",
        module="pipeline.clean",
        options={"--dry-run": "{{ params.dry_run or '' }}"},
        flags=["--dry-run"],
        doc_md="Removes by the retention in section `clean` of params.yaml.",
    )
