"""Puts a project's taxonomy and params in place, without losing what was edited here."""

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.errors import UserError
from pipeline.files import write_atomic
from pipeline.params import read_yaml
from pipeline.taxonomy import load_taxonomy

PLACES = {"taxonomy.yaml": Path("data/taxonomy.yaml"), "params.yaml": Path("params.yaml")}


def main(
    folder: Annotated[Path, typer.Argument(help="Folder with a taxonomy.yaml and a params.yaml.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; write nothing.")] = False,
) -> None:
    """Put a project's taxonomy and params in place.

    Both files of the folder replace data/taxonomy.yaml and params.yaml of the workspace, unless these have edits that
    git does not hold. dvc.yaml stays as it is.

    Example: segloop use examples/camvid
    """
    workspace = Path.cwd()
    changes = planned(folder, workspace)
    refuse_losses(changes, workspace)
    for place, content in changes.items():
        if not dry_run:
            write_atomic(workspace / place, content)
        print(f"{'would write' if dry_run else 'wrote'} {place}")
    if not changes:
        print(f"{folder} is in use already; nothing to do")
    print("next: segloop ingest SRC --format FORMAT --batch NAME, then dvc repro")


def planned(folder: Path, workspace: Path) -> dict[Path, bytes]:
    """The new content of each file that differs from what stands in the workspace.

    Raises:
        UserError: A file is missing or malformed, or the workspace has no dvc.yaml.
    """
    if not (workspace / "dvc.yaml").exists():
        raise UserError(f"{workspace} has no dvc.yaml, so it is no workspace. Run from the workspace's root.")
    load_taxonomy(folder / "taxonomy.yaml")
    read_yaml(folder / "params.yaml")
    wanted = {place: (folder / name).read_bytes() for name, place in PLACES.items()}
    return {place: content for place, content in wanted.items() if _content(workspace / place) != content}


def refuse_losses(changes: dict[Path, bytes], workspace: Path) -> None:
    """Refuses to overwrite what git cannot bring back.

    Args:
        changes: New content by place.
        workspace: The workspace's root.

    Raises:
        UserError: A file that would be overwritten differs from the last commit, or is not committed at all.
    """
    losses = [
        str(place)
        for place in changes
        if (workspace / place).exists() and _content(workspace / place) != _committed(place, workspace)
    ]
    if losses:
        raise UserError(
            f"{', '.join(losses)} would be overwritten, with edits that are in no commit. "
            f"Commit them (git commit {' '.join(losses)}) or drop them (git checkout -- {' '.join(losses)}).",
        )


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def _committed(place: Path, workspace: Path) -> bytes | None:
    shown = subprocess.run(
        ["git", "show", f"HEAD:./{place.as_posix()}"], cwd=workspace, capture_output=True, check=False
    )
    return shown.stdout if shown.returncode == 0 else None


if __name__ == "__main__":
    run(main)
