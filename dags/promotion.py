"""Asks a reviewer about a candidate, and has it promoted when the answer says so.

The question shows the verdict and the measured table, and links to the dossier. No answer in time is a rejection. What
is answered here is only a wish: the promoter, a process of its own that alone can read the promotion key, reads the
answer from Airflow's API, checks who gave it and what was shown, judges the gate anew, and only then promotes.
"""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, PartitionedAssetTimetable

from orchestration import alerts, settings
from orchestration.approval import REASON, ReasonedApproval
from orchestration.assets import CANDIDATE
from orchestration.command import NO_OPTION, OPTIONAL, Command
from orchestration.declaration import declare

with declare(
    "promotion",
    doc=__doc__,
    schedule=PartitionedAssetTimetable(assets=CANDIDATE),
    is_paused_upon_creation=False,  # an event that finds it paused is lost
    max_active_runs=1000,  # questions wait for people at no cost; the event of a run that cannot start is unreadable
    tags=["model", "review"],
    params={
        "version": Param(
            None,
            type=OPTIONAL,
            pattern=NO_OPTION,
            description="The version's number; empty takes that of the event.",
        )
    },
) as dag:
    question = Command(
        task_id="question",
        module="pipeline.approval",
        words=["{{ params.version or dag_run.partition_key or '' }}"],
        options={"--reports": str(settings.root() / ".segloop/reports")},
        tells=["subject", "body"],
        link={"Dossier": "dossier_url"},
        doc_md="Says what is to be decided, from the decision log.",
    )
    approve = ReasonedApproval(
        task_id="approve",
        subject="{{ ti.xcom_pull('question')['subject'] }}",
        body="{{ ti.xcom_pull('question')['body'] }}",
        params={REASON: Param("", type="string", description="Why; an approval without a reason is asked again.")},
        assigned_users=[{"id": name, "name": name} for name in settings.reviewers()],
        defaults=ReasonedApproval.REJECT,
        response_timeout=settings.limit("approval"),
        execution_timeout=None,
        retry_delay=0,
        doc_md="Waits for a reviewer, at no cost.",
    )
    answered = EmptyOperator(task_id="answered", doc_md="Skipped by a rejection, which is recorded all the same.")
    promote = Command(
        task_id="promote",
        module="pipeline.promotion_ask",
        words=["{{ run_id }}"],
        tells=["outcome"],
        trigger_rule="all_done",
        on_success_callback=alerts.Outcome(),
        doc_md="Has the promoter read the answer, and do what it says; whoever is alerted of failures hears of it.",
    )
    question >> approve >> answered >> promote
