"""The DAG `promotion`, run by `dag.test()` beside Airflow's own server, where people answer, and the real promoter."""

import contextlib
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import registry_case
import requests
from airflow_server import AirflowServer
from dag_case import DONE, FAILED, ROOT, SKIPPED, Ran, give_up, read_dag, run_dag
from mlflow_server import free_port
from promoter_case import ACCOUNT, DAG, TASK, add_section, enter_workspace, opened

from pipeline import dossier
from pipeline.decisions.entry import Entry

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),  # the first test's includes the start of two servers
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning"),
]

USERS = {"admin": "admin", "alice": "user", "mallory": "user", ACCOUNT: "viewer"}
RUNS = f"dags/{DAG}/dagRuns"
SERVER_FAULT = 500
ASKED = {"question": DONE, TASK: DONE}
PAUSE_S = 3.0  # `dag.test()` notes that it waits a moment after the database says so
Reply = Callable[[str], None]


class AirflowPages(AirflowServer):
    """The web server alone, on the database in which `dag.test()` runs DAGs in this process."""

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        self._environment["AIRFLOW__CORE__PLUGINS_FOLDER"] = os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"]
        with contextlib.closing(sqlite3.connect(self._folder / "airflow.db")) as database:
            database.execute("PRAGMA journal_mode = WAL")  # readers do not wait for writers
        command = self._command("api-server", "--host", "127.0.0.1", "--port", self.url.rpartition(":")[2])
        with (self._folder / "api-server.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(command, env=self._environment, stdout=log, stderr=log, start_new_session=True)
            )
        self.until(self._answers, "the server answers")

    def _said(self) -> str:
        return (self._folder / "api-server.log").read_text(errors="replace")[-4000:]


@dataclass(frozen=True)
class Office:
    """Where people answer, and the DAG that asks them.

    Attributes:
        airflow: Airflow's web server.
        dag: The DAG.
    """

    airflow: AirflowServer
    dag: Any

    def decide(self, *replies: Reply) -> Ran:
        """Runs the DAG about version 1; each time that it asks, the next reply is made in another thread."""
        with ThreadPoolExecutor(1) as pool:
            replied = pool.submit(self._reply, replies)
            ran = run_dag(self.dag, version="1")
            replied.result()
        return ran

    def answer(self, option: str, reason: str) -> Reply:
        """What alice does on the page: she chooses, and says why."""

        def reply(run: str) -> None:
            content = {"chosen_options": [option], "params_input": {"reason": reason}}
            self._insist("alice", "PATCH", f"{RUNS}/{run}/taskInstances/{TASK}/-1/hitlDetails", content)

        return reply

    def forge(self, run: str) -> None:
        """What any user can do: an answer of alice's in XCom, and success for the task that waits."""
        said = {"chosen_options": ["Approve"], "params_input": {"reason": "fine"}, "responded_by_user": {"id": "alice"}}
        path = f"{RUNS}/{run}/taskInstances/{TASK}"
        self._insist("mallory", "POST", f"{path}/xcomEntries", {"key": "return_value", "value": said, "map_index": -1})
        self._insist("mallory", "PATCH", path, {"new_state": "success"})

    def _reply(self, replies: Sequence[Reply]) -> None:
        try:
            for reply in replies:
                self.airflow.until(lambda: bool(self._waiting()), "somebody is asked")
                (run,) = self._waiting()
                time.sleep(PAUSE_S)
                reply(run)
        except BaseException:
            give_up(DAG)
            raise

    def _waiting(self) -> list[str]:
        """The runs whose question waits for an answer."""
        answer = self.airflow.ask("alice", "GET", f"{RUNS}/~/taskInstances?state=awaiting_input")
        return [each["dag_run_id"] for each in answer.json()["task_instances"]] if answer.ok else []

    def _insist(self, user: str, method: str, path: str, content: object) -> None:
        """Sends a request until it is taken: on SQLite two who write at once may make the server stumble."""

        def taken() -> bool:
            answer = self.airflow.ask(user, method, path, content)
            assert answer.ok or answer.status_code >= SERVER_FAULT, f"{path}: {answer.text}"
            return answer.ok

        self.airflow.until(taken, f"{user} may {method} {path}")


