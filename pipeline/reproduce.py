"""Action: trains on a release of the dataset, by its name, in a workspace of its own."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.releasing.git import Git
from pipeline.releasing.prepared import check_same_items
from pipeline.workspaces import (
    Code,
    Wanted,
    check_wanted,
    make_workspace,
    parse_overrides,
    run_stages,
)

FOLDER = Path(".segloop/workspaces")
RESULTS = ("data/tiles", "data/training", "data/export", "data/evaluation/metrics.json")


def main(
    release: Annotated[str, typer.Argument(help="The release: a tag, or any git revision with a dataset.")],
    into: Annotated[
        Path | None, typer.Option(help="Folder of the workspace; .segloop/workspaces/NAME if not given.")
    ] = None,
    code: Annotated[Code, typer.Option(help="Code and params: today's commit, or the release's own.")] = Code.NOW,
    changes: Annotated[list[str] | None, typer.Option("--set", help="A param: train.max_epochs=2. Repeat it.")] = None,
    until: Annotated[str | None, typer.Option(help="The last stage to run, such as prepare.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")] = False,
) -> None:
    """Train on a release by its name, in a workspace of its own: the same items as then.

    The workspace is a git worktree with the release's dataset, splits and taxonomy; this one is not touched. What was
    made of the same inputs before comes from the shared cache. Run again, it goes on where it stopped.

    Example: segloop reproduce data/v3 --code then
    """
    root = Path.cwd()
    folder = (into or FOLDER / release.replace("/", "-")).resolve()
    wanted = Wanted(root, release, folder, code, parse_overrides(changes or []))
    check_wanted(wanted, until)
    if dry_run:
        base = release if code is Code.THEN else f"commit {Git(root).head()[:10]}"
        print(f"would make {folder}: code and params of {base}, data of {release}; then dvc repro {until or ''}")
        return
    opened = make_workspace(wanted)
    for sentence in opened.losses.sentences:
        print(f"{release} is no longer whole: {sentence}")
    run_stages(folder, (until,) if until else ())
    if (folder / RESULTS[0]).exists():
        print(check_same_items(folder, root, opened))
    for name in RESULTS:
        if (folder / name).exists():
            print(folder / name)
    print(f"when it is no longer needed: git worktree remove --force {folder}")


if __name__ == "__main__":
    run(main)
