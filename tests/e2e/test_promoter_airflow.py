"""The promoter before a real Airflow: answers that count, and forgeries that any user of Airflow can make."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import registry_case
import requests
from airflow_server import AirflowServer, airflow_server
from mlflow_server import free_port
from promoter_case import ACCOUNT, DAG, SETTINGS, TASK, add_section, enter_workspace, opened

from pipeline import audit, promotion_ask, verify
from pipeline.approval_text import question
from pipeline.gating.verdict import Verdict
from pipeline.promotions.airflow import Airflow
from pipeline.promotions.answer import Answer
from pipeline.promotions.evidence import LAPSED, Expected, checked_answer
from pipeline.promotions.settings import PromoterParams
from pipeline.review import Decision

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]

ROOT = Path(__file__).resolve().parent.parent.parent
USERS = {"admin": "admin", "alice": "user", "mallory": "user", ACCOUNT: "viewer"}
# Who answers what to the runs whose answer is no forgery.
ANSWERS = {
    "changed": ("alice", "Approve", "looks right"),
    "mallory": ("mallory", "Approve", "trust me"),
    "blank": ("alice", "Approve", " "),
    "prefilled": ("alice", "Approve", "prefilled"),
    "rejected": ("alice", "Reject", "pallets look odd"),
    "approved": ("alice", "Approve", "pallets are better"),
}
RUN_NAMES = ("success", "xcom", *ANSWERS)
RUNS = f"dags/{DAG}/dagRuns"
# What the project's own DAG does around the question is left out: the text is a variable with the name of the run.
SOURCE = """
from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Param, PartitionedAtRuntime

for name, patience in (("promotion", None), ("lapsing", timedelta(seconds=1))):
    with DAG(name, schedule=PartitionedAtRuntime()):
        approve = ApprovalOperator(
            task_id="approve",
            subject="May segmenter version 1 serve?",
            body="{{ var.value[run_id] }}",
            params={"reason": Param("", type="string")},
            defaults="Reject",
            assigned_users=[{"id": "alice", "name": "alice"}, {"id": "mallory", "name": "mallory"}],
            response_timeout=patience,
            retries=3,
            retry_delay=timedelta(seconds=1),
        )
        # A rejection skips what follows directly; what asks the promoter must run all the same.
        approve >> EmptyOperator(task_id="answered") >> EmptyOperator(task_id="ask", trigger_rule="all_done")
"""


@pytest.fixture
def airflow(tmp_path: Path) -> Iterator[AirflowServer]:
    """An Airflow with the DAG."""
    dags, home = tmp_path / "dags", tmp_path / "airflow"
    dags.mkdir()
    home.mkdir()
    (dags / "promotion.py").write_text(SOURCE)
    with airflow_server(home, dags, USERS) as server:
        yield server


@pytest.fixture
def promoter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow: AirflowServer) -> Iterator[str]:
    """A workspace with version 1 judged, the reviewer alice, and the promoter's process, whose output is the log."""
    enter_workspace(tmp_path, monkeypatch)
    port = free_port()
    add_section(airflow=airflow.url, port=port)
    command = [sys.executable, "-m", "pipeline.promoter"]
    with Path("promoter.log").open("wb") as log:
        process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    airflow.until(lambda: _alive(url), "the promoter answers")
    yield url
    process.terminate()
    assert process.wait(60) == 0, Path("promoter.log").read_text()


def test_only_a_reviewers_own_answer_promotes(airflow: AirflowServer, promoter: str) -> None:
    """Forged success, forged XCom, another text, strangers, reasons blank or prefilled are refused; alice's count."""
    _ask_all(airflow)
    _forge(airflow)
    for run in set(ANSWERS) - {"approved"}:
        _respond(airflow, run, *ANSWERS[run])
    for run in RUN_NAMES:  # the approval last, or a rejection that is given again would be the later word
        if run == "approved":
            _respond(airflow, run, *ANSWERS[run])
        airflow.until(lambda run=run: _is_taken(airflow, run), f"the answer to run '{run}' was taken")
    found = {run: _ask(promoter, run) for run in RUN_NAMES if run != "approved"}
    assert {run: each.outcome for run, each in found.items()} == {
        **dict.fromkeys(("success", "xcom", "changed", "mallory", "blank", "prefilled"), "refused"),
        "rejected": "rejected",
    }
    assert "Nobody has answered" in found["success"].reason
    assert "Nobody has answered" in found["xcom"].reason
    assert "body that was shown" in found["changed"].reason
    assert "'mallory' is not on the allow-list" in found["mallory"].reason
    assert "gives no reason" in found["blank"].reason
    assert "nothing but 'version'" in found["prefilled"].reason
    assert Airflow(PromoterParams(**{**SETTINGS, "airflow": airflow.url})).asked("prefilled").params["reason"]["value"]
    assert "champion" not in registry_case.aliases()
    assert _lapse(airflow) == (Decision.REJECT, "", LAPSED)
    with ThreadPoolExecutor(2) as pool:
        both = sorted(each.outcome for each in pool.map(lambda _: _ask(promoter, "approved"), range(2)))
    assert both == ["already", "promoted"]
    assert registry_case.aliases()["champion"] == 1
    airflow.until(lambda: _state(airflow, "rejected", "ask") == "success", "what follows a rejection ran")
    assert [entry.kind for entry in _log()] == ["gate", "review", "review", "promotion"]
    audit.main()
    verify.main("1")
    said = Path("promoter.log").read_text()
    assert "password of" not in said
    assert "Bearer" not in said


