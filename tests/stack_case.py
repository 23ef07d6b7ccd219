"""A whole stack, really running, in a clone of the project with a home and ports of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests
import yaml
from workspace import ROOT, Workspace

STACK = {
    "airflow_port": 8080,
    "mlflow_port": 5000,
    "promoter_port": 8090,
    "reports_port": 8091,
    "parallelism": 4,
    "restarts": 5,
    "start_timeout_s": 600,
    "stop_timeout_s": 30,
    "log_bytes": 10000000,
}
PROMOTER = {
    "host": "127.0.0.1",
    "port": 8090,
    "airflow": "http://127.0.0.1:8080",
    "username": "promoter",
    "dag": "promotion",
    "task": "approve",
    "timeout_s": 30,
    "attempts": 2,
    "requests_per_minute": 600,
    "ask_timeout_s": 120,
}
HOST = "127.0.0.1"
LOWEST_OFFSET, STEP, TRIES = 11000, 137, 200
ANSWER_S = 60
REPETITIONS = 10
# What a checkout on one's own machine has and a clone must not take along.
NOT_COPIED = (".git/", ".venv/", ".segloop/", "__pycache__/")


@dataclass
class RunningStack:
    """A stack in a clone, and the way to it.

    Attributes:
        workspace: The clone; its commands run in the stack's environment.
        home: The home folder, with the promoter's key in `.config/segloop`.
        offset: Of its ports.
        without: What it does without.
    """

    workspace: Workspace
    home: Path
    offset: int
    without: tuple[str, ...] = ()
    _tokens: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """The clone's folder."""
        return self.workspace.root

    @property
    def params(self) -> dict[str, Any]:
        """Section `stack` of its params."""
        section: dict[str, Any] = yaml.safe_load((self.root / "params.yaml").read_text())["stack"]
        return section

    def url(self, name: str) -> str:
        """The address of `airflow`, `mlflow`, `promoter` or `reports`."""
        return f"http://{HOST}:{self.params[f'{name}_port'] + self.offset}"

    def up(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Runs `segloop up`."""
        left_out = [word for name in self.without for word in ("--without", name)]
        return self.workspace.run(sys.executable, "-m", "pipeline.up", *left_out, *options)

    def down(self) -> subprocess.CompletedProcess[str]:
        """Runs `segloop down`."""
        return self.workspace.run(sys.executable, "-m", "pipeline.down")

    def status(self) -> subprocess.CompletedProcess[str]:
        """Runs `segloop status`."""
        return self.workspace.run(sys.executable, "-m", "pipeline.status")

    def log(self, name: str) -> str:
        """The log of a process."""
        return (self.root / ".segloop" / "stack" / "logs" / f"{name}.log").read_text(errors="replace")

    def record(self, name: str) -> dict[str, Any]:
        """What the keeper of a process tells of it: `pid`, `state`, `ended`."""
        content: dict[str, Any] = json.loads((self.root / ".segloop" / "stack" / "run" / f"{name}.json").read_text())
        return content

    def password(self, user: str) -> str:
        """The password of a user of Airflow: `admin`, `reviewer`, `viewer` or `promoter`."""
        content: dict[str, str] = json.loads((self.secrets / "passwords.json").read_text())
        return content[user]

    @property
    def secrets(self) -> Path:
        """The folder of its passwords and keys; the home has one stack."""
        (folder,) = (self.home / ".config" / "segloop-airflow").iterdir()
        return folder

    def ask(self, method: str, path: str, user: str = "admin", **content: Any) -> requests.Response:
        """Asks Airflow's API (`/dags`, ...) as a user; the answer, whatever it is.

        On SQLite a request that finds the scheduler writing is refused at once (500) and has done nothing: it is asked
        again.

        Args:
            method: Of HTTP.
            path: Below `/api/v2`.
            user: Who asks.
            content: The query of a GET, else the JSON body.
        """
        if user not in self._tokens:
            account = {"username": user, "password": self.password(user)}
            answer = requests.post(f"{self.url('airflow')}/auth/token", json=account, timeout=ANSWER_S)
            self._tokens[user] = answer.json()["access_token"]
        body = {"params": content} if method == "GET" else {"json": content}
        for _ in range(REPETITIONS):
            answer = requests.request(
                method,
                f"{self.url('airflow')}/api/v2{path}",
                headers={"Authorization": f"Bearer {self._tokens[user]}"},
                timeout=ANSWER_S,
                **body,  # type: ignore[arg-type] # either is a mapping
            )
            if answer.status_code != requests.codes.server_error or "Database error" not in answer.text:
                break
            time.sleep(1)
        return answer

    def processes(self) -> list[psutil.Process]:
        """The stack's processes, found by where they work and how they were started: not by the stack's own code."""
        return [each for each in psutil.process_iter() if self._owns(each)]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                return False
            return process.cwd() == str(self.root) or str(self.root) in " ".join(process.cmdline())
        except psutil.Error:
            return False


def clone_project(root: Path) -> Workspace:
    """Clones the project, and lays what is not committed yet over it as a commit of its own."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(root)], check=True, capture_output=True)
    for name in _not_committed():
        if any(part in f"{name}/" for part in NOT_COPIED):
            continue
        source, target = ROOT / name, root / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
        else:
            target.unlink(missing_ok=True)
    workspace = Workspace(root)
    _complete_params(root / "params.yaml")
    workspace.ok("git", "config", "user.name", "Ada")
    workspace.ok("git", "config", "user.email", "ada@localhost")
    workspace.ok("git", "remote", "remove", "origin")
    workspace.ok("git", "add", "-A")
    workspace.ok("git", "commit", "-q", "--allow-empty", "-m", "as it lies there")
    return workspace


def _not_committed() -> list[str]:
    """Files that differ from the last commit, staged or not, or are not in it."""
    changed, new = ("diff", "--name-only", "-z", "HEAD"), ("ls-files", "-z", "--others", "--exclude-standard")
    listed = [
        subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for words in (changed, new)
    ]
    return [name for name in "".join(listed).split("\0") if name]


def free_offset() -> int:
    """An offset by which all ports of a stack are free; another process may still take one meanwhile."""
    ports = [STACK[name] for name in STACK if name.endswith("_port")]
    start = LOWEST_OFFSET + os.getpid() % 5000
    for number in range(TRIES):
        offset = start + number * STEP
        if all(_is_free(port + offset) for port in ports):
            return offset
    raise AssertionError(f"no {len(ports)} free ports from {start} on")


def prepare_stack(
    folder: Path, *, without: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
) -> RunningStack:
    """A clone that is ready for `up`, with a home of its own for keys.

    Args:
        folder: An empty folder; the clone is `project` in it.
        without: Processes that are left out.
        environment: Further variables for every command.
    """
    home, offset = folder / "home", free_offset()
    home.mkdir(parents=True)
    workspace = clone_project(folder / "project")
    workspace.environment = {
        "HOME": str(home),
        "SEGLOOP_PORT_OFFSET": str(offset),
        # Everything below the folder of a key's parents must be there before the stack starts, but in these.
        "TMPDIR": str(_made(folder / "t")),
        **(environment or {}),
    }
    for name in ("PYTHONDONTWRITEBYTECODE", "MLFLOW_TRACKING_URI", "SEGLOOP_DECISIONS", "SEGLOOP_PROMOTER_KEY"):
        os.environ.pop(name, None)
    return RunningStack(workspace, home, offset, without)


@contextmanager
def running_stack(
    folder: Path, *, without: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
) -> Iterator[RunningStack]:
    """Starts a stack and stops it at the end of the block, whatever happened.

    Args:
        folder: An empty folder with a short path: sockets lie in it.
        without: Processes that are left out.
        environment: Further variables for all of its processes.
    """
    stack = prepare_stack(folder, without=without, environment=environment)
    try:
        started = stack.up()
        assert started.returncode == 0, f"{started.stdout}\n{started.stderr}"
        yield stack
    finally:
        stopped = stack.down()
    assert stopped.returncode == 0, f"{stopped.stdout}\n{stopped.stderr}"


def _complete_params(file: Path) -> None:
    sections = yaml.safe_load(file.read_text())
    missing = {name: keys for name, keys in {"stack": STACK, "promoter": PROMOTER}.items() if name not in sections}
    if missing:
        file.write_text(file.read_text() + yaml.safe_dump(missing, sort_keys=False))


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


assert sys.platform != "win32"
