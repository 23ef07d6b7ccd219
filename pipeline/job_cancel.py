"""Action: ends a stage's job with all its processes."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.jobs.submission import Jobs
from pipeline.outcome import tell


def main(stage: Annotated[str, typer.Argument(help="The stage, as it was submitted.")]) -> None:
    """End a stage's job with all its processes; what it had finished stays, and a later attempt goes on from there.

    Example: segloop job cancel train
    """
    standing = Jobs(Path.cwd()).cancel(stage)
    tell(state=standing.state, attempt=standing.attempt)
    print(f"{stage}: {standing.state}")


if __name__ == "__main__":
    run(main)