def _ask_all(airflow: AirflowServer) -> None:
    """Starts every run, and waits until its question is asked."""
    for dag in (DAG, "lapsing"):
        airflow.until(lambda dag=dag: airflow.ask("admin", "GET", f"dags/{dag}").ok, "the DAG is there")
    body = _question().body
    for run in RUN_NAMES:
        _start(airflow, DAG, run, body.replace("at least", "at most") if run == "changed" else body)
    _start(airflow, "lapsing", "late", body)
    for run in RUN_NAMES:
        airflow.until(lambda run=run: _state(airflow, run) == "awaiting_input", f"run '{run}' asks")


def _forge(airflow: AirflowServer) -> None:
    """Sets tasks to success by hand, one with an answer among its XComs, as mallory may do."""
    forged = {"chosen_options": ["Approve"], "params_input": {"reason": "fine"}, "responded_by_user": {"id": "alice"}}
    xcom = {"key": "return_value", "value": forged, "map_index": -1}
    airflow.told("mallory", "POST", f"{RUNS}/xcom/taskInstances/{TASK}/xcomEntries", xcom)
    for run in ("success", "xcom"):
        airflow.told("mallory", "PATCH", f"{RUNS}/{run}/taskInstances/{TASK}", {"new_state": "success"})


def _start(airflow: AirflowServer, dag: str, run: str, body: str) -> None:
    """Starts a run about version 1: by its partition key, as the asset of a candidate does, or by its conf."""
    airflow.told("admin", "POST", "variables", {"key": run, "value": body})
    named: dict[str, object] = {"partition_key": "1"} if run == "approved" else {"conf": {"version": "1"}}
    if run == "prefilled":
        named = {"conf": {"version": "1", "reason": "prefilled"}}
    airflow.told("alice", "POST", f"dags/{dag}/dagRuns", {"dag_run_id": run, "logical_date": None, **named})


def _lapse(airflow: AirflowServer) -> tuple[Decision, str, str]:
    """What the promoter makes of a question that nobody has answered in time."""
    client = Airflow(PromoterParams(**{**SETTINGS, "dag": "lapsing", "airflow": airflow.url}))
    airflow.until(lambda: client.asked("late").response_received, "time has run out")
    expected = Expected("lapsing", "late", TASK, _question(), _log()[0].at)
    answered = checked_answer(client.asked("late"), expected, {})
    return answered.decision, answered.reviewer, answered.note


def _question():  # noqa: ANN202 - the text's own type
    entry = _log()[0]
    return question(Verdict.model_validate(entry.payload["verdict"]), entry.sequence, "")


def _log():  # noqa: ANN202 - entries
    return opened().log.entries()


def _ask(url: str, run: str) -> Answer:
    settings = PromoterParams(**{**SETTINGS, "port": int(url.rpartition(":")[2])})
    return promotion_ask.ask(settings, run)


def _respond(airflow: AirflowServer, run: str, user: str, option: str, reason: str) -> None:
    answer = {"chosen_options": [option], "params_input": {"reason": reason}}
    airflow.told(user, "PATCH", f"{RUNS}/{run}/taskInstances/{TASK}/-1/hitlDetails", answer)


def _is_taken(airflow: AirflowServer, run: str) -> bool:
    """Whether the task went on; answers once more where it asks once more.

    Airflow's scheduler takes the end of the process that asked for a failure of the task when the answer comes before
    it has heard of that end, within seconds of the question: the task is tried again, and the answer is forgotten.
    """
    if _state(airflow, run) == "awaiting_input":
        asked = airflow.ask("admin", "GET", f"{RUNS}/{run}/taskInstances/{TASK}/-1/hitlDetails")
        if asked.ok and not asked.json()["response_received"]:
            _respond(airflow, run, *ANSWERS[run])
    return _state(airflow, run) == "success"


def _state(airflow: AirflowServer, run: str, task: str = TASK) -> str | None:
    answer = airflow.ask("admin", "GET", f"{RUNS}/{run}/taskInstances/{task}")
    return str(answer.json()["state"]) if answer.ok else None


def _alive(url: str) -> bool:
    try:
        return requests.get(f"{url}/healthz", timeout=5).ok
    except requests.RequestException:
        return False
