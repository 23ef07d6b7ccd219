"""Action: removes items for good, from the dataset, from every release and from wherever DVC keeps their bytes."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.errors import UserError
from pipeline.ingest_guard import locked, refuse_stage_outs
from pipeline.params import read_section
from pipeline.release import LOCK, checked_paths, only_one
from pipeline.releasing.making import PARAMS
from pipeline.releasing.purge_plan import Plan, look
from pipeline.releasing.purge_steps import Purging, carry_out
from pipeline.releasing.purged import RECORD

NOT_REACHED = (
    "other clones and their caches: `git pull`, then `segloop purge` there",
    "files of the source, batches under done/ of the inbox, folders of `show`, `labels export` and --consensus",
    "what MLflow keeps of a version (galleries, dossiers), and weights that learned from the items",
    "names in git: label decisions, lists of what was left out, and this record unless --anonymous",
    "old versions of objects where a bucket keeps versions, and backups",
    "datasets that were added with DVC but never committed: `dvc gc --all-commits --workspace`",
)


def main(
    items: Annotated[
        list[str] | None, typer.Argument(help="Names of the items; none finishes what is recorded.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="Why, for the record: consent withdrawn, say.")] = "",
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Record no names, only digests of them.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove items for good: from the dataset, every release, the cache and the remotes.

    Every row of the items and of their images goes. Old releases keep their other items and say what is gone. Run again
    after a failure or a kill, it finishes what was begun; without items, it finishes what was purged in another clone.

    Example: segloop purge 0001TP_006690 --note "consent withdrawn" --dry-run
    """
    root = Path.cwd()
    names = set(items or [])
    if names and not note.strip():
        raise UserError('A purge needs a reason, received none. Example: --note "consent withdrawn"')
    paths = checked_paths(read_section(DatasetParams, "dataset", PARAMS))
    refuse_stage_outs([paths.path / "batch"], root)
    with ExitStack() as stack:
        if not dry_run:
            stack.enter_context(only_one(root / LOCK))
            stack.enter_context(locked(paths.path, paths.splits))
        plan = look(root, paths.path, names)
        for line in told(plan):
            print(line)
        if plan.empty:
            print("nothing is left to purge")
            return
        if dry_run or not (yes or _confirmed()):
            print("nothing was changed")
            return
        purging = Purging(plan, note.strip(), anonymous)
        carry_out(purging)
    for line in done(plan):
        print(line)


def told(plan: Plan) -> Iterator[str]:
    """What would go, in lines."""
    for name, images in sorted(plan.items.items()):
        rows = sum(part.rows.get(name, 0) for part in plan.doomed.values())
        asked = "" if name in plan.names else ", since it has the same image"
        yield f"item '{name}': {rows} row(s), {len(images)} image(s){asked}"
    for part in plan.doomed.values():
        where = [str(file.relative_to(plan.root)) for file in part.files] + part.releases
        yield f"part {part.md5}: {sum(part.rows.values())} row(s) go; {', '.join(where) or 'of other commits'}"
    for name, md5s in plan.left.items():
        yield f"{len(md5s)} part(s) that were purged before lie still in {name}"
    for place in plan.places[1:]:
        yield f"remote: {place.name} ({place.url})"
    for what in plan.unread:
        yield f"WARNING: {what} is in no place, so nobody can tell what it holds"


def done(plan: Plan) -> Iterator[str]:
    """What happened and what is left to do, in lines."""
    yield f"purged; the record is {RECORD}"
    yield "this does not reach:"
    yield from (f"  - {what}" for what in (*NOT_REACHED, *_worktrees(plan)))
    yield f"next: git add {RECORD} {plan.dataset}.dvc, dvc repro, then segloop release: it carries the dataset on"


def _worktrees(plan: Plan) -> Iterator[str]:
    listed = plan.git.do("worktree", "list", "--porcelain").splitlines()
    for path in (line.removeprefix("worktree ") for line in listed if line.startswith("worktree ")):
        if Path(path).resolve() != plan.root.resolve():
            yield f"the worktree {path}: git worktree remove --force {path}"


def _confirmed() -> bool:
    if not sys.stdin.isatty():
        raise UserError(
            "Nobody is there to confirm, and purged bytes never come back. Look with --dry-run, then --yes."
        )
    try:
        return typer.confirm("Purged bytes never come back. Go on?")
    except typer.Abort:
        return False


if __name__ == "__main__":
    run(main)
