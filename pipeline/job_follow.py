"""Action: prints the log of a stage's job while it runs, and exits as the job does."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.errors import UserError
from pipeline.jobs.launcher import State
from pipeline.jobs.submission import Jobs
from pipeline.jobs.watch import following
from pipeline.outcome import tell


def main(
    stage: Annotated[str, typer.Argument(help="The stage, as it was submitted.")],
) -> None:
    """Print the log of a stage's job while it runs, and exit as the job does.

    To stop following leaves the job as it is; follow it again at any time.

    Example: segloop job follow train
    """
    jobs = Jobs(Path.cwd())
    record, standing = jobs.record(stage), jobs.standing(stage)
    if standing.attempt:
        with following(jobs.workspace, stage):
            for piece in jobs.launcher(record).follow(record.name):
                print(piece, end="", flush=True)
        standing = jobs.standing(stage)
    elif standing.state is not State.SUCCEEDED:
        raise UserError(f"No job of '{stage}' was ever started: segloop job submit {stage}")
    tell(state=standing.state, attempt=standing.attempt, code=standing.code)
    print(f"{stage}: {standing.state}" + (f", exit code {standing.code}" if standing.code else ""))
    if standing.code:
        raise SystemExit(standing.code)


if __name__ == "__main__":
    run(main)
