"""Trains on a release of the dataset, in a workspace of its own, and judges the model against the champion.

Woken by a new release, by a `retrain` event, or by hand. A `retrain` event asks for the newest release with today's
code and params; its partition key, which it must have, is an id of the evidence. The tasks between `begin` and `track`
are the stages of dvc.yaml. The same release with the same code and params is done once: a second run says so and skips,
also beside a first that is still at it. At the end stands a candidate for review, unless the gate found it wanting; the
dossier is written either way. Where the model is the one that serves already, there is nothing to judge: that is
recorded, and all is well.
"""

from typing import Any

from airflow.sdk import Param, PartitionedAssetTimetable, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from orchestration import settings
from orchestration.assets import CANDIDATE, DATASET, REMEMBERED, RETRAIN
from orchestration.begin import Begin
from orchestration.command import FAILED_VERDICT, NO_OPTION, OPTIONAL, Command
from orchestration.declaration import GPU, declare
from orchestration.job import Job
from orchestration.stages import stages

WORKSPACE = "{{ ti.xcom_pull('begin')['workspace'] }}"
RELEASE = (
    "{{ params.release or (dag_run.partition_key if (dag_run.partition_key or '').startswith('data/') else 'latest') }}"
)
VERSION = "{{ ti.xcom_pull('register')['version'] }}"
IS_CHAMPION = "(ti.xcom_pull('register') or {}).get('is_champion')"
VERDICT = "(ti.xcom_pull('gate') or {}).get('verdict', '')"
# Where the task failed or was cleared, there is no address, and no link.
RUN_PAGE = {"MLflow run": "{{ (ti.xcom_pull('track') or {}).get('run_url') or '' }}"}
VERSION_PAGE = {"MLflow version": "{{ (ti.xcom_pull('register') or {}).get('version_url') or '' }}"}
PUBLISHED = {
    "validate": {"Data Docs": "data/validation/docs"},
    "evaluate": {"Pictures": "data/evaluation/gallery", "Figures": "data/evaluation"},
}

with declare(
    "training",
    doc=__doc__,
    schedule=PartitionedAssetTimetable(assets=DATASET | RETRAIN),
    is_paused_upon_creation=False,  # an event that finds it paused is lost
    tags=["model"],
    max_active_runs=settings.loop()["trainings_at_once"],
    params={
        "release": Param(
            None,
            type=OPTIONAL,
            pattern=NO_OPTION,
            description="The release, such as data/v3; empty takes the newest.",
        ),
        "changes": Param(
            [],
            type="array",
            items={"type": "string"},
            description="Params of this run: train.max_epochs=2, one a line.",
        ),
        "launcher": Param(
            None,
            type=OPTIONAL,
            enum=[None, "local", "ray", "kubernetes"],
            description=f"Where the GPU job runs; empty: jobs.launcher, in params.yaml {settings.launcher()}.",
        ),
    },
) as dag:
    begin = Begin(
        task_id="begin",
        module="pipeline.workspace_make",
        words=[RELEASE],
        options={"--owner": "{{ run_id }}", "--set": "{{ (params.changes or []) | tojson }}"},
        lists=["--set"],
        tells=["workspace", "finished"],
        done_when="finished",
        doc_md="Makes the run's workspace: today's code, the release's data.",
    )
    tasks = {
        name: Job(
            task_id=name,
            stage=name,
            launcher="{{ params.launcher or '' }}",
            folder=WORKSPACE,
            pool=GPU,
            execution_timeout=settings.limit("train"),
            doc_md="The training, as a job that outlives this task.",
        )
        if name == "train"
        else Command(
            task_id=name,
            module="dvc repro",
            words=[name],
            folder=WORKSPACE,
            publish=PUBLISHED.get(name),
            doc_md=f"The stage `{name}` of dvc.yaml.",
        )
        for name in stages()
    }
    for name, before in stages().items():
        ([tasks[each] for each in before] or begin) >> tasks[name]  # one edge each, for whoever reads the graph

    track = Command(
        task_id="track",
        module="pipeline.track",
        folder=WORKSPACE,
        link={"MLflow run": "run_url"},
        doc_md="Records the training in MLflow: its settings, curves, figures, and the dataset that it was made of.",
    )
    register = Command(
        task_id="register",
        module="pipeline.register",
        folder=WORKSPACE,
        tells=["version"],
        link={"MLflow version": "version_url"},
        see=RUN_PAGE,
        doc_md="Registers the model with its evaluation as a version in MLflow; one that is there already is found.",
    )
    gate = Command(
        task_id="gate",
        module="pipeline.gate",
        words=[VERSION],
        folder=WORKSPACE,
        when=f"{{{{ '' if {IS_CHAMPION} else 'judge' }}}}",
        accept=[FAILED_VERDICT],  # the dossier tells why, before the run fails
        tells=["verdict", "gate_digest"],
        see=RUN_PAGE | VERSION_PAGE,
        doc_md="Judges the version against the service levels and the champion, unless it is the champion itself.",
    )
    dossier = Command(
        task_id="dossier",
        module="pipeline.dossier",
        words=[VERSION],
        folder=WORKSPACE,
        tells=["dossier"],
        publish={"Dossier": "{dossier}"},
        see=RUN_PAGE | VERSION_PAGE,
        doc_md="Writes the page that a reviewer looks at before deciding.",
    )

    @task(inlets=[CANDIDATE], outlets=[CANDIDATE])
    def candidate(judged: dict[str, Any], *, inlet_events: Any, outlet_events: Any) -> None:
        """Calls for a review of a version that passed, once for each verdict on it."""
        event = {"version": str(judged["version"]), "gate_digest": judged["gate_digest"]}
        if judged["returncode"]:
            raise AirflowSkipException(f"Version {judged['version']} is no candidate: {judged['verdict']}.")
        if event in [each.extra for each in inlet_events[CANDIDATE].ascending(False).limit(REMEMBERED)]:
            raise AirflowSkipException(
                f"A review of version {judged['version']} by this verdict was called for before."
            )
        outlet_events[CANDIDATE].extra = event
        outlet_events[CANDIDATE].add_partitions(event["version"])

    # After `candidate`: a run that is recorded as finished is never run again, and its version would not be announced.
    commit = Command(
        task_id="commit",
        module="pipeline.workspace_commit",
        options={
            "--version": VERSION,
            "--verdict": f"{{{{ {VERDICT} }}}}",
            "--note": f"{{{{ 'This model is the champion already.' if {IS_CHAMPION} else '' }}}}",
        },
        folder=WORKSPACE,
        trigger_rule="none_failed_min_one_success",
        tells=["branch"],
        doc_md="Commits dvc.lock and the metrics to the run's branch, however the gate judged.",
    )

    @task
    def judge(judged: dict[str, Any]) -> None:
        """Ends the run in red when the version did not pass its gate."""
        if judged["returncode"]:
            raise AirflowFailException(
                f"Version {judged['version']} did not pass its gate: {judged['verdict']}. See the dossier."
            )

    tasks[list(tasks)[-1]] >> track >> register >> gate >> dossier >> candidate(gate.output) >> commit
    register >> commit >> judge(gate.output)
