"""A real Airflow in processes of its own: web server, scheduler and DAG processor on SQLite, for one folder of DAGs."""

import contextlib
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from mlflow_server import HOST, free_port

PATIENCE_S = 240  # with cold byte code on a busy machine a start takes minutes
STOP_S = 30
COMPONENTS = ("api-server", "scheduler", "dag-processor")


class AirflowServer:
    """An Airflow that runs.

    Args:
        folder: An empty folder.
        dags: The folder of DAGs.
        users: Role by user name; the password is `password of NAME`.
    """

    def __init__(self, folder: Path, dags: Path, users: Mapping[str, str]) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"http://{HOST}:{self._port}"
        passwords = folder / "passwords.json"
        passwords.write_text(json.dumps({user: password(user) for user in users}))
        settings = {
            "CORE__DAGS_FOLDER": dags,
            "CORE__LOAD_EXAMPLES": False,
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": 2,
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in users.items()),
            "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": passwords,
            "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
            "DAG_PROCESSOR__REFRESH_INTERVAL": 5,
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 5,
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.1,
            "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": 1,
            "SCHEDULER__ENABLE_HEALTH_CHECK": False,
            "API_AUTH__JWT_SECRET": secrets.token_hex(64),
            "API__SECRET_KEY": secrets.token_hex(32),
            "API__BASE_URL": self.url,
            "API__WORKERS": 1,
            "LOGGING__BASE_LOG_FOLDER": folder / "logs",
            "LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
            "LOGGING__TRIGGER_LOG_SERVER_PORT": free_port(),
        }
        ours = {key: text for key, text in os.environ.items() if not key.startswith(("AIRFLOW", "PYTHONDONTWRITE"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {f"AIRFLOW__{key}": str(value) for key, value in settings.items()}
        self._environment = ours | own | {"AIRFLOW_HOME": str(folder), "PATH": path}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._tokens: dict[str, str] = {}

    def start(self) -> None:
        """Makes the database, starts the processes, and waits until the server answers."""
        subprocess.run(self._command("db", "migrate"), env=self._environment, check=True, capture_output=True)
        with contextlib.closing(sqlite3.connect(self._folder / "airflow.db")) as database:
            # Kept in the file: readers no longer wait for writers, of whom a busy machine has several at a time.
            database.execute("PRAGMA journal_mode = WAL")
        for name in COMPONENTS:
            options = ["--host", HOST, "--port", str(self._port)] if name == "api-server" else []
            with (self._folder / f"{name}.log").open("ab") as log:
                command = self._command(name, *options)
                started = subprocess.Popen(
                    command, env=self._environment, stdout=log, stderr=log, start_new_session=True
                )
            self._processes.append(started)
        self.until(self._answers, "the server answers")

    def stop(self) -> None:
        """Ends the processes in order, and those that do not end so at once."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def ask(self, user: str, method: str, path: str, content: object = None) -> requests.Response:
        """Sends a request to the REST API as a user."""
        if user not in self._tokens:
            account = {"username": user, "password": password(user)}
            given = requests.post(f"{self.url}/auth/token", json=account, timeout=PATIENCE_S)
            self._tokens[user] = given.json()["access_token"]
        headers = {"Authorization": f"Bearer {self._tokens[user]}"}
        return requests.request(method, f"{self.url}/api/v2/{path}", json=content, headers=headers, timeout=PATIENCE_S)

    def told(self, user: str, method: str, path: str, content: object = None) -> dict[str, Any]:
        """What the REST API answers to a request that must succeed."""
        answer = self.ask(user, method, path, content)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        found: dict[str, Any] = answer.json() if answer.content else {}
        return found

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Waits until something holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            ended = [each.args for each in self._processes if each.poll() is not None]
            assert not ended, f"{self._said()}\n{ended} ended while: {what}"
            assert time.monotonic() < deadline, f"{self._said()}\nnot within {PATIENCE_S} s: {what}"
            time.sleep(0.5)

    def _said(self) -> str:
        return "\n".join((self._folder / f"{name}.log").read_text(errors="replace")[-2000:] for name in COMPONENTS)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "airflow", *words]

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/api/v2/monitor/health", timeout=10).ok
        except requests.RequestException:
            return False


def password(user: str) -> str:
    """The password of a user of the tests."""
    return f"password of {user}"


@contextmanager
def airflow_server(folder: Path, dags: Path, users: Mapping[str, str]) -> Iterator[AirflowServer]:
    """Runs an Airflow until the end of the block."""
    server = AirflowServer(folder, dags, users)
    try:
        server.start()
        yield server
    finally:
        server.stop()