@pytest.fixture(scope="module")
def office(bag: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A workspace with version 1 judged, the reviewer alice, Airflow's web server, and the promoter's process."""
    assert bag  # Airflow's database is there
    with pytest.MonkeyPatch.context() as patch:
        enter_workspace(tmp_path_factory.mktemp("promotion"), patch)
        dossier.main("1")
        work = Path.cwd()
        shutil.copy(ROOT / "dvc.yaml", work)  # Airflow reads the other DAGs as well
        for name, value in {
            "SEGLOOP_ROOT": str(work),
            "SEGLOOP_DECISIONS": f"sqlite:///{work / 'decisions.db'}",
            "SEGLOOP_REPORTS_URL": "http://127.0.0.1:9",
            "MLFLOW_TRACKING_URI": f"sqlite:///{work / 'mlflow.db'}",
            "PYTHONPATH": str(ROOT),
        }.items():
            patch.setenv(name, value)
        airflow = AirflowPages(Path(os.environ["AIRFLOW_HOME"]), ROOT / "dags", USERS)
        try:
            airflow.start()
            port = free_port()
            add_section(airflow=airflow.url, port=port)
            with promoter(airflow, port):
                yield Office(airflow, read_dag(DAG))
        finally:
            airflow.stop()


@contextmanager
def promoter(airflow: AirflowServer, port: int) -> Iterator[None]:
    """The promoter's process, its words in promoter.log."""
    with Path("promoter.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "pipeline.promoter"], stdout=log, stderr=log)
    try:
        airflow.until(lambda: _alive(f"http://127.0.0.1:{port}/healthz"), "the promoter answers")
        yield
    finally:
        process.terminate()
        assert process.wait(120) == 0, Path("promoter.log").read_text()


def _alive(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def decided() -> list[Entry]:
    """The decision log."""
    return opened(as_promoter=False).log.entries()


def test_an_answer_that_nobody_gave_promotes_nothing(office: Office) -> None:
    """Success and XCom are forged over the REST API; the promoter finds no answer, and refuses, once and for all."""
    ran = office.decide(office.forge)
    assert ran.states == {**ASKED, "answered": DONE, "promote": FAILED}
    assert ran.tries["promote"] == 1
    assert "champion" not in registry_case.aliases()
    assert [entry.kind for entry in decided()] == ["gate"]


def test_a_rejection_is_recorded_and_promotes_nothing(office: Office) -> None:
    """What comes after an approval is skipped, and the promoter is asked all the same, to put it on the record."""
    ran = office.decide(office.answer("Reject", "pallets look odd"))
    assert ran.states == {**ASKED, "answered": SKIPPED, "promote": DONE}
    assert ran.facts("promote")["outcome"] == "rejected"
    assert "champion" not in registry_case.aliases()
    review = decided()[-1]
    assert (review.kind, review.actor, review.payload["statement"]["decision"]) == ("review", "Alice A.", "reject")
    assert review.payload["statement"]["note"] == "pallets look odd"


def test_an_approval_with_a_reason_makes_the_champion(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """Without one the question is asked again; with one the version serves, by a review that bears alice's name."""
    caplog.set_level(logging.INFO, "segloop.alerts")
    ran = office.decide(office.answer("Approve", " "), office.answer("Approve", "pallets are better"))
    assert ran.states == {**ASKED, "answered": DONE, "promote": DONE}
    assert ran.tries[TASK] == 1
    assert ran.facts("promote")["outcome"] == "promoted"
    assert registry_case.aliases()["champion"] == 1
    review, promotion = decided()[-2:]
    assert (review.kind, review.actor, promotion.kind) == ("review", "Alice A.", "promotion")
    assert review.payload["witness"]["dag_run_id"] == ran.run.run_id
    assert "approved and serves now: segmenter version 1" in caplog.text
    assert "approved by Alice A.: pallets are better" in caplog.text
