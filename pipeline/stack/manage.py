"""The manager of a stack, which `segloop up` starts in a session of its own: honcho with processes that are kept."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.params import read_section
from pipeline.stack.accounts import Secrets, read_secrets
from pipeline.stack.found import PART
from pipeline.stack.keeper import Care, Keeper
from pipeline.stack.opening import hidden
from pipeline.stack.processes import Process, processes
from pipeline.stack.running import record_of, write_manager
from pipeline.stack.settings import Stack, StackParams, make_stack


def main(
    port_offset: Annotated[int, typer.Option(help="Added to every port.")],
    without: Annotated[list[str] | None, typer.Option(help="Processes that are left out.")] = None,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Run the processes of a stack until it is told to stop; `segloop up` starts it."""
    section = read_section(StackParams, "stack", params)
    stack = make_stack(Path(), section, os.environ, offset=port_offset, without=frozenset(without or ()))
    secrets = read_secrets(stack)
    keeper = Keeper(section.stop_timeout_s)
    for process in processes(stack, secrets, os.environ):
        keep(keeper, stack, process, secrets)
    write_manager(stack)
    keeper.loop()
    sys.exit(0)  # told to stop, it has stopped: honcho's code would be that of the signal


def keep(keeper: Keeper, stack: Stack, process: Process, secrets: Secrets) -> None:
    """Hands a process over to the manager."""
    care = Care(
        log=stack.logs / f"{process.name}.log",
        log_bytes=stack.params.log_bytes,
        record=record_of(stack, process.name),
        restarts=stack.params.restarts,
        secrets=tuple(hidden(stack, secrets)),
        after=process.after,
    )
    environment = process.environment | {PART: process.name}
    keeper.keep(process.name, f"exec {shlex.join(process.command)}", care, environment, stack.root)


if __name__ == "__main__":
    run(main)
