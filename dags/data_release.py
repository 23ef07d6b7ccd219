"""Takes annotated batches from the inbox, validates the dataset with them, and releases it.

Runs by schedule and by hand. A batch that is bad goes to `rejected/` and never keeps a good one out: the run ends in
red and alerts, but only after the good ones are released. With nothing new there is no release, and nothing follows.

Each release wakes the DAG `training`, by its tag; also one that was made by hand when Airflow was away. The first time
ever only the newest is announced: an Airflow that is set up beside a project with many releases does not train on all.

To add a folder by hand, give its path, format and name when triggering. Batches with a manifest need nothing.
"""

from typing import Any

from airflow.sdk import Param, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from orchestration import settings
from orchestration.assets import DATASET, REMEMBERED, unannounced
from orchestration.command import FAILED_VERDICT, NO_OPTION, OPTIONAL, Command
from orchestration.declaration import declare

with declare(
    "data_release",
    doc=__doc__,
    schedule=settings.schedule("data_release"),
    tags=["data"],
    max_active_runs=1,  # it changes the dataset of the one checkout
    is_paused_upon_creation=True,  # until there is a dataset of one's own
    params={
        "source": Param(
            None,
            type=OPTIONAL,
            pattern=NO_OPTION,
            description="A folder of images and masks to add; empty takes the inbox only.",
        ),
        "format": Param("folders", type="string", description="Its format: `segloop ingest --help` lists them."),
        "batch": Param(None, type=OPTIONAL, description="The name that the new batch gets."),
        "message": Param(None, type=OPTIONAL, description="What is new in this release, for whoever reads the list."),
    },
) as dag:
    inbox = Command(
        task_id="inbox",
        module="pipeline.inbox",
        # What an earlier try rejected is no longer in the inbox, and that try may have died before it told.
        options={"--since": "{{ dag_run.start_date.isoformat() }}"},
        accept=[FAILED_VERDICT],  # of some batches: the others are released before the run fails
        tells=["rejected"],
        doc_md="Fetches, checks and ingests what waits; tells of every batch rejected since the run began.",
    )
    ingest = Command(
        task_id="ingest",
        module="pipeline.ingest",
        words=["{{ params.source or '' }}"],
        options={"--format": "{{ params.format }}", "--batch": "{{ params.batch or '' }}"},
        when="{{ params.source or '' }}",
        doc_md="Adds the folder that was named by hand, where there is one.",
    )
    validate = Command(
        task_id="validate",
        module="dvc repro",
        words=["prepare"],
        trigger_rule="none_failed",
        publish={"Data Docs": "data/validation/docs"},
        doc_md="Judges every item and the dataset, and lists the holdout that versions are judged on from now.",
    )
    release = Command(
        task_id="release",
        module="pipeline.release",
        options={"--message": "{{ params.message or ('Scheduled release of ' ~ run_id) }}"},
        tells=["releases"],
        doc_md="Pushes, verifies on the remote, commits and tags `data/vN`.",
    )

    @task(inlets=[DATASET], outlets=[DATASET], trigger_rule="none_failed")
    def announce(facts: dict[str, list[str]], *, inlet_events: Any, outlet_events: Any) -> None:
        """Wakes the training on the newest release and on those since the first that was ever announced, once each."""
        told = [event.partition_key for event in inlet_events[DATASET].ascending(False).limit(REMEMBERED)]
        missing = unannounced(facts["releases"], told)
        if not missing:
            raise AirflowSkipException("Nothing is new: every release was announced before.")
        outlet_events[DATASET].add_partitions(missing)

    @task
    def judge_batches(taken: dict[str, Any]) -> None:
        """Ends the run in red when batches were rejected, so that somebody is told; the good ones are released."""
        if taken["returncode"]:
            raise AirflowFailException(
                f"Rejected: {', '.join(taken['rejected'])}. The log of `inbox` and their report.json say why."
            )

    inbox >> ingest >> validate >> release
    announce(release.output)
    judge_batches(inbox.output)  # beside the release, so that it tells whatever becomes of that
