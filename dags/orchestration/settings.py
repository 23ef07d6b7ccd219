"""Where the project lies, and the numbers of its DAGs: section `loop` of params.yaml."""

import os
import sys
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml

OWN_ROOT = Path(__file__).resolve().parents[2]


def root() -> Path:
    """The project's checkout that the DAGs act on: SEGLOOP_ROOT, else the one that these DAGs come from."""
    return Path(os.environ.get("SEGLOOP_ROOT") or OWN_ROOT)


def python() -> str:
    """The interpreter that runs the project's commands: SEGLOOP_PYTHON, else the one of Airflow."""
    return os.environ.get("SEGLOOP_PYTHON") or sys.executable


@cache
def params() -> dict[str, Any]:
    """The sections of params.yaml."""
    sections: dict[str, Any] = yaml.safe_load((root() / "params.yaml").read_text(encoding="utf-8"))
    return sections


def loop() -> dict[str, Any]:
    """Section `loop`."""
    section: dict[str, Any] = params()["loop"]
    return section


def launcher() -> str:
    """Where jobs run unless a run says otherwise."""
    name: str = params()["jobs"]["launcher"]
    return name


def schedule(dag: str) -> str | None:
    """The cron line of a DAG, UTC; None where it runs by hand only."""
    line: str | None = loop()["schedules"][dag]
    return line


def limit(what: str) -> timedelta:
    """A limit of time by its name in `loop.limits_minutes`."""
    return timedelta(minutes=loop()["limits_minutes"][what])


def reviewers() -> list[str]:
    """The Airflow accounts of those who may approve, from the allow-list in data/reviewers.yaml."""
    file = root() / "data" / "reviewers.yaml"
    listed = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.exists() else {}
    return sorted(person["airflow"] for person in listed.values() if person.get("airflow"))
