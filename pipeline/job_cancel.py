"""Action: ends a stage's job with all its processes."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.jobs.submission import Jobs
from pipeline.outcome import tell


def main(
    stage: Annotated[str, typer.Argument(help="The stage, as it was submitted.")],
    unless_followed: Annotated[
        float | None,
        typer.Option(min=0, help="Wait so many seconds first, and leave a job that anybody follows meanwhile."),
    ] = None,
) -> None:
    """End a stage's job with all its processes; what it had finished stays, and a later attempt goes on from there.

    Example: segloop job cancel train
    """
    jobs = Jobs(Path.cwd(), partial(print, flush=True))
    standing = jobs.cancel(stage) if unless_followed is None else jobs.give_up(stage, unless_followed)
    if standing is None:
        print(f"{stage}: is followed, and left alone")
        return
    tell(state=standing.state, attempt=standing.attempt)
    print(f"{stage}: {standing.state}")


if __name__ == "__main__":
    run(main)
