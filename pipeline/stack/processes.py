"""The processes of a stack: one line each."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.registry_access import KEYS, key_path
from pipeline.stack import environment as env
from pipeline.stack.accounts import Secrets, secrets_folder
from pipeline.stack.settings import HOST, Stack

NAMES = ("mlflow", "api-server", "scheduler", "dag-processor", "triggerer", "promoter", "reports")
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer")
# Read by tasks and by whoever watches them, from the same disk: no server for logs is needed.
OWN_LOGS = "--skip-serve-logs"


HEALTH_PATHS = {"mlflow": "/health", "promoter": "/healthz", "reports": "/healthz"}
TASKS_PATH = "/execution/health"  # of the part of Airflow's API that tasks talk to, which is built when it is asked


@dataclass(frozen=True)
class Process:
    """One process of a stack.

    Attributes:
        name: Unique in the stack; of its log, too.
        command: Its words.
        environment: The whole of it.
        after: An address that must answer before it starts for the first time.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    after: str | None = None


def processes(stack: Stack, secrets: Secrets, environment: Mapping[str, str]) -> list[Process]:
    """The processes of a stack, in the order in which they start.

    Args:
        stack: The stack.
        secrets: Its secrets.
        environment: Of the process that starts it.
    """
    airflow, mlflow = env.airflow(stack, secrets, environment), env.mlflow(stack, environment)
    reports, promoter = env.reports(stack, environment), env.promoter(stack, environment)
    python, closed = (sys.executable, "-m"), sandboxed(denied_folders())
    command = (*closed, *python, "airflow")
    server = (*sandboxed(key_folders()), *python, "airflow", "api-server", "--workers", "1")
    listed = [
        Process("mlflow", (*closed, *python, *_mlflow(stack)), mlflow),
        Process("api-server", server, airflow),  # runs no task, and checks passwords
        # A task that finds no API is lost, and with it one of its tries.
        Process("scheduler", (*command, "scheduler", OWN_LOGS), airflow, _tasks_api(stack)),
        Process("dag-processor", (*command, "dag-processor"), airflow),
        Process("triggerer", (*command, "triggerer", OWN_LOGS), airflow),
        Process(
            "promoter", (*python, "pipeline.promoter", *_listen(stack, "promoter")), promoter, _health(stack, "mlflow")
        ),
        Process("reports", (*closed, *python, "pipeline.reports", *_listen(stack, "reports")), reports),
    ]
    return [each for each in listed if each.name not in stack.without]


def denied_folders() -> list[Path]:
    """What no task may read: where keys and passwords lie."""
    return [*key_folders(), secrets_folder()]


def key_folders() -> list[Path]:
    """What no process but the promoter may read: where keys lie."""
    return list(dict.fromkeys([key_path().absolute().parent, KEYS.expanduser()]))


def sandboxed(folders: list[Path]) -> tuple[str, ...]:
    """The words before a command that is not to read these folders."""
    denied = [word for folder in folders for word in ("--deny-read", str(folder))]
    return (sys.executable, "-m", "pipeline.stack.sandbox", *denied, "--")


def _health(stack: Stack, name: str) -> str:
    return stack.url(name) + HEALTH_PATHS[name]


def _tasks_api(stack: Stack) -> str | None:
    return None if "api-server" in stack.without else stack.url("airflow") + TASKS_PATH


def _mlflow(stack: Stack) -> tuple[str, ...]:
    artifacts = str(stack.root / "mlartifacts")
    return ("mlflow", "server", "--workers", "1", *_listen(stack, "mlflow"), "--artifacts-destination", artifacts)


def _listen(stack: Stack, name: str) -> tuple[str, ...]:
    return ("--host", HOST, "--port", str(stack.port(name))) if name == "mlflow" else ("--port", str(stack.port(name)))
