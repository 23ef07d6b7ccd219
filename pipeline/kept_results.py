"""Jobs that cleaning must not harm: those that run, and the results that no workspace has taken over yet."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.jobs.launcher import State
from pipeline.jobs.local import JOBS, REMEDY, SPEC, Local
from pipeline.jobs.snapshot import Plumbing
from pipeline.jobs.stage_run import set_config
from pipeline.releasing.storage import open_repo


def job_folders(root: Path) -> list[Path]:
    """The folders of jobs of this machine."""
    return sorted(file.parent for file in (root / JOBS).glob(f"*/{SPEC}"))


def is_running(folder: Path) -> bool:
    """Whether a job runs; of one whose folder is damaged nobody could say more than that no leader is known."""
    try:
        standing = Local(folder.parents[2], poll_s=0, stop_s=0, slots=1).standing(folder.name)
    except UserError:
        return False
    return standing.state is State.RUNNING


def last_word(folder: Path) -> float:
    """When a job last said something, in seconds since the epoch."""
    return max(each.lstat().st_mtime for each in folder.iterdir() if each.is_file())


def remove_job(folder: Path) -> None:
    """Removes a job's folder, unless it runs or is being submitted.

    Raises:
        UserError: It runs.
        OSError: Somebody submits it.
    """
    with (folder / "submit.lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_running(folder):
            raise UserError(f"The job {folder.name} is running.")
        shutil.rmtree(folder)


@contextmanager
def project_of_results(root: Path) -> Iterator[Path | None]:
    """A DVC project that names the results of all jobs whose folder is there, as long as the block lasts.

    DVC's garbage collection takes for garbage what no project names, and so the results of a job until a workspace has
    taken them over.

    Yields:
        Its folder; None where there are no results.
    """
    repo = open_repo(root)
    outs = _results(repo, [str(read_json(folder / SPEC, REMEDY)["key"]) for folder in job_folders(root)])
    if not outs:
        yield None
        return
    from dvc.repo import Repo

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        Plumbing(folder).git("init", "--quiet")  # DVC asks for the branches of every project
        Repo.init(str(folder)).close()
        set_config(folder, str(repo.cache.local_cache_dir), None)
        (folder / "results.dvc").write_text(yaml.safe_dump({"outs": outs}), encoding="utf-8")
        yield folder


def _results(repo: Any, keys: list[str]) -> list[dict[str, str]]:
    """Outputs by the entries of DVC's run cache, as a .dvc file names them."""
    known = Path(repo.stage_cache.cache_dir)
    entries = [
        repo.stage_cache._load_cache(key, file.name)  # noqa: SLF001 - DVC's own way, which has no other name
        for key in keys
        for file in (known / key[:2] / key).glob("*")
    ]
    digests = {str(out["md5"]) for entry in entries if entry for out in entry.get("outs", []) if "md5" in out}
    there = sorted(each for each in digests if repo.cache.local.exists(each))
    return [{"md5": digest, "hash": "md5", "path": f"result-{number}"} for number, digest in enumerate(there)]
