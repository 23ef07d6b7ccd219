"""Tests of what a stack's processes are started with: words, addresses, and to each only its own secrets."""

import os
from pathlib import Path

import pytest
import sqlalchemy
from stack_case import STACK

from pipeline.params import parse
from pipeline.stack.accounts import Secrets, passwords_file
from pipeline.stack.processes import AIRFLOW, NAMES, Process, processes
from pipeline.stack.settings import Stack, StackParams, make_stack

SECRETS = Secrets({name: f"password of {name}" for name in ("admin", "reviewer", "viewer", "promoter")}, "J", "S", "F")
GIVEN = {
    "PATH": "/bin",
    "AIRFLOW_CONN_SMTP": "smtp://h",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3",
    "AIRFLOW__API_AUTH__JWT_SECRET": "another",
    "PYTHONDONTWRITEBYTECODE": "1",
    "DVC_ROOT": "/another",
    "MLFLOW_TRACKING_URI": "http://another",
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without keys."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SEGLOOP_PROMOTER_KEY", raising=False)


def listed(**environment: str) -> dict[str, Process]:
    """The processes of a stack whose ports are shifted by 7."""
    stack = make_stack(Path("/checkout"), parse(StackParams, STACK, "test"), environment, offset=7)
    return {each.name: each for each in processes(stack, SECRETS, GIVEN | environment)}


def test_every_process_is_listed_unless_it_is_left_out() -> None:
    """Names are unique, in the order in which they start."""
    assert list(listed()) == list(NAMES)
    stack = Stack(Path("/checkout"), parse(StackParams, STACK, "test"), without=frozenset({"promoter", "mlflow"}))
    assert [each.name for each in processes(stack, SECRETS, GIVEN)] == [*AIRFLOW, "reports"]


def test_every_process_knows_where_the_others_are() -> None:
    """Addresses follow the ports; the stack's mark leads back to its root."""
    for process in listed().values():
        environment = process.environment
        assert environment["SEGLOOP_STACK"] == environment["SEGLOOP_ROOT"] == "/checkout"
        assert environment["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5007"
        assert environment["SEGLOOP_PROMOTER_URL"] == "http://127.0.0.1:8097"
        assert environment["SEGLOOP_REPORTS_URL"] == "http://127.0.0.1:8098"
        assert environment["SEGLOOP_DECISIONS"] == "sqlite:////checkout/decisions.db"
        assert {"PYTHONDONTWRITEBYTECODE", "DVC_ROOT"} & set(environment) == set()


def test_the_scheduler_waits_for_the_api_that_tasks_need() -> None:
    """A task that is due at the start would find no API, and lose a try."""
    assert listed()["scheduler"].after == "http://127.0.0.1:8087/execution/health"
    stack = Stack(Path("/checkout"), parse(StackParams, STACK, "test"), without=frozenset({"api-server"}))
    assert {each.name: each.after for each in processes(stack, SECRETS, GIVEN)}["scheduler"] is None


def test_airflow_takes_connections_and_habits_from_outside_and_no_wiring() -> None:
    """A connection passes through, an interval may be changed, and the secret that all share is the stack's."""
    environment = listed()["scheduler"].environment
    assert environment["AIRFLOW_CONN_SMTP"] == "smtp://h"
    assert environment["AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL"] == "3"
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8087/execution/"
    assert environment["AIRFLOW__API_AUTH__JWT_SECRET"] == SECRETS.jwt
    assert environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] == (
        "admin:admin,reviewer:user,viewer:viewer,promoter:viewer"
    )


def test_nobody_gets_the_secrets_of_another() -> None:
    """Airflow's stay with Airflow, passwords are in nobody's environment, and no command line has a secret."""
    for process in listed().values():
        values = set(process.environment.values())
        assert values & set(SECRETS.passwords.values()) == set()
        assert (values & {"J", "S", "F"} != set()) == (process.name in AIRFLOW)
        assert set(process.command) & set(SECRETS.values()) == set()
        assert ("AIRFLOW_CONN_SMTP" in process.environment) == (process.name in AIRFLOW)


def test_only_the_promoter_is_told_where_the_key_is() -> None:
    """All others are sandboxed, and look for the key in vain."""
    for process in listed(SEGLOOP_PROMOTER_KEY=os.environ["HOME"] + "/vault/key.pem").values():
        named = process.environment["SEGLOOP_PROMOTER_KEY"]
        apart = process.name == "promoter"
        assert ("pipeline.stack.sandbox" not in process.command) == apart
        assert named.endswith("/vault/key.pem") == apart


def test_only_airflows_web_server_can_read_passwords() -> None:
    """It checks them and runs no task; tasks run in the others, or could be reached from them."""
    passwords = passwords_file(Stack(Path("/checkout"), parse(StackParams, STACK, "test")))
    sandboxed = [each for each in listed().values() if each.name != "promoter"]
    open_to = [
        each.name for each in sandboxed if not any(passwords.is_relative_to(word) for word in each.command if word)
    ]
    assert open_to == ["api-server"]


def test_postgres_serves_airflow_in_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's two addresses name one driver; MLflow has its own database."""
    monkeypatch.setenv("SEGLOOP_POSTGRES", "postgresql://u@h:1")
    made = listed(SEGLOOP_POSTGRES="postgresql://u@h:1")
    environment = made["scheduler"].environment
    names = ("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC")
    urls = {environment[name] for name in names}
    assert urls == {"postgresql+psycopg://u@h:1/airflow"}
    assert sqlalchemy.make_url(made["mlflow"].environment["SEGLOOP_DECISIONS"]).database == "segloop"
    assert made["mlflow"].environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql+psycopg://u@h:1/mlflow"


def test_the_promoter_waits_for_mlflow() -> None:
    """It ends where MLflow does not answer, and MLflow takes longer to start."""
    assert listed()["promoter"].after == "http://127.0.0.1:5007/health"
