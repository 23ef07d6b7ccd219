"""Action: removes items for good, from the dataset, from every release and from wherever DVC keeps their bytes."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from pipeline.command import run
from pipeline.dataset import DatasetParams
from pipeline.errors import UserError
from pipeline.ingest_guard import locked, refuse_stage_outs
from pipeline.jobs.local import JOBS
from pipeline.params import read_section
from pipeline.release import LOCK, checked_paths, only_one
from pipeline.releasing.derived import Derived
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
    Outs of stages and reports that may show the items go from the workspace; --dry-run names them.

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
        yield f"WARNING: {what}"
    yield from _told_of_derived(plan.derived)
    for what in _elsewhere(plan):
        yield f"WARNING: not reached, and may hold them: {what}"


def _told_of_derived(derived: Derived) -> Iterator[str]:
    for name, objects in derived.objects.items():
        yield f"{len(objects)} tile shard(s) and picture(s) made of them go from {name}"
    for out in derived.outs:
        yield f"the tiles and pictures of {out} go: they were made of them, and `dvc repro` makes them again"
    for report in derived.reports:
        yield f"{report} goes: it may show them"
    if derived.facts:
        yield f"the stored facts of {len(derived.facts)} part(s) go"
    for what in derived.unread:
        yield f"WARNING: {what}"


def done(plan: Plan) -> Iterator[str]:
    """What happened and what is left to do, in lines."""
    yield f"purged; the record is {RECORD}"
    yield "this does not reach:"
    yield from (f"  - {what}" for what in (*NOT_REACHED, *_elsewhere(plan)))
    yield f"next: git add {RECORD} {plan.dataset}.dvc, dvc repro, then segloop release: it carries the dataset on"


def _elsewhere(plan: Plan) -> Iterator[str]:
    """Workspaces of runs, other worktrees and work of jobs, each with the command that removes it."""
    listed = plan.git.do("worktree", "list", "--porcelain").splitlines()
    for path in (line.removeprefix("worktree ") for line in listed if line.startswith("worktree ")):
        if Path(path).resolve() != plan.root.resolve():
            yield f"the worktree {path}: git worktree remove --force {quote(path)}"
    for job in sorted(path for path in (plan.root / JOBS).glob("*") if path.is_dir()):
        yield f"the work of the job {job.name}: rm -rf {quote(str(job.relative_to(plan.root)))}"


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
