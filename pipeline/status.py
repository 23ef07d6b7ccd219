"""Action: tells what runs of the stack on this machine, and whether it is healthy."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.errors import OutageError
from pipeline.params import read_section
from pipeline.stack.accounts import read_secrets
from pipeline.stack.airflow_api import AirflowApi
from pipeline.stack.closed import closed_since
from pipeline.stack.found import memory_bytes
from pipeline.stack.health import HEALTHY, health
from pipeline.stack.pools import missing_pools
from pipeline.stack.processes import AIRFLOW, NAMES, denied_folders
from pipeline.stack.running import all_processes, left_out, manager, offset_of, opened, parts
from pipeline.stack.sandbox import works
from pipeline.stack.settings import Stack, StackParams, make_stack
from pipeline.stack.table import MEBIBYTE, addresses_table, processes_table

NAMED = 3  # tasks named of each missing pool


def main(
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Print what runs of the loop on this machine, where it is, and whether it is healthy.

    The exit code is 3 when something is not as it should be: a process that is down or does not answer, or a pool
    that a DAG names and that nobody has made, so that its tasks would wait for ever.

    Example: segloop status
    """
    from rich.console import Console

    section, root = read_section(StackParams, "stack", params), Path()
    folder = make_stack(root, section, os.environ).folder
    stack = make_stack(root, section, os.environ, offset=offset_of(folder), without=left_out(folder))
    every = all_processes(stack)
    if manager(stack.folder) is None and not every:
        raise OutageError("The stack is down: `segloop up` starts it.")
    listed = parts(stack, [name for name in NAMES if name not in stack.without])
    state = health(stack, listed)
    console = Console(highlight=False, markup=False)
    console.print(processes_table(listed, state))
    console.print(addresses_table(stack))
    print(f"{len(every)} processes use {memory_bytes(every) / MEBIBYTE:.0f} MiB; logs are in {stack.logs}")
    faults = [f"{name}: {said}" for name, said in state.items() if said != HEALTHY]
    if manager(stack.folder) is None:
        faults.append("the manager is gone, so that nothing is started again: `segloop down`, then `segloop up`")
    faults += [
        f"{path} was written after the stack started, so that tasks cannot read it: `segloop down`, then `segloop up`"
        for path in closed_since(opened(stack.folder), denied_folders())
        if works()
    ]
    faults += _pools(stack, state)
    if faults:
        raise OutageError("; ".join(faults))


def _pools(stack: Stack, state: dict[str, str]) -> list[str]:
    if stack.without & set(AIRFLOW):
        return []
    if state["api-server"] != HEALTHY:
        print("pools could not be looked at: Airflow's API does not answer", file=sys.stderr)
        return []
    missing = missing_pools(AirflowApi(stack, read_secrets(stack), "viewer"))
    return [
        f"there is no pool {pool!r}, and {', '.join(tasks[:NAMED])} would wait for ever: `segloop up` makes it if "
        "it is in ops/airflow/pools.json"
        for pool, tasks in missing.items()
    ]


if __name__ == "__main__":
    run(main)
