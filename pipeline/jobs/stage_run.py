"""A stage as a workspace would run it: its key in DVC's run cache, its inputs, and the entry with its results."""

import os
import subprocess
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import OutageError, UserError
from pipeline.jobs.remote_files import RemoteFiles
from pipeline.releasing.storage import away, open_repo, open_storage

RUNS, GRAPH = "runs", "dvc.yaml"


@dataclass(frozen=True)
class StageRun:
    """A stage of a workspace, with its inputs as they are on disk.

    Attributes:
        repo: The DVC repository.
        name: The stage's.
        key: Of DVC's run cache: a digest of command, inputs, params and code.
        inputs: What DVC keeps of its inputs: paths relative to the workspace.
    """

    repo: Any
    name: str
    key: str
    inputs: tuple[str, ...]

    @property
    def entries(self) -> str:
        """Where entries of this key lie, in a cache and on a remote."""
        return f"{RUNS}/{self.key[:2]}/{self.key}"

    @property
    def _address(self) -> str:
        """The stage as DVC finds it from any working folder."""
        return f"{Path(self.repo.root_dir) / GRAPH}:{self.name}"

    def is_cached(self) -> bool:
        """Whether DVC's cache has the results, so that the stage need not run."""
        entry = self._entry()
        return entry is not None and bool(self._stage_of(entry).outs_cached())

    def check_upstream(self) -> None:
        """Refuses a stage whose inputs are not what the stages before it would make.

        Raises:
            UserError: Naming the stages that are to be run first.
        """
        status = self.repo.status(targets=[self._address], with_deps=True)
        stale = sorted(name for name in status if name.rpartition(":")[2] != self.name)
        if stale:
            raise UserError(
                f"The inputs of '{self.name}' are stale: {', '.join(stale)}. First: dvc repro {' '.join(stale)}"
            )

    def push_inputs(self) -> None:
        """Stores the inputs on the remote.

        Raises:
            OutageError: The remote does not answer.
        """
        with self._asked("Pushing the job's inputs"):
            if self.inputs:
                self.repo.push(targets=[str(Path(self.repo.root_dir) / path) for path in self.inputs])

    def push_results(self, remote: RemoteFiles) -> None:
        """Stores the results on the remote: the objects first, the entry that names them last.

        Raises:
            OutageError: The remote does not answer.
        """
        with self._asked("Pushing the job's results"):
            self.repo.push(targets=[self._address])
        for file in self._files():
            remote.put(file, f"{self.entries}/{file.name}")

    def fetch_results(self, remote: RemoteFiles) -> bool:
        """Brings the entry and the objects that it names into the cache.

        Returns:
            Whether there are any.

        Raises:
            OutageError: The remote does not answer.
        """
        for path in remote.find(self.entries):
            file = Path(self.repo.stage_cache.cache_dir).parent / path
            if not file.exists():
                remote.get(path, file)
        entry = self._entry()
        if entry is None:
            return False
        with self._asked("Fetching the job's results"):
            for objects in self._stage_of(entry).get_used_objs().values():
                self.repo.cloud.pull(objects)
        return self.is_cached()

    def _stage_of(self, entry: dict[str, Any]) -> Any:
        """The stage with the outputs that an entry names."""
        from dvc.stage.loader import StageLoader

        stage = load_stage(self.repo, self.name)  # DVC's own way finds it from the workspace's folder only
        StageLoader.fill_from_lock(stage, entry)
        return stage

    def _entry(self) -> dict[str, Any] | None:
        """The newest entry, as DVC itself chooses it."""
        for file in sorted(self._files(), key=lambda each: each.stat().st_mtime, reverse=True):
            found: dict[str, Any] | None = self.repo.stage_cache._load_cache(self.key, file.name)  # noqa: SLF001
            return found
        return None

    def _files(self) -> list[Path]:
        folder = Path(self.repo.stage_cache.cache_dir).parent / self.entries
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _asked(self, what: str) -> AbstractContextManager[None]:
        return away(what, open_storage(self.repo))


def stage_run(workspace: Path, name: str) -> StageRun:
    """Finds a stage and what it would be run on.

    Raises:
        UserError: There is no such stage, an input is missing, or DVC could not restore it from its run cache.
    """
    from dvc.dependency.base import DependencyDoesNotExistError
    from dvc.exceptions import DvcException
    from dvc.stage.cache import _can_hash, _get_stage_hash

    repo = open_repo(workspace)
    try:
        stage = load_stage(repo, name)
    except DvcException as error:
        raise UserError(f"{workspace} has no stage {name!r}: {error}") from None
    try:
        stage.save_deps()
    except DependencyDoesNotExistError as error:
        raise UserError(f"An input of '{name}' is missing in {workspace}: {error}. Run the stages before it.") from None
    if not _can_hash(stage):
        raise UserError(f"DVC keeps no run cache of the stage '{name}', so that its results could not be brought back.")
    return StageRun(repo, name, str(_get_stage_hash(stage)), tuple(inputs_of(repo, name)))


def load_stage(repo: Any, name: str) -> Any:
    """A stage of a repository, wherever this process works."""
    return repo.stage.load_one(str(Path(repo.root_dir) / GRAPH), name)


def inputs_of(repo: Any, name: str) -> list[str]:
    """The stage's inputs that DVC keeps, and git does not; they need not be there.

    Returns:
        Paths relative to the repository's root.
    """
    kept = {out.fs_path for out in repo.index.outs if out.use_cache}
    paths = (dep.fs_path for dep in load_stage(repo, name).deps)
    return sorted({Path(os.path.relpath(path, repo.root_dir)).as_posix() for path in paths if path in kept})


def dvc(workspace: Path, *words: str) -> int:
    """Runs DVC in a workspace and gives its exit code; what it says goes where this process's words go."""
    return subprocess.run(dvc_command(*words), cwd=workspace, env=dvc_environment(), check=False).returncode


def dvc_command(*words: str) -> list[str]:
    """DVC of this interpreter."""
    return [sys.executable, "-m", "dvc", *words]


def dvc_environment() -> dict[str, str]:
    """The environment in which stages find this interpreter, and not another workspace."""
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {name: value for name, value in os.environ.items() if name not in {"DVC_ROOT", "DVC_STAGE"}} | {"PATH": here}


def set_config(workspace: Path, cache: str | None, remote: tuple[str, dict[str, Any]] | None) -> None:
    """Tells DVC of a workspace where cache and remote are, for that workspace alone.

    Args:
        workspace: The workspace.
        cache: Absolute path of the cache; its own when None.
        remote: Name and options of the default remote.
    """
    with open_repo(workspace).config.edit("local") as config:
        if cache:
            config["cache"]["dir"] = cache
        if remote:
            name, options = remote
            config["core"]["remote"] = name
            config["remote"].setdefault(name, {}).update(options)


def fail(what: str, code: int) -> None:
    """Raises the outage that DVC's failure to fetch or to push is.

    Raises:
        OutageError: The code is not 0.
    """
    if code:
        raise OutageError(f"{what} failed, and DVC says above why (it exited {code}). The same command again goes on.")
