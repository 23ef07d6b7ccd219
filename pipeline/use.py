"""Puts a project's taxonomy and params in place, without losing what was edited here."""

import subprocess
from pathlib import Path
from typing import Annotated

import typer
import yaml

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
        UserError: A file is missing or malformed, its params are not this version's, or the workspace has no
            dvc.yaml.
    """
    if not (workspace / "dvc.yaml").exists():
        raise UserError(f"{workspace} has no dvc.yaml, so it is no workspace. Run from the workspace's root.")
    if missing := [name for name in PLACES if not (folder / name).is_file()]:
        what = f"{folder} has no {' and no '.join(missing)}" if folder.is_dir() else f"There is no folder {folder}"
        raise UserError(f"{what}. Name a folder with {' and '.join(PLACES)}, such as examples/camvid.")
    load_taxonomy(folder / "taxonomy.yaml")
    refuse_strangers(read_yaml(folder / "params.yaml"), _known(workspace), folder / "params.yaml")
    wanted = {place: (folder / name).read_bytes() for name, place in PLACES.items()}
    return {place: content for place, content in wanted.items() if _content(workspace / place) != content}


def refuse_strangers(params: dict[str, object], known: dict[str, object], file: Path) -> None:
    """Refuses params whose sections, or the keys in them, are not the workspace's: another version's, or misspelt.

    Values, and the keys of mappings inside a section, are the stages' to judge.

    Args:
        params: The project's params.
        known: The workspace's.
        file: Where the project's stand, for the message.

    Raises:
        UserError: A section is unknown, missing or no mapping, or a key is unknown.
    """
    faults = [f"unknown section '{name}'" for name in params if name not in known]
    faults += [f"no section '{name}'" for name in known if name not in params]
    for name in params.keys() & known.keys():
        section, ours = params[name], known[name]
        if not isinstance(section, dict):
            faults.append(f"section '{name}' is no mapping")
        elif isinstance(ours, dict):
            faults += [f"section '{name}': unknown key '{key}'" for key in section if key not in ours]
    if faults:
        raise UserError(f"{file}: {'; '.join(sorted(faults))}. Mend it after the workspace's params.yaml.")


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
        if (workspace / place).exists() and _text(workspace / place) != _as_lines(_committed(place, workspace))
    ]
    if losses:
        raise UserError(
            f"{', '.join(losses)} would be overwritten, with edits that are in no commit. "
            f"Commit them (git commit {' '.join(losses)}) or drop them (git checkout -- {' '.join(losses)}).",
        )


def _known(workspace: Path) -> dict[str, object]:
    """The workspace's params as they are committed, since the file may have been edited; else the file's."""
    committed = _committed(PLACES["params.yaml"], workspace)
    if committed is None:
        return read_yaml(workspace / PLACES["params.yaml"])
    try:
        sections = yaml.safe_load(committed)
    except yaml.YAMLError as error:
        raise UserError(f"The committed params.yaml is not readable as YAML: {error}. Mend and commit it.") from None
    return sections if isinstance(sections, dict) else {}


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def _text(file: Path) -> bytes | None:
    return _as_lines(_content(file))


def _as_lines(content: bytes | None) -> bytes | None:
    """Git may keep the ends of lines in another form than the working tree."""
    return None if content is None else content.replace(b"\r\n", b"\n")


def _committed(place: Path, workspace: Path) -> bytes | None:
    shown = subprocess.run(
        ["git", "show", f"HEAD:./{place.as_posix()}"], cwd=workspace, capture_output=True, check=False
    )
    return shown.stdout if shown.returncode == 0 else None


if __name__ == "__main__":
    run(main)
