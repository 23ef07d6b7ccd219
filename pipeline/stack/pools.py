"""Airflow's pools: those of ops/airflow/pools.json are made, and those that DAGs name and nobody made are told."""

from pathlib import Path

from pydantic import Field, TypeAdapter, ValidationError

from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.params import Section
from pipeline.stack.airflow_api import AirflowApi

FILE = Path("ops/airflow/pools.json")


class Pool(Section):
    """A pool, as `airflow pools import` reads it.

    Attributes:
        slots: Tasks at a time; -1 is without limit.
        description: For people.
        include_deferred: A task that waits in the triggerer keeps its slot.
    """

    slots: int = Field(ge=-1)
    description: str
    include_deferred: bool


def read_pools(file: Path) -> dict[str, Pool]:
    """The pools of a file, by name.

    Raises:
        UserError: The file is missing or malformed.
    """
    content = read_json(file, "it comes with the project: take it from git")
    try:
        return TypeAdapter(dict[str, Pool]).validate_python(content)
    except ValidationError as error:
        raise UserError(f"{file} is malformed: {error}") from None


def make_pools(api: AirflowApi, file: Path) -> list[str]:
    """Makes the pools that are missing; one that is there keeps its slots, since an operator may have changed them.

    Returns:
        The names of those that were made.
    """
    wanted, there = read_pools(file), _there(api)
    missing = [name for name in wanted if name not in there]
    for name in missing:
        api.post("/pools", name=name, **wanted[name].model_dump())
    return missing


def missing_pools(api: AirflowApi) -> dict[str, list[str]]:
    """The pools that tasks name and that are not there, each with the tasks' names: those would wait for ever."""
    there = _there(api)
    found: dict[str, list[str]] = {}
    for dag in api.every("/dags", "dags"):
        for task in api.get(f"/dags/{dag['dag_id']}/tasks")["tasks"]:
            if task["pool"] not in there:
                found.setdefault(task["pool"], []).append(f"{dag['dag_id']}.{task['task_id']}")
    return found


def _there(api: AirflowApi) -> set[str]:
    return {str(pool["name"]) for pool in api.every("/pools", "pools")}
