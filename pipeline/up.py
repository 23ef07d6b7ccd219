"""Action: starts MLflow, Airflow, the promoter and the reports on this machine, and waits until all are healthy."""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.errors import OutageError, UserError
from pipeline.params import read_section
from pipeline.stack.accounts import Secrets, make_secrets, passwords_file, read_secrets
from pipeline.stack.airflow_api import AirflowApi
from pipeline.stack.health import HEALTHY, wait_until_healthy
from pipeline.stack.opening import make_folders, make_key, make_stores, warn_of_git
from pipeline.stack.pools import FILE, make_pools
from pipeline.stack.ports import assert_free
from pipeline.stack.processes import AIRFLOW, NAMES, denied_folders
from pipeline.stack.running import all_processes, alone, last_lines, left_out, manager, offset_of, start_manager
from pipeline.stack.sandbox import works
from pipeline.stack.settings import Stack, StackParams, make_stack
from pipeline.stack.table import addresses_table, users_table


def main(
    port_offset: Annotated[int | None, typer.Option(help="Added to every port; SEGLOOP_PORT_OFFSET likewise.")] = None,
    without: Annotated[list[str] | None, typer.Option(help=f"Leave one out: {', '.join(NAMES)}.")] = None,
    show_passwords: Annotated[bool, typer.Option("--show-passwords", help="Print the users' passwords.")] = False,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Start the loop on this machine: MLflow, Airflow, the promoter and the reports.

    Whatever is missing is made first: databases, users with passwords, the promoter's key, pools. Everything listens
    on 127.0.0.1 only. Databases are SQLite files; SEGLOOP_POSTGRES=postgresql://user:password@host:port takes a
    server instead. A process that ends is started again after a pause, a few times. Connections of Airflow are taken
    from the environment (AIRFLOW_CONN_...).

    Example: segloop up --port-offset 100
    """
    began = time.monotonic()
    root, omitted = Path(), frozenset(without or ())
    if not omitted <= set(NAMES):
        unknown = ", ".join(sorted(omitted - set(NAMES)))
        raise UserError(f"There is no process {unknown}. Choose from {', '.join(NAMES)}.")
    section = read_section(StackParams, "stack", params)
    stack = make_stack(root, section, os.environ, offset=port_offset, without=omitted)
    with alone(stack):
        first = False
        running = manager(stack.folder)
        if running is not None:
            stack = make_stack(
                root, section, os.environ, offset=offset_of(stack.folder), without=left_out(stack.folder)
            )
            _say(f"the stack runs already (manager {running.pid}); `segloop down` stops it")
            if port_offset not in {None, stack.offset}:
                _say(f"its ports stay shifted by {stack.offset}, not by {port_offset}")
        else:
            stack, first = _open(stack)
            start_manager(stack, params)
    secrets = read_secrets(stack)
    _wait(stack)
    _finish(stack, secrets)
    _show(stack, secrets if first or show_passwords else None)
    if running is None:
        print(f"up after {time.monotonic() - began:.0f} s; logs are in {stack.logs}")


def _open(stack: Stack) -> tuple[Stack, bool]:
    """Makes what is missing; tells which stack is to start and whether passwords were made."""
    left = all_processes(stack)
    if left:
        raise UserError(
            f"{len(left)} processes of an earlier stack are left without their manager "
            f"(pids {', '.join(str(each.pid) for each in left[:5])}): run `segloop down` first."
        )
    assert_free(stack)
    make_folders(stack)
    warn_of_git(stack, _say)
    if "promoter" not in stack.without and not make_key(stack, _say):
        stack = replace(stack, without=stack.without | {"promoter"})
    first = make_secrets(stack)
    if not works():
        named = ", ".join(map(str, denied_folders()))
        _say(f"warning: this system has no Landlock (Linux 5.19 and later): tasks of Airflow could read {named}")
    make_stores(stack, read_secrets(stack), os.environ, _say)
    return stack, first


def _wait(stack: Stack) -> None:
    from rich.console import Console

    names = [name for name in NAMES if name not in stack.without]
    console = Console(stderr=True)
    with console.status("starting") as display:

        def look(state: dict[str, str]) -> None:
            if manager(stack.folder) is None:
                raise OutageError(f"The manager of the stack ended:\n{last_lines(stack, 'manager')}")
            waiting = [f"{name} ({said})" for name, said in state.items() if said != HEALTHY]
            display.update(f"{len(state) - len(waiting)} of {len(state)} healthy; waiting for {', '.join(waiting)}")
            given_up = [name for name, said in state.items() if said.startswith("given up")]
            if given_up:
                raise OutageError(
                    f"{given_up[0]} does not stay up; `segloop down` stops the rest. {stack.logs / given_up[0]}.log "
                    f"ends:\n{last_lines(stack, given_up[0])}"
                )

        state = wait_until_healthy(stack, names, stack.params.start_timeout_s, look)
    sick = {name: said for name, said in state.items() if said != HEALTHY}
    if sick:
        told = "; ".join(f"{name}: {said}" for name, said in sick.items())
        raise OutageError(
            f"After {stack.params.start_timeout_s:.0f} s (stack.start_timeout_s) not all is healthy: {told}. Look into "
            f"{stack.logs}; `segloop status` looks again, `segloop down` stops all."
        )


def _finish(stack: Stack, secrets: Secrets) -> None:
    if not stack.without & set(AIRFLOW):
        made = make_pools(AirflowApi(stack, secrets, "admin"), stack.root / FILE)
        if made:
            _say(f"made the pools {', '.join(made)}")


def _show(stack: Stack, secrets: Secrets | None) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    console.print(addresses_table(stack))
    console.print(users_table(secrets))
    if secrets is None:
        print("`segloop up --show-passwords` prints the passwords")
    else:
        print(f"the passwords are kept in {passwords_file(stack)}; `segloop up --show-passwords` prints them again")
    if "mlflow" not in stack.without:
        print(f"for commands about versions: export MLFLOW_TRACKING_URI={stack.url('mlflow')}")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    run(main)
