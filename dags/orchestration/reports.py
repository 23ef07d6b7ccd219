"""Puts what a run made where people can look at it: under the folder that the report server shows."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestration import settings

FOLDER = Path(".segloop/reports")
NO_SERVER = "http://127.0.0.1:8091"


def publish(place: Path, wanted: Mapping[str, str], context: Any) -> dict[str, str]:
    """Copies files and folders, and gives their addresses.

    Args:
        place: The workspace that they lie in.
        wanted: Their paths in it, by the link's name; one that was not made is left out.
        context: The task's context, by which the copy is named.

    Returns:
        The addresses by the link's name.
    """
    run = context["dag_run"]
    base = Path(safe(run.dag_id)) / safe(run.run_id)
    found = {name: place / path for name, path in wanted.items() if (place / path).exists()}
    for source in found.values():
        target = settings.root() / FOLDER / base / source.name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    server = os.environ.get("SEGLOOP_REPORTS_URL") or NO_SERVER
    return {
        name: f"{server}/{base.as_posix()}/{source.name}{'/' if source.is_dir() else ''}"
        for name, source in found.items()
    }


def safe(name: str) -> str:
    """A name of a folder that needs no quoting in an address."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")
