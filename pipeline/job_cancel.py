"""Action: ends a stage's job with all its processes."""

import time
from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.jobs.submission import Jobs
from pipeline.jobs.watch import is_followed
from pipeline.outcome import tell


def main(
    stage: Annotated[str, typer.Argument(help="The stage, as it was submitted.")],
    unless_followed: Annotated[
        float | None, typer.Option(min=0, help="Wait so many seconds first, and leave a job that is followed then.")
    ] = None,
) -> None:
    """End a stage's job with all its processes; what it had finished stays, and a later attempt goes on from there.

    Example: segloop job cancel train
    """
    workspace = Path.cwd()
    if unless_followed is not None:
        time.sleep(unless_followed)
        if is_followed(workspace, stage):
            print(f"{stage}: is followed, and left alone")
            return
    standing = Jobs(workspace).cancel(stage)
    tell(state=standing.state, attempt=standing.attempt)
    print(f"{stage}: {standing.state}")


if __name__ == "__main__":
    run(main)
