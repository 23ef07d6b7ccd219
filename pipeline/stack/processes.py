"""The processes of a stack: one line each."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.registry_access import KEYS, key_path
from pipeline.stack import environment as env
from pipeline.stack.accounts import Secrets
from pipeline.stack.settings import HOST, Stack

NAMES = ("mlflow", "api-server", "scheduler", "dag-processor", "triggerer", "promoter", "reports")
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer")
# Read by tasks and by whoever watches them, from the same disk: no server for logs is needed.
OWN_LOGS = "--skip-serve-logs"


HEALTH_PATHS = {"mlflow": "/health", "promoter": "/healthz", "reports": "/healthz"}


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
    python, folders = (sys.executable, "-m"), denied_folders()
    command = (*sandboxed(folders), *python, "airflow")
    listed = [
        Process("mlflow", (*sandboxed(folders), *python, *_mlflow(stack)), mlflow),
        Process("api-server", (*command, "api-server", "--workers", "1"), airflow),
        Process("scheduler", (*command, "scheduler", OWN_LOGS), airflow),
        Process("dag-processor", (*command, "dag-processor"), airflow),
        Process("triggerer", (*command, "triggerer", OWN_LOGS), airflow),
        Process(
            "promoter", (*python, "pipeline.promoter", *_listen(stack, "promoter")), promoter, _health(stack, "mlflow")
        ),
        Process("reports", (*sandboxed(folders), *python, "pipeline.reports", *_listen(stack, "reports")), reports),
    ]
    return [each for each in listed if each.name not in stack.without]


def denied_folders() -> list[Path]:
    """What no process but the promoter may read: where keys lie."""
    return list(dict.fromkeys([key_path().absolute().parent, KEYS.expanduser()]))


def sandboxed(folders: list[Path]) -> tuple[str, ...]:
    """The words before a command that is not to read these folders."""
    denied = [word for folder in folders for word in ("--deny-read", str(folder))]
    return (sys.executable, "-m", "pipeline.stack.sandbox", *denied, "--")


def _health(stack: Stack, name: str) -> str:
    return stack.url(name) + HEALTH_PATHS[name]


def _mlflow(stack: Stack) -> tuple[str, ...]:
    artifacts = str(stack.root / "mlartifacts")
    return ("mlflow", "server", "--workers", "1", *_listen(stack, "mlflow"), "--artifacts-destination", artifacts)


def _listen(stack: Stack, name: str) -> tuple[str, ...]:
    return ("--host", HOST, "--port", str(stack.port(name))) if name == "mlflow" else ("--port", str(stack.port(name)))
