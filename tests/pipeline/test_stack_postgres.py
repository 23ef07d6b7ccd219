"""Tests of the databases on a Postgres server, with a real one."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import sqlalchemy
from mlflow_server import free_port
from stack_case import running_stack

from pipeline.errors import OutageError, UserError
from pipeline.stack.postgres import make_databases
from pipeline.stack.settings import postgres_url


@pytest.fixture
def postgres() -> Iterator[str]:
    """A real Postgres in a folder of its own, on a port of the loopback device, with a password."""
    found = shutil.which("postgres")
    if found is None or find_spec("psycopg") is None:
        pytest.skip("needs the Postgres server's binaries and psycopg")
    if os.getuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("Postgres does not run as root, and there is no runuser")
    folder, port = Path(tempfile.mkdtemp(prefix="pg.")), free_port()
    (folder / "password").write_text("s3cret word\n")
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
        shutil.chown(folder / "password", "postgres")

    def call(program: str, *words: str) -> None:
        as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*as_user, str(Path(found).resolve().parent / program), "-D", str(folder / "data"), *words]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)

    try:
        call("initdb", "-A", "scram-sha-256", "-U", "loop", "--pwfile", str(folder / "password"))
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -k {folder} -c fsync=off"
        call("pg_ctl", "-w", "-o", options, "-l", str(folder / "server.log"), "start")
        yield f"postgresql://loop:s3cret%20word@127.0.0.1:{port}"
        call("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def test_missing_databases_are_made(postgres: str) -> None:
    """The first time all three, then the one that is gone, then none; each can be used."""
    assert make_databases(postgres) == ["airflow", "mlflow", "segloop"]
    engine = sqlalchemy.create_engine(postgres_url(postgres, "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("DROP DATABASE mlflow"))
    engine.dispose()
    assert make_databases(postgres) == ["mlflow"]
    assert make_databases(postgres) == []
    engine = sqlalchemy.create_engine(postgres_url(postgres, "segloop"))
    with engine.connect() as connection:
        assert connection.scalar(sqlalchemy.text("SELECT current_database()")) == "segloop"
    engine.dispose()


def test_a_server_that_lets_nobody_in_is_told_without_the_password(postgres: str) -> None:
    """A wrong password is the user's mistake, a server that is away an outage; both name the setting."""
    wrong = postgres.replace("s3cret%20word", "wrong-word")
    for server, fault in ((wrong, UserError), ("postgresql://loop:wrong-word@127.0.0.1:1", OutageError)):
        with pytest.raises(fault, match="SEGLOOP_POSTGRES") as caught:
            make_databases(server)
        assert "wrong-word" not in str(caught.value)


@pytest.mark.e2e
def test_a_stack_runs_on_postgres(postgres: str) -> None:
    """All of Airflow and MLflow are healthy on it, no SQLite file is made, and no log has the password."""
    folder = Path(tempfile.mkdtemp(prefix="stack."))
    settings = {"SEGLOOP_POSTGRES": postgres, "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True"}
    try:
        with running_stack(folder, environment=settings) as stack:
            assert stack.status().returncode == 0
            files = [file for pattern in ("*.db", ".segloop/*/*.db") for file in stack.root.glob(pattern)]
            assert files == []
            logs = [file.read_text(errors="replace") for file in (stack.root / ".segloop").rglob("*.log")]
            assert [text for text in logs if "s3cret" in text] == []
    finally:
        shutil.rmtree(folder)
