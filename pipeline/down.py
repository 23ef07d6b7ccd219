"""Action: stops every process of the stack on this machine."""

import os
import signal
from pathlib import Path
from typing import Annotated

import psutil
import typer

from pipeline.command import run
from pipeline.errors import OutageError
from pipeline.params import read_section
from pipeline.stack.found import end_all
from pipeline.stack.running import all_processes, alone, manager
from pipeline.stack.settings import Stack, StackParams, make_stack

SETTLE_S = 5  # the manager's own end, after that of its processes


def main(
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Stop the loop on this machine, with everything that it started.

    Trainings that run are stopped, too; run again, they resume from their last finished epoch. Databases, reports and
    passwords stay. It also clears up after a manager that was killed.

    Example: segloop down
    """
    section = read_section(StackParams, "stack", params)
    stack = make_stack(Path(), section, os.environ)
    with alone(stack):
        stop(stack)


def stop(stack: Stack) -> None:
    """Stops all processes of a stack.

    Raises:
        OutageError: Some cannot even be killed.
    """
    before = all_processes(stack)
    if not before:
        print("nothing runs")
        return
    running = manager(stack.folder)
    if running is not None:
        running.send_signal(signal.SIGTERM)
        psutil.wait_procs([running], timeout=stack.params.stop_timeout_s + SETTLE_S)
    # Whatever was started while the others stopped is found by looking again.
    left = all_processes(stack)
    while left:
        stuck = end_all(left, stack.params.stop_timeout_s)
        if stuck:
            raise OutageError(f"These processes cannot be killed: {', '.join(str(each.pid) for each in stuck)}.")
        left = all_processes(stack)
    for record in (stack.folder / "run").glob("*.json"):
        record.unlink()
    print(f"stopped {len(before)} processes")


if __name__ == "__main__":
    run(main)
