"""Tests of a stack's settings: ports, databases, and what is wrong with them."""

from pathlib import Path

import pytest
import sqlalchemy
from stack_case import STACK

from pipeline.errors import UserError
from pipeline.params import parse
from pipeline.stack.settings import Stack, StackParams, make_stack, postgres_url

PARAMS = parse(StackParams, STACK, "test")


def stack(offset: int | None = None, **environment: str) -> Stack:
    """A stack of a checkout that is nowhere."""
    return make_stack(Path("/checkout"), PARAMS, environment, offset=offset)


def test_databases_are_files_of_the_checkout_by_default() -> None:
    """MLflow's and the decisions' are those that commands use without a stack."""
    assert stack().database("airflow") == "sqlite:////checkout/.segloop/airflow/airflow.db"
    assert stack().database("mlflow") == "sqlite:////checkout/mlflow.db"
    assert stack().database("segloop") == "sqlite:////checkout/decisions.db"


def test_one_setting_puts_all_databases_on_postgres() -> None:
    """Each gets its name on the server, by the driver that is there, with the password as it was quoted."""
    made = stack(SEGLOOP_POSTGRES="postgresql://ada:p%40ss@db:5433?sslmode=require")
    for name in ("airflow", "mlflow", "segloop"):
        url = sqlalchemy.make_url(made.database(name))
        assert (url.drivername, url.database, url.password) == ("postgresql+psycopg", name, "p@ss")
        assert (url.host, url.port, url.query) == ("db", 5433, {"sslmode": "require"})


def test_a_socket_of_postgres_can_be_named() -> None:
    """A server that is reached by a socket has its folder among the options."""
    url = sqlalchemy.make_url(postgres_url("postgresql://log@/?host=/run/pg", "mlflow"))
    assert (url.username, url.host, url.database, url.query) == ("log", None, "mlflow", {"host": "/run/pg"})


@pytest.mark.parametrize(
    "server", ["mysql://u:secret@h", "postgresql://u:secret@h/mine", "postgresql://u:secret@h:port", "nonsense"]
)
def test_what_is_no_server_of_postgres_is_refused_without_its_password(server: str) -> None:
    """Another dialect, a database in the address, a port that is none: each says what to write."""
    with pytest.raises(UserError, match="postgresql://user:password@host:port") as caught:
        stack(SEGLOOP_POSTGRES=server)
    assert "secret" not in str(caught.value)


def test_the_offset_shifts_every_port() -> None:
    """The option goes before the environment."""
    shifted = stack(SEGLOOP_PORT_OFFSET="100")
    assert [shifted.port(name) for name in ("airflow", "mlflow", "promoter", "reports")] == [8180, 5100, 8190, 8191]
    assert stack(3, SEGLOOP_PORT_OFFSET="100").url("mlflow") == "http://127.0.0.1:5003"


@pytest.mark.parametrize("offset", ["-5000", "60000", "many"])
def test_an_offset_that_leads_nowhere_is_refused(offset: str) -> None:
    """Ports beyond the range, and what is no number."""
    with pytest.raises(UserError, match="SEGLOOP_PORT_OFFSET"):
        stack(SEGLOOP_PORT_OFFSET=offset)


def test_two_processes_on_one_port_are_refused() -> None:
    """The message names both."""
    params = parse(StackParams, STACK | {"mlflow_port": 8080}, "test")
    with pytest.raises(UserError, match="airflow and mlflow have the same port 8080"):
        make_stack(Path("/checkout"), params, {})
