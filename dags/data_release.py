"""Takes annotated batches from the inbox, validates the dataset with them, and releases it.

Runs by schedule and by hand. A batch that is bad goes to `rejected/` and never keeps a good one out; with nothing new
there is no release, and nothing follows. Each release wakes the DAG `training`, by its tag.

To add a folder by hand, give its path, format and name when triggering. Batches with a manifest need nothing.
"""

from typing import Any

from airflow.sdk import Param, task
from airflow.sdk.exceptions import AirflowSkipException

from orchestration import settings
from orchestration.assets import DATASET
from orchestration.command import Command
from orchestration.declaration import declare

REMEMBERED = 100  # events looked back on

with declare(
    "data_release",
    doc=__doc__,
    schedule=settings.schedule("data_release"),
    tags=["data"],
    max_active_runs=1,  # it changes the dataset of the one checkout
    is_paused_upon_creation=True,  # until there is a dataset of one's own
    params={
        "source": Param(
            "", type="string", description="A folder of images and masks to add; empty takes the inbox only."
        ),
        "format": Param("folders", type="string", description="Its format: `segloop ingest --help` lists them."),
        "batch": Param("", type="string", description="The name that the new batch gets."),
        "message": Param("", type="string", description="What is new in this release, for whoever reads the list."),
    },
) as dag:
    inbox = Command(task_id="inbox", module="pipeline.inbox", doc_md="Fetches, checks and ingests what waits.")
    ingest = Command(
        task_id="ingest",
        module="pipeline.ingest",
        words=["{{ params.source }}"],
        options={"--format": "{{ params.format }}", "--batch": "{{ params.batch }}"},
        when="{{ params.source }}",
        doc_md="Adds the folder that was named by hand, where there is one.",
    )
    validate = Command(
        task_id="validate",
        module="dvc",
        words=["repro", "prepare"],
        trigger_rule="none_failed",
        publish={"Data Docs": "data/validation"},
        doc_md="Judges every item and the dataset, and lists the holdout that versions are judged on from now.",
    )
    release = Command(
        task_id="release",
        module="pipeline.release",
        options={"--message": "{{ params.message or ('Scheduled release of ' ~ run_id) }}"},
        doc_md="Pushes, verifies on the remote, commits and tags `data/vN`.",
    )

    @task(inlets=[DATASET], outlets=[DATASET], trigger_rule="none_failed")
    def announce(facts: dict[str, str], *, inlet_events: Any, outlet_events: Any) -> None:
        """Wakes the training on the newest release, unless it was announced: also after a crash in between."""
        release = facts.get("release")
        told = {event.extra.get("release") for event in inlet_events[DATASET].ascending(False).limit(REMEMBERED)}
        if not release or release in told:
            raise AirflowSkipException(f"{release or 'No release'}: announced before, nothing is new.")
        outlet_events[DATASET].extra = {"release": release}
        outlet_events[DATASET].add_partitions(release)

    inbox >> ingest >> validate >> release
    announce(release.output)
