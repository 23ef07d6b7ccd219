"""Action: commits what a run decided and measured to a branch of its own."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.command import run
from pipeline.jobs.snapshot import project_root
from pipeline.outcome import tell
from pipeline.params import read_section
from pipeline.run_workspace import Ended, WorkspaceParams, branch_of, commit_run, find_workspace


def main(
    key: Annotated[str | None, typer.Argument(help="The run's key; the workspace that we are in if not given.")] = None,
    version: Annotated[str | None, typer.Option(help="The version that the run registered.")] = None,
    verdict: Annotated[str | None, typer.Option(help="The gate's verdict on it.")] = None,
    note: Annotated[str, typer.Option(help="A sentence for people.")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="The run did not finish, and may be run again.")] = False,
    report: Annotated[list[Path] | None, typer.Option(help="A small file to commit as well. Repeat it.")] = None,
) -> None:
    """Commit what a run decided and measured (lock, params, metrics, record) to the branch runs/KEY.

    Nobody's checkout is touched. Run again with the same outcome, nothing changes.

    Example: segloop workspace commit 3f2a9c01d4e5b678 --version 4 --verdict passed
    """
    root = project_root(Path.cwd())
    folder = find_workspace(root, key) if key else Path.cwd()
    settings = read_section(WorkspaceParams, "workspace", folder / "params.yaml")
    state: Literal["finished", "failed"] = "failed" if failed else "finished"
    ended = Ended(state, version or None, verdict or None, note)  # who has no verdict may say so by an empty word
    commit = commit_run(root, folder, ended, report or [], settings.max_report_bytes)
    branch = branch_of(folder.name)
    tell(branch=branch, commit=commit, changed=commit is not None)
    print(f"{branch}: {commit[:10] if commit else 'says so already'}")


if __name__ == "__main__":
    run(main)
