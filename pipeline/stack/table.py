"""What people see of a stack: its processes, addresses and users."""

import time
from collections.abc import Mapping

from rich.table import Table

from pipeline.stack.accounts import FOR_PEOPLE, USERS, Secrets
from pipeline.stack.found import memory_bytes
from pipeline.stack.running import Part
from pipeline.stack.settings import Stack

UIS = {
    "airflow": ("api-server", "Airflow: DAGs, runs, approvals"),
    "mlflow": ("mlflow", "MLflow: runs, metrics, models"),
    "reports": ("reports", "reports: checks, dossiers"),
    "promoter": ("promoter", "promoter: an API, no page"),
}
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
MEBIBYTE = 2**20


def processes_table(listed: list[Part], health: Mapping[str, str]) -> Table:
    """A row for each process: its pid, memory with all that it started, since when it is up, its health."""
    result = Table("process", "pid", "memory", "up since", "health")
    for part in listed:
        pid, memory, since = "-", "-", "-"
        if part.process is not None:
            family = [part.process, *part.process.children(recursive=True)]
            pid, memory = str(part.process.pid), f"{memory_bytes(family) / MEBIBYTE:.0f} MiB"
            since = _ago(time.time() - part.since)
        result.add_row(part.name, pid, memory, since, health[part.name])
    return result


def addresses_table(stack: Stack) -> Table:
    """A row for each address that the stack has."""
    result = Table("address", "what is there")
    for name, (process, what) in UIS.items():
        if process not in stack.without:
            result.add_row(stack.url(name), what)
    return result


def users_table(secrets: Secrets | None) -> Table:
    """A row for each user of Airflow that is a person; passwords where they are to be shown."""
    result = Table("user of Airflow", "role", *(["password"] if secrets else []))
    for user in FOR_PEOPLE:
        result.add_row(user, USERS[user], *([secrets.passwords[user]] if secrets else []))
    return result


def _ago(seconds: float) -> str:
    for size, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
