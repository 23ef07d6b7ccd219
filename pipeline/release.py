"""Action: makes a release of the dataset that can be read, compared and trusted from then on."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.errors import OutageError, UserError
from pipeline.ingest_guard import locked
from pipeline.outcome import tell
from pipeline.params import read_section
from pipeline.releasing.accepted import accepted_file
from pipeline.releasing.card import card_files
from pipeline.releasing.making import DECISIONS, PARAMS, TAXONOMY, Making, ReleaseParams
from pipeline.releasing.steps import make, plan

LOCK = Path(".segloop/releases/lock")


def main(
    message: Annotated[str, typer.Option("--message", "-m", help="What is new, for whoever reads the list.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate elsewhere and say what would be released; change nothing.")
    ] = False,
    no_push: Annotated[
        bool,
        typer.Option("--no-push", help="Leave the git remote alone; the data is pushed and verified as ever."),
    ] = False,
    without_lost: Annotated[
        bool, typer.Option("--without-lost", help="Leave items of the last release out that are gone, and not removed.")
    ] = False,
) -> None:
    """Release the dataset: validated, pushed, verified on the remote, tagged data/vN.

    The data goes to the DVC remote. Where there is a git remote (the branch's own, or origin), the branch that is
    checked out and every data/vN tag that it lacks are pushed to it, unless --no-push is given. Run again after a
    failure or a kill, it finishes what was begun; with nothing new, it makes nothing new.

    Example: segloop release --message "May batch, pallets relabelled"
    """
    root = Path.cwd()
    making = Making(
        root=root,
        params=read_section(ReleaseParams, "release", PARAMS),
        paths=checked_paths(read_section(DatasetParams, "dataset", PARAMS)),
        message=checked_message(message),
        no_push=no_push,
        without_lost=without_lost,
    )
    with nullcontext() if dry_run else alone(root, making.paths):
        (plan if dry_run else make)(making)
    for line in planned(making) if dry_run else made(making):
        print(line)
    if not dry_run:
        release = making.last if making.unchanged else making.tag
        tell(release=release, unchanged=making.unchanged, releases=making.git.tags())


def checked_message(message: str) -> str:
    """The message without the blanks around it; a UserError when nothing is left."""
    if not message.strip():
        raise UserError('A release needs a message, received none. Example: segloop release --message "May batch"')
    return message.strip()


def checked_paths(paths: DatasetParams) -> DatasetParams:
    """The paths themselves; a UserError when they leave the workspace, where git could not commit them."""
    outside = [str(path) for path in (paths.path, paths.splits) if path.is_absolute() or ".." in path.parts]
    if outside:
        raise UserError(f"params.yaml, section 'dataset': {', '.join(outside)} lies outside of the workspace.")
    return paths


@contextmanager
def alone(root: Path, paths: DatasetParams) -> Iterator[None]:
    """Holds whatever could change the release on the way: other releases, purges, ingestions, moves, migrations.

    Raises:
        OutageError: Another release or purge is under way in this workspace.
    """
    places = (paths.path, paths.splits, TAXONOMY, DECISIONS)
    with only_one(root / LOCK), locked(*(root / place for place in places)):
        yield


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Holds the lock, which the system releases when the process ends, however it ends.

    Raises:
        OutageError: Another release or purge is under way in this workspace.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutageError(
                "Another release or purge is under way in this workspace. Wait, then try again."
            ) from None
        yield


def made(making: Making) -> Iterator[str]:
    """What happened, in lines."""
    if making.unchanged:
        yield f"nothing is new since {making.last}: no release was made"
        return
    yield f"released {making.tag}: {_what(making)}"
    yield from _holdout(making)
    yield f"card: {card_files(making.tag)[1]}"
    if making.git.remote() is None:
        yield "there is no git remote: commit and tag are in this repository only"


def planned(making: Making) -> Iterator[str]:
    """What would happen, in lines."""
    if making.unchanged:
        yield f"nothing is new since {making.last}: no release would be made"
    else:
        yield f"would release {making.tag}: {_what(making)}"
        yield from _holdout(making)
        yield f"would commit {', '.join(map(str, [*making.files, *card_files(making.tag), accepted_file(making.tag)]))}"
    remote = making.git.remote()
    tags = making.lacking if making.unchanged else [*making.lacking, making.tag]
    if remote is None:
        yield "there is no git remote"
    elif tags:
        kept = making.kept_from_git
        what = f"would leave alone, as {kept} asks," if kept else "would push to"
        where = f"the git remote '{remote}' ({making.git.remote_url(remote)})"
        yield f"{what} {where}: branch {making.git.branch()}, {', '.join(tags)}"


def _what(making: Making) -> str:
    assert making.content is not None
    facts = making.content.facts
    changes = making.changes.counts if making.changes else {}
    since = ", ".join(f"{count} {name}" for name, count in changes.items() if count)
    return f"{facts['items']} items in {facts['groups']} groups" + (f"; {since} since {making.last}" if since else "")


def _holdout(making: Making) -> Iterator[str]:
    if told := ", ".join(f"{count} {name}" for name, count in making.held_out.items() if count):
        yield f"holdout: {told} since {making.last}; its version changes, and verdicts on it are void"


if __name__ == "__main__":
    run(main)
