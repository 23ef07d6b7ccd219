"""The other side of a job, the same for every launcher: fetch commit and inputs, run the stage, hand its results in."""

import fcntl
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.command import BUG, SIGNALLED
from pipeline.errors import OutageError, UserError, VerdictError
from pipeline.files import read_json
from pipeline.jobs.checkpoints import Keeper
from pipeline.jobs.launcher import VERDICT
from pipeline.jobs.processes import end, members
from pipeline.jobs.remote_files import RemoteFiles, open_remote_files
from pipeline.jobs.source import fetch_commit
from pipeline.jobs.spec import Spec
from pipeline.jobs.stage_run import StageRun, dvc, dvc_command, dvc_environment, fail, inputs_of, set_config, stage_run
from pipeline.outcome import VARIABLE
from pipeline.releasing.storage import open_repo

EXITED = re.compile(r"exited with (-?[0-9]+)")
CODE, LOCK, TOLD = "code", "lock", "told.json"
LEFTOVER_S = 10.0
STOP_S = 20.0  # less than the clusters' own patience


def run_job(spec: Spec, folder: Path) -> int:
    """Computes a job's stage, or goes on where an earlier attempt on this machine or another was ended.

    Args:
        spec: The job.
        folder: Of this job alone; what is unfinished stays in it for the next attempt.

    Returns:
        The exit code: 0, or the stage's own. Where that is 1, `VERDICT` if the stage said that it has judged, else that
        of a bug.

    Raises:
        OutageError: Git remote or DVC remote does not answer, or another attempt is under way in the folder.
        UserError: What was fetched is not what was submitted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        end(members(None, folder / CODE), LEFTOVER_S)  # of an attempt whose leader was killed
        remote = _open_remote(spec, folder)
        workspace = _check_out(spec, folder, remote)
        run = _with_inputs(spec, workspace)
        if not (run.is_cached() or (remote and run.fetch_results(remote))):
            code = _run_stage(spec, workspace, remote)
            if code:
                return code
            run = stage_run(workspace, spec.stage)
        if remote:
            run.push_results(remote)
            remote.remove(spec.folder)
    shutil.rmtree(folder / CODE, ignore_errors=True)
    return 0


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / LOCK).open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutageError(f"Another attempt of this job is at work in {folder}. Follow that one.") from None
        yield


def _open_remote(spec: Spec, folder: Path) -> RemoteFiles | None:
    """Opens the DVC remote before there is a workspace whose configuration names it."""
    if spec.remote is None:
        return None
    access = folder / "access"
    if not access.exists():
        from dvc.repo import Repo

        access.mkdir()
        Repo.init(str(access), no_scm=True).close()
    set_config(access, None, (spec.remote.name, spec.remote.options))
    return open_remote_files(open_repo(access))


def _check_out(spec: Spec, folder: Path, remote: RemoteFiles | None) -> Path:
    workspace, marker = folder / CODE, folder / "commit"
    there = workspace.exists() and marker.exists()  # after success the workspace is gone
    if not there or marker.read_text(encoding="utf-8") != spec.commit:
        # Checkpoints are a function of code and params by themselves, and may serve another commit.
        with _kept(workspace / ".segloop", folder / "kept"):
            shutil.rmtree(workspace, ignore_errors=True)
            fetch_commit(spec, workspace, remote)
        marker.write_text(spec.commit, encoding="utf-8")
        print(f"checked out {spec.commit[:10]} in {workspace}", flush=True)
    set_config(workspace, spec.cache, (spec.remote.name, spec.remote.options) if spec.remote else None)
    return workspace


@contextmanager
def _kept(place: Path, meanwhile: Path) -> Iterator[None]:
    if place.exists():
        shutil.rmtree(meanwhile, ignore_errors=True)
        place.rename(meanwhile)
    yield
    if meanwhile.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        meanwhile.rename(place)


def _with_inputs(spec: Spec, workspace: Path) -> StageRun:
    """Puts the stage's inputs in place, and makes sure that they are those of the submission."""
    wanted = inputs_of(open_repo(workspace), spec.stage)
    if wanted:
        verb = "pull" if spec.remote else "checkout"
        fail("Fetching the job's inputs", dvc(workspace, verb, "--force", *wanted))
    run = stage_run(workspace, spec.stage)
    if run.key != spec.key:
        raise UserError(
            f"The job would compute something else than what was submitted: the stage '{spec.stage}' has the key "
            f"{run.key[:12]} here, and had {spec.key[:12]} there. It depends on a file that neither git nor DVC keeps."
        )
    return run


def _run_stage(spec: Spec, workspace: Path, remote: RemoteFiles | None) -> int:
    if remote is None:
        return _repro(workspace, spec.stage)
    with Keeper(workspace, remote, spec.folder, spec.checkpoint_s) as keeper:
        if keeper.restore():
            print("fetched the checkpoints of an earlier attempt", flush=True)
        return _repro(workspace, spec.stage)


def _repro(workspace: Path, stage: str) -> int:
    """Runs the stage alone: its key has shown that its inputs are those that the stages before it made.

    Returns:
        What the stage itself exited with, which DVC tells in words only, as jobs say it.
    """
    command = dvc_command("repro", "--single-item", stage)
    told, code = workspace.parent / TOLD, 0
    told.unlink(missing_ok=True)
    environment = dvc_environment() | {VARIABLE: str(told)}
    with subprocess.Popen(
        command, cwd=workspace, env=environment, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                sys.stderr.write(line)
                sys.stderr.flush()
                if found := EXITED.search(line):
                    code = int(found[1])
        except SystemExit:  # told to leave: so is all that was started, and a training then ends whole
            end(members(None, workspace), STOP_S)
            raise
    if process.returncode == 0:
        return 0
    return _as_jobs_say(code or process.returncode, told)


def _as_jobs_say(code: int, told: Path) -> int:
    if code in {VerdictError.exit_code, VERDICT}:
        judged = code == VerdictError.exit_code and told.exists() and read_json(told, "").get("ended") == "verdict"
        return VERDICT if judged else BUG
    return SIGNALLED - code if code < 0 else code


def leave_on(number: signal.Signals) -> None:
    """Lets a signal end this process as an interruption does, so that checkpoints are sent before."""

    def leave(received: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough
        raise SystemExit(SIGNALLED + received)

    signal.signal(number, leave)
