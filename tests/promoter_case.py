"""What the tests of the promoter share: its section of the parameters, its account, and pages like Airflow's."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import registry_case
import uvicorn
import yaml
from fastapi import FastAPI

from pipeline import gate, registry, reviewer
from pipeline.approval_text import Question
from pipeline.dossier import Places
from pipeline.params import read_section
from pipeline.promotions.airflow import Airflow
from pipeline.promotions.answers import Answers
from pipeline.promotions.settings import PromoterParams
from pipeline.registry_access import Registry, RegistryParams, open_registry

HOST = "127.0.0.1"
DAG, TASK, ACCOUNT = "promotion", "approve", "promoter"
PASSWORD = "password of promoter"  # noqa: S105 - of a test
RUN = "manual__2026-03-01T12:00:00+00:00_a1"
VARIABLES = (
    "DECISIONS", "PROMOTER_KEY", "PROMOTER_URL", "AIRFLOW_URL", "AIRFLOW_PASSWORD_FILE", "REPORTS_URL", "OUTCOME",
)  # fmt: skip
LATER = "2036-01-01T00:00:00.5Z"  # after any verdict of a test
PAGE = re.compile(rf"/api/v2/dags/{DAG}/dagRuns/([^/]+)(/taskInstances/{TASK}/-1/hitlDetails)?")
SETTINGS: dict[str, Any] = {
    "host": HOST, "port": 8790, "airflow": "http://127.0.0.1:9", "username": ACCOUNT, "dag": DAG, "task": TASK,
    "timeout_s": 30, "attempts": 2, "requests_per_minute": 600, "ask_timeout_s": 120,
}  # fmt: skip


def add_section(params: Path = Path("params.yaml"), **changes: object) -> None:
    """Writes the promoter's section into the parameters of a workspace."""
    sections = yaml.safe_load(params.read_text())
    sections["promoter"] = {**SETTINGS, **changes}
    params.write_text(yaml.safe_dump(sections))


def write_password(file: Path) -> Path:
    """Writes the password of the promoter's account in Airflow."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(PASSWORD)
    file.chmod(0o600)
    return file


def enter_workspace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goes into a workspace with two registered versions, the first judged, and alice by her account in Airflow."""
    monkeypatch.setenv("HOME", str(folder / "home"))
    for variable in ("MLFLOW_TRACKING_URI", *(f"SEGLOOP_{name}" for name in VARIABLES)):
        monkeypatch.delenv(variable, raising=False)
    (folder / "work").mkdir()
    monkeypatch.chdir(folder / "work")
    registry_case.write_workspace(Path.cwd())
    write_password(folder / "home/.config/segloop/airflow.password")
    registry.main(registry.Act.INIT)
    reviewer.main(reviewer.Act.ADD, "Alice A.", airflow="alice")
    gate.main("1")


def opened(*, as_promoter: bool = True) -> Registry:
    """The decision log of the working folder."""
    return open_registry(read_section(RegistryParams, "registry", Path("params.yaml")), as_promoter=as_promoter)


def answers(reports_url: str = "") -> Answers:
    """What the promoter takes answers with, as a new process would."""
    settings = read_section(PromoterParams, "promoter", Path("params.yaml"))
    return Answers(opened(), Airflow(settings), settings, registry_case.NAME, Places(), reports_url)


def asked(question: Question, run: str = RUN, **changes: Any) -> dict[str, Any]:
    """What Airflow tells of a question that alice has approved, unless the changes say otherwise."""
    task = {
        "id": f"id of {run}",
        "dag_id": DAG,
        "dag_run_id": run,
        "task_id": TASK,
        "map_index": -1,
        "state": "success",
    }
    return {
        "task_instance": task,
        "options": ["Approve", "Reject"],
        "subject": question.subject,
        "body": question.body,
        "defaults": ["Reject"],
        "multiple": False,
        "params": {},
        "assigned_users": [{"id": "alice", "name": "alice"}],
        "created_at": LATER,
        "response_received": True,
        "responded_by_user": {"id": "alice", "name": "alice"},
        "responded_at": LATER,
        "chosen_options": ["Approve"],
        "params_input": {"reason": "pallets are better, people unchanged"},
        **changes,
    }


def unanswered(question: Question, run: str = RUN) -> dict[str, Any]:
    """What Airflow tells of a question that nobody has answered."""
    nobody = {"responded_by_user": None, "responded_at": None, "chosen_options": None, "params_input": {}}
    return asked(question, run, response_received=False, **nobody)


def lapsed(question: Question, run: str = RUN) -> dict[str, Any]:
    """What Airflow tells of a question that nobody has answered in time."""
    return asked(question, run, responded_by_user=None, chosen_options=["Reject"], params_input={"reason": ""})


@dataclass
class Pages:
    """What the stand-in for Airflow holds, and what it was asked.

    Attributes:
        url: Its address.
        runs: By id: what `dagRuns/ID` and its `hitlDetails` tell.
        refuses: Status of the answer to the next requests, each once, before anything else is looked at.
        tokens: The tokens that hold; a new one for each that is asked for.
        asked: Method and path of each request.
    """

    url: str = ""
    runs: dict[str, tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=dict)
    refuses: list[int] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def add(self, question: dict[str, Any], version: int = 1, **run: Any) -> None:
        """Adds a run about a version with what was asked in it."""
        name = question["task_instance"]["dag_run_id"]
        about = {"dag_id": DAG, "dag_run_id": name, "partition_key": str(version), "conf": {}, **run}
        self.runs[name] = (about, question)

    def answer(self, method: str, path: str, token: str, content: bytes) -> tuple[int, object]:
        """The status and the page for a request."""
        self.asked.append((method, path))
        if self.refuses:
            return self.refuses.pop(0), {"detail": "as the test wants it"}
        if path == "/auth/token":
            known = json.loads(content) == {"username": ACCOUNT, "password": PASSWORD}
            self.tokens |= {f"token {len(self.asked)}"} if known else set()
            return (201, {"access_token": f"token {len(self.asked)}"}) if known else (401, {"detail": "who?"})
        if token not in self.tokens:
            return 401, {"detail": "no such token"}
        page = PAGE.fullmatch(path)
        run = self.runs.get(unquote(page[1])) if page else None
        return (404, {"detail": "not found"}) if page is None or run is None else (200, run[1 if page[2] else 0])


@contextmanager
def airflow_pages() -> Iterator[Pages]:
    """A small web server that answers as Airflow's REST API does, from what a test puts into it."""
    pages = Pages()

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, page = pages.answer(self.command, self.path, token, body)
            content = page if isinstance(page, bytes) else json.dumps(page).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = respond  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Keeps the tests' output clean."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    pages.url = f"http://{HOST}:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield pages
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serves an app in a thread; yields its address."""
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                thread.join(0.05)
                assert thread.is_alive(), "the server ended"
            yield f"http://{HOST}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
