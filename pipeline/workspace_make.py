"""Action: makes the workspace of a training run, named by release, code and params."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.errors import UserError
from pipeline.jobs.snapshot import project_root
from pipeline.outcome import tell
from pipeline.releasing.git import Git
from pipeline.run_workspace import RunRecord, branch_of, make_run
from pipeline.workspaces import parse_overrides

LATEST = "latest"


def main(
    release: Annotated[str, typer.Argument(help="The release: a tag, any git revision with a dataset, or latest.")],
    changes: Annotated[list[str] | None, typer.Option("--set", help="A param: train.max_epochs=2. Repeat it.")] = None,
    owner: Annotated[
        str | None, typer.Option(help="Who works in it from now; where it is another's, that is told and nothing made.")
    ] = None,
    instead_of: Annotated[
        str | None, typer.Option(help="An owner whose work is over, and may be gone on with.")
    ] = None,
) -> None:
    """Make the workspace of a training run, named by release, code and params; one that has finished is left alone.

    Example: segloop workspace make data/v3 --set train.max_epochs=2
    """
    root = project_root(Path.cwd())
    release = newest(root) if release == LATEST else release
    made = make_run(root, release, parse_overrides(changes or []), owner=owner, instead_of=instead_of)
    known = {"version": made.record.version, "verdict": made.record.verdict} if made.record else {}
    tell(
        workspace=str(made.folder), key=made.key, release=release, commit=made.commit,
        branch=branch_of(made.key), finished=made.finished, held_by=made.held_by, **known,
    )  # fmt: skip
    if made.record and made.finished:
        said = _done(release, made.record)
        tell(said=said)
        print(f"nothing to do: {said}")
        return
    if made.held_by:
        print(f"{made.folder} is the workspace of {made.held_by}, and was left alone")
        return
    print(made.folder)


def _done(release: str, record: RunRecord) -> str:
    """Why there is nothing to do, what would be something, and where the result is."""
    verdict = f" (gate: {record.verdict})" if record.verdict else ""
    result = f"registered version {record.version}{verdict}" if record.version else "registered no version"
    return (
        f"run {record.key} on {release} has finished, and {result}. Training again on the same data, code and params "
        "gives the same model: release new data, or change params.yaml or code and commit. Its record: "
        f"git show {branch_of(record.key)}"
    )


def newest(root: Path) -> str:
    """The tag of the newest release.

    Raises:
        UserError: There is none.
    """
    tags = Git(root).tags()
    if not tags:
        raise UserError("There is no release yet: make one by `segloop release`, or name a revision.")
    return tags[-1]


if __name__ == "__main__":
    run(main)
