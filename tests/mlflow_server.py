"""A real MLflow server with basic authentication, in processes that a test may kill, and a proxy that kills it."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

HOST = "127.0.0.1"
ADMIN = "admin"
START_TIMEOUT_S = 300  # with cold byte code on a busy machine a start takes minutes
FORWARD_TIMEOUT_S = 120
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
# Nobody gets anything by default; a checked password is remembered, since checking one takes half a second.
AUTHENTICATION = """\
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{folder}/auth.db
admin_username = {admin}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 600
"""


def password(user: str) -> str:
    """The password of an account of the tests; MLflow wants twelve characters."""
    return f"the password of {user}"


def free_port() -> int:
    """A port of the loopback device that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class Server:
    """A server with its databases and files in one folder, which outlive it.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._killing = threading.Lock()
        self.uri = f"http://{HOST}:{self._port}"
        settings = AUTHENTICATION.format(folder=folder, admin=ADMIN)
        (folder / "basic_auth.ini").write_text(settings)

    @property
    def port(self) -> int:
        """The port that it listens on, the same after each start."""
        return self._port

    def start(self) -> None:
        """Starts the server, where it does not run, and waits until it answers."""
        if self._process is not None:
            return
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
        command += ["--host", HOST, "--port", str(self._port)]
        command += ["--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        with (self._folder / "server.log").open("ab") as log:
            # A session of its own, so that a kill gets the web server that the command starts, too.
            self._process = subprocess.Popen(
                command, env=self._environment(), stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

    def kill(self) -> None:
        """Kills every process of the server at once, as a power cut would; twice is once."""
        with self._killing:
            process, self._process = self._process, None
            if process is not None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def ask(self, method: str, path: str, **content: object) -> dict[str, Any]:
        """Sends a request as the administrator and gives the answer, which must be a success."""
        body = {"params": content} if method == "GET" else {"json": content}
        account = (ADMIN, password(ADMIN))
        answer = requests.request(method, f"{self.uri}/api/{path}", auth=account, timeout=FORWARD_TIMEOUT_S, **body)
        assert answer.ok, answer.text
        return answer.json() if answer.content else {}

    def renew_model(self, name: str) -> None:
        """Deletes a registered model with its versions, and makes it anew with the rights that roles had on it."""
        before = self._rights(name)
        self.ask("DELETE", "2.0/mlflow/registered-models/delete", name=name)
        self.ask("POST", "2.0/mlflow/registered-models/create", name=name)
        there = {each["role_id"] for each in self._rights(name)}  # who creates a model may manage it
        for right in before:
            if right["role_id"] not in there:
                self.ask("POST", "3.0/mlflow/roles/permissions/add", **right)

    def _rights(self, name: str) -> list[dict[str, object]]:
        """What each role may do with a model."""
        fields = ("role_id", "resource_type", "resource_pattern", "permission")
        roles = self.ask("GET", "3.0/mlflow/roles/list", workspace="default")["roles"]
        lists = [self.ask("GET", "3.0/mlflow/roles/permissions/list", role_id=each["id"]) for each in roles]
        rights = [right for each in lists for right in each["role_permissions"]]
        return [{key: each[key] for key in fields} for each in rights if each["resource_pattern"] == name]

    def _environment(self) -> dict[str, str]:
        ours = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        return ours | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "MLFLOW_AUTH_CONFIG_PATH": str(self._folder / "basic_auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": password(ADMIN),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a secret of this test",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def _wait(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            said = (self._folder / "server.log").read_text(errors="replace")[-3000:]
            assert self._process is not None
            assert self._process.poll() is None, f"the server ended:\n{said}"
            assert time.monotonic() < deadline, f"no answer within {START_TIMEOUT_S} s:\n{said}"
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.uri}/health", timeout=5).ok
        except requests.RequestException:
            return False


@contextmanager
def mlflow_server(folder: Path) -> Iterator[Server]:
    """Runs a server until the end of the block."""
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def killing_proxy(server: Server, fatal: Callable[[str, str], bool]) -> Iterator[str]:
    """Forwards to a server, and kills it at the first request of a kind, which it never gets.

    Args:
        server: Where requests go.
        fatal: Whether a request, given by method and path, is the one to die of.

    Yields:
        The proxy's address. Without a server behind it, it drops each connection unanswered.
    """

    class Forwarder(BaseHTTPRequestHandler):
        def forward(self) -> None:
            if fatal(self.command, self.path):
                server.kill()
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, headers, content = _asked(server.port, self.command, self.path, dict(self.headers), body)
            except OSError:
                self.close_connection = True
                return
            self.send_response(status)
            for key, value in headers:
                if key.lower() not in HOP_BY_HOP:
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Keeps the tests' output clean."""

    proxy = ThreadingHTTPServer((HOST, 0), Forwarder)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://{HOST}:{proxy.server_address[1]}"
    finally:
        proxy.shutdown()
        proxy.server_close()


def code_block(page: Path, language: str) -> str:
    """The first block of code in a language on a page of the documentation."""
    found = re.search(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert found is not None, f"{page} has no block of {language}"
    return found[1]


def _asked(
    port: int, method: str, path: str, headers: dict[str, str], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=FORWARD_TIMEOUT_S)
    try:
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        connection.close()
