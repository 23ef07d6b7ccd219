"""Action: removes the workspace of a run."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.errors import UserError
from pipeline.jobs.launcher import State
from pipeline.jobs.local import JOBS
from pipeline.jobs.params import LauncherName
from pipeline.jobs.snapshot import project_root
from pipeline.jobs.source import ref_of
from pipeline.jobs.submission import Jobs
from pipeline.outcome import tell
from pipeline.releasing.git import Git
from pipeline.run_workspace import find_workspace, remove_workspace


def main(
    key: Annotated[str, typer.Argument(help="The run's key: the workspace's name in .segloop/workspaces.")],
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Also when its run has not finished.")] = False,
) -> None:
    """Remove the workspace of a run, never one with a running job; branch and cache keep what counts.

    Example: segloop workspace remove 3f2a9c01d4e5b678
    """
    root = project_root(Path.cwd())
    folder = find_workspace(root, key)
    jobs = Jobs(folder)
    records = jobs.records()
    for record in records:
        if (
            record.launcher is not LauncherName.KUBERNETES
            and jobs.launcher(record).standing(record.name).state is State.RUNNING
        ):
            raise UserError(
                f"The job '{record.stage}' of {folder} is running. First, in it: segloop job cancel {record.stage}"
            )
    remove_workspace(root, folder, unfinished=unfinished)
    for record in records:
        shutil.rmtree(root / JOBS / record.name, ignore_errors=True)
        Git(root).ask("update-ref", "-d", ref_of(record.name))
    tell(removed=str(folder))
    print(f"removed {folder}")


if __name__ == "__main__":
    run(main)
