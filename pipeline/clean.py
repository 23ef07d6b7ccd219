"""Action: removes what nobody needs any more, by the retention in params.yaml."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field

from pipeline.command import run
from pipeline.errors import OutageError, SegloopError
from pipeline.jobs.local import JOBS
from pipeline.jobs.processes import members
from pipeline.kept_results import is_running, job_folders, last_word, project_of_results, remove_job
from pipeline.lineage import LineageParams
from pipeline.outcome import tell
from pipeline.params import Section, read_section
from pipeline.run_workspace import FOLDER, find_workspace, record_of, remove_workspace
from pipeline.workspaces import MARKER

DAY_S = 86_400
REPORTS, TASKS = Path(".segloop/reports"), Path(".segloop/annotation_tasks")
LOCK = Path("dvc.lock")


class KeepDays(Section):
    """How long things are kept, in days.

    Attributes:
        workspaces: Of finished runs; what they made stays in DVC's cache and on their branch.
        abandoned: Workspaces whose run never finished.
        reports: What tasks published.
        tasks: Tasks for annotators.
        telemetry: Parts of the record of served requests.
        jobs: Folders of jobs of this machine; as long as one is kept, so are the job's results in DVC's cache.
    """

    workspaces: float = Field(ge=0)
    abandoned: float = Field(ge=0)
    reports: float = Field(ge=0)
    tasks: float = Field(ge=0)
    telemetry: float = Field(ge=0)
    jobs: float = Field(ge=0)


class CleanParams(Section):
    """Section `clean`.

    Attributes:
        keep_days: Retention.
        cache: Whether objects of DVC's cache that no tag, branch, workspace or job names are removed.
    """

    keep_days: KeepDays
    cache: bool


def main(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed; remove nothing.")] = False,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Remove what nobody needs any more, by the retention in params.yaml.

    Workspaces of old runs, published reports, annotation tasks, telemetry, folders of jobs, and objects of DVC's cache
    that no release, branch, workspace or job names. What cannot be removed is told, and the rest goes on.

    Example: segloop clean --dry-run
    """
    root, settings = Path.cwd(), read_section(CleanParams, "clean", params)
    telemetry = read_section(LineageParams, "lineage", params).requests
    now, failed = time.time(), 0
    removed = 0
    for place in old_places(root, settings.keep_days, telemetry, now):
        print(f"{'would remove' if dry_run else 'removing'} {place.relative_to(root)}")
        try:
            removed += 1
            if not dry_run:
                remove(root, place)
        except (SegloopError, OSError) as error:
            failed += 1
            print(f"warning: {place} stays: {error}", file=sys.stderr)
    if settings.cache:
        clean_cache(root, dry_run=dry_run)
    tell(removed=removed - failed)
    if failed:
        raise OutageError(f"{failed} of {removed} could not be removed; the reasons stand above. Run it again.")
    print(f"{removed} {'would go' if dry_run else 'are gone'}")


def old_places(root: Path, keep: KeepDays, telemetry: Path, now: float) -> Iterator[Path]:
    """What is older than it is kept.

    Args:
        root: The project's checkout.
        keep: Retention.
        telemetry: The record of served requests, relative to the root.
        now: Seconds since the epoch.
    """
    for marker in sorted((root / FOLDER).glob(f"*/{MARKER}")):
        folder = marker.parent.parent
        record = record_of(root, folder.name)
        finished = record is not None and record.state == "finished"
        days = keep.workspaces if finished else keep.abandoned
        if now - last_touched(folder / LOCK, marker) > days * DAY_S:
            yield folder
    yield from (job for job in job_folders(root) if not is_running(job) and now - last_word(job) > keep.jobs * DAY_S)
    shallow = [(REPORTS, "*/*", keep.reports), (TASKS, "*", keep.tasks), (telemetry, "**/*.parquet", keep.telemetry)]
    for base, pattern, days in shallow:
        yield from sorted(each for each in (root / base).glob(pattern) if now - each.lstat().st_mtime > days * DAY_S)


def last_touched(*files: Path) -> float:
    """When the youngest of these files was written, in seconds since the epoch."""
    return max(file.stat().st_mtime for file in files if file.exists())


def remove(root: Path, place: Path) -> None:
    """Removes a workspace as git wants it, a job that does not run, or a folder or file."""
    if place.parent == root / FOLDER:
        remove_workspace(root, find_workspace(root, place.name), unfinished=True)
    elif place.parent == root / JOBS:
        remove_job(place)
    elif place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()


def clean_cache(root: Path, *, dry_run: bool) -> None:
    """Lets DVC remove the objects that no tag, branch, workspace or job names; not while something may write some.

    Raises:
        OutageError: DVC failed.
    """
    workspaces = [marker.parent.parent for marker in sorted((root / FOLDER).glob(f"*/{MARKER}"))]
    busy = [folder.name for folder in workspaces if members(None, folder)]
    busy += [f"job {folder.name}" for folder in job_folders(root) if is_running(folder)]
    if busy:
        print(f"the cache is left alone: {', '.join(busy)} at work")
        return
    with project_of_results(root) as results:
        projects = [*workspaces, *([results] if results else [])]
        words = ["gc", "--workspace", "--all-branches", "--all-tags", "--force"]
        words += ["--projects", *map(str, projects)] if projects else []
        command = [sys.executable, "-m", "dvc", *words, *(["--dry"] if dry_run else [])]
        if subprocess.run(command, cwd=root, check=False).returncode:
            raise OutageError("`dvc gc` failed, and says above why. Another DVC command may be at work: run it again.")


if __name__ == "__main__":
    run(main)
