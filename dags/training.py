"""Trains on a release of the dataset, in a workspace of its own, and judges the model against the champion.

Woken by a new release, by a `retrain` event, or by hand. The tasks between `begin` and `track` are the stages of
dvc.yaml. The same release with the same code and params is done once: a second run says so and skips. At the end
stands a candidate for review, unless the gate found it wanting; the dossier is written either way.
"""

from typing import Any

from airflow.sdk import Param, PartitionedAssetTimetable, task
from airflow.sdk.exceptions import AirflowFailException

from orchestration import settings
from orchestration.assets import CANDIDATE, DATASET, RETRAIN
from orchestration.command import FAILED_VERDICT, Command
from orchestration.declaration import GPU, declare
from orchestration.job import Job
from orchestration.stages import stages

WORKSPACE = "{{ ti.xcom_pull('begin')['workspace'] }}"
RELEASE = (
    "{{ params.release or (dag_run.partition_key if (dag_run.partition_key or '').startswith('data/') else 'latest') }}"
)
VERSION = "{{ ti.xcom_pull('register')['version'] }}"
PUBLISHED = {"validate": {"Data Docs": "data/validation"}, "evaluate": {"Pictures": "data/evaluation"}}

with declare(
    "training",
    doc=__doc__,
    schedule=PartitionedAssetTimetable(assets=DATASET | RETRAIN),
    tags=["model"],
    max_active_runs=settings.loop()["trainings_at_once"],
    params={
        "release": Param("", type="string", description="The release, such as data/v3; empty takes the newest."),
        "changes": Param(
            [],
            type="array",
            items={"type": "string"},
            description="Params of this run: train.max_epochs=2, one a line.",
        ),
        "launcher": Param(
            settings.launcher(),
            type="string",
            enum=["local", "ray", "kubernetes"],
            description="Where the GPU job runs.",
        ),
    },
) as dag:
    begin = Command(
        task_id="begin",
        module="pipeline.workspace_make",
        words=[RELEASE],
        options={"--set": "{{ params.changes | tojson }}"},
        done_when="finished",
        doc_md="Makes the run's workspace: today's code, the release's data.",
    )
    tasks = {
        name: Job(
            task_id=name,
            stage=name,
            launcher="{{ params.launcher }}",
            folder=WORKSPACE,
            pool=GPU,
            execution_timeout=settings.limit("train"),
            doc_md="The training, as a job that outlives this task.",
        )
        if name == "train"
        else Command(
            task_id=name,
            module="dvc",
            words=["repro", name],
            folder=WORKSPACE,
            publish=PUBLISHED.get(name),
            doc_md=f"The stage `{name}` of dvc.yaml.",
        )
        for name in stages()
    }
    for name, before in stages().items():
        [begin, *(tasks[each] for each in before)] >> tasks[name]

    track = Command(task_id="track", module="pipeline.track", folder=WORKSPACE, link={"MLflow run": "run_url"})
    register = Command(
        task_id="register", module="pipeline.register", folder=WORKSPACE, link={"MLflow version": "version_url"}
    )
    gate = Command(
        task_id="gate",
        module="pipeline.gate",
        words=[VERSION],
        folder=WORKSPACE,
        accept=[FAILED_VERDICT],  # the dossier tells why, before the run fails
        doc_md="Judges the version against the service levels and the champion.",
    )
    dossier = Command(
        task_id="dossier",
        module="pipeline.dossier",
        words=[VERSION],
        folder=WORKSPACE,
        publish={"Dossier": "{dossier}"},
        doc_md="Writes the page that a reviewer looks at before deciding.",
    )
    commit = Command(
        task_id="commit",
        module="pipeline.workspace_commit",
        options={"--version": VERSION, "--verdict": "{{ ti.xcom_pull('gate')['verdict'] }}"},
        folder=WORKSPACE,
        doc_md="Commits dvc.lock and the metrics to the run's branch.",
    )

    @task(outlets=[CANDIDATE])
    def candidate(judged: dict[str, object], version: str, *, outlet_events: Any) -> None:
        """Calls for a review of a version that passed; one that did not ends the run here, in red."""
        if judged["returncode"]:
            raise AirflowFailException(
                f"Version {version} did not pass its gate: {judged['verdict']}. See the dossier."
            )
        outlet_events[CANDIDATE].add_partitions(str(version))

    tasks[list(tasks)[-1]] >> track >> register >> gate >> dossier >> commit >> candidate(gate.output, VERSION)
