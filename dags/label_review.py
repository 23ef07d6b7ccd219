"""Looks for wrong masks in the dataset, and writes tasks for annotators of those that are probably wrong.

Its page in Airflow links to the pictures of the doubted masks and to the tasks.
"""

from airflow.sdk import Param

from orchestration import settings
from orchestration.command import Command
from orchestration.declaration import declare

TASKS = ".segloop/annotation_tasks/{{ dag_run.run_after.strftime('%Y-%m-%dT%H-%M-%S') }}"

with declare(
    "label_review",
    doc=__doc__,
    schedule=settings.schedule("label_review"),
    tags=["data"],
    max_active_runs=1,
    is_paused_upon_creation=True,  # until there is a dataset of one's own
    params={
        "tool": Param("cvat", type="string", enum=["cvat", "label-studio"], description="The annotation tool."),
        "limit": Param(50, type="integer", minimum=1, description="Tasks at most, the worst masks first."),
    },
) as dag:
    check = Command(
        task_id="check",
        module="pipeline.labels_check",
        tells=["listed"],
        publish={"Doubted masks": "data/labels"},
        execution_timeout=settings.limit("label_review"),
        doc_md="Checks every mask; what was decided before is not asked again.",
    )
    export = Command(
        task_id="export",
        module="pipeline.labels_export",
        options={"--format": "{{ params.tool }}", "--limit": "{{ params.limit }}", "--out": TASKS},
        when="{{ ti.xcom_pull('check')['listed'] or '' }}",
        publish={"Tasks": TASKS},
        doc_md="Writes the doubted items as tasks, with their masks as they are.",
    )
    check >> export
