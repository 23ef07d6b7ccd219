"""Action: brings the results of a stage's job into the workspace."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.jobs.submission import Jobs


def main(stage: Annotated[str, typer.Argument(help="The stage, as it was submitted.")]) -> None:
    """Bring the results of a stage's job into the workspace; nothing is computed here.

    Example: segloop job restore train
    """
    print(Jobs(Path.cwd()).restore(stage))


if __name__ == "__main__":
    run(main)
