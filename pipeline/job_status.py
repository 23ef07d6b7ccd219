"""Action: prints where the jobs of the workspace stand."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.jobs.launcher import Standing
from pipeline.jobs.submission import Jobs
from pipeline.outcome import tell


def main(
    stage: Annotated[str | None, typer.Argument(help="The stage; all that were submitted if not given.")] = None,
) -> None:
    """Print where the jobs of the workspace stand.

    Example: segloop job status train
    """
    jobs = Jobs(Path.cwd())
    stages = [stage] if stage else [record.stage for record in jobs.records()]
    if not stages:
        print("no job was submitted from this workspace: segloop job submit STAGE")
    standings = {name: jobs.standing(name) for name in stages}
    tell(jobs={name: _facts(jobs, name, each) for name, each in standings.items()})
    for name, each in standings.items():
        print(f"{name}: {_sentence(each)}")


def _facts(jobs: Jobs, stage: str, standing: Standing) -> dict[str, object]:
    by_hand = jobs.is_cancelled_by_hand(jobs.record(stage), standing)
    return {"state": standing.state, "code": standing.code, "by_hand": by_hand}


def _sentence(standing: Standing) -> str:
    said = [str(standing.state)]
    if standing.attempt:
        said.append(f"attempt {standing.attempt}")
    if standing.code:
        said.append(f"exit code {standing.code}")
    return ", ".join([*said, *([standing.handle] if standing.handle else [])])


if __name__ == "__main__":
    run(main)
