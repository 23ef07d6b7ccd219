"""Action: prints the log of a stage's job while it runs, and exits as the job does."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.errors import OutageError, VerdictError
from pipeline.jobs.launcher import Standing, State
from pipeline.jobs.submission import Jobs, Record
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
        standing = _followed(jobs, record)
    elif standing.state is not State.SUCCEEDED:
        jobs.launcher(record)  # where Airflow alone knows of the job, this says so
    by_hand = jobs.is_cancelled_by_hand(record, standing)
    tell(state=standing.state, attempt=standing.attempt, code=standing.code, by_hand=by_hand)
    print(f"{stage}: {standing.state}" + (f", exit code {standing.code}" if standing.code else ""))
    _end_as(stage, standing)


def _followed(jobs: Jobs, record: Record) -> Standing:
    with jobs.watch(record).following():
        for piece in jobs.launcher(record).follow(record.name):
            print(piece, end="", flush=True)
        return jobs.standing(record.stage)


def _end_as(stage: str, standing: Standing) -> None:
    """Ends this process as the job ended; only one that succeeded has nothing to say."""
    if standing.code == VerdictError.exit_code:
        raise VerdictError(f"The verdict of '{stage}' is no; its own words stand above.")
    if standing.code:
        raise SystemExit(standing.code)
    if standing.state is not State.SUCCEEDED:
        raise OutageError(
            f"How the job of '{stage}' ended is not known: it is {standing.state} now, as after a restart of the "
            f"cluster's head. To go on from the last checkpoint: segloop job submit {stage}"
        )


if __name__ == "__main__":
    run(main)
