"""Submits a stage of a workspace as a job, finds it again, and brings its results back."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import OutageError, UserError
from pipeline.files import read_json, write_atomic
from pipeline.jobs.launcher import Launcher, Standing, State
from pipeline.jobs.local import JOBS, Local
from pipeline.jobs.params import JobsParams, LauncherName, read_jobs_params
from pipeline.jobs.ray_cluster import RayCluster
from pipeline.jobs.remote_files import RemoteFiles, open_remote_files
from pipeline.jobs.snapshot import project_root
from pipeline.jobs.source import send_away, send_here, take_back
from pipeline.jobs.spec import NAME_LENGTH, Remote, Spec
from pipeline.jobs.stage_run import StageRun, dvc, stage_run
from pipeline.jobs.watch import Watch
from pipeline.params import Section, parse
from pipeline.provenance import TRIGGER_VARIABLE, USERINFO, trainer

RECORDS = Path(".segloop/jobs")
# Options of a DVC remote that another machine needs and that hold no secret; all others stay here.
PUBLIC = ("url", "endpointurl", "region", "use_ssl", "account_name", "projectname", "allow_anonymous_login")
BY_AIRFLOW = (
    "Airflow follows the pod of a job on Kubernetes, and ends it. "
    "By hand: kubectl get|logs|delete pods -l segloop/job={}"
)


class Record(Section):
    """What a workspace remembers of a stage's job.

    Attributes:
        launcher: Where it was submitted to.
        stage: In `dvc.yaml`.
        key: DVC's digest of the stage with all its inputs.
    """

    launcher: LauncherName
    stage: str
    key: str

    @property
    def name(self) -> str:
        """What launchers call the job."""
        return self.key[:NAME_LENGTH]


@dataclass(frozen=True)
class Submitted:
    """A job that was submitted, or need not be.

    Attributes:
        record: What the workspace remembers of it.
        standing: Where it stands.
        spec: None where a job was found, or its results.
        said: What happened, as a sentence.
    """

    record: Record
    standing: Standing
    spec: Spec | None
    said: str


@dataclass(frozen=True)
class Jobs:
    """The jobs of a workspace.

    Attributes:
        workspace: The workspace.
        say: Takes a line for the terminal.
    """

    workspace: Path
    say: Callable[[str], None] = print

    def submit(self, stage: str, chosen: LauncherName | None = None) -> Submitted:
        """Submits a stage, or finds the job that computes the same.

        Args:
            stage: In `dvc.yaml`.
            chosen: The launcher; that of params.yaml when None.

        Raises:
            UserError: Stage or params are wrong, or the stages before it have not run.
            OutageError: The remote or the cluster does not answer.
        """
        params = read_jobs_params(self.workspace)
        name = chosen or params.launcher
        run = stage_run(self.workspace, stage)
        run.check_upstream()
        record = Record(launcher=name, stage=stage, key=run.key)
        remote = None if name is LauncherName.LOCAL else open_remote_files(run.repo)
        if run.is_cached() or (remote and run.fetch_results(remote)):
            self._remember(record)
            return Submitted(record, Standing(State.SUCCEEDED, 0, 0), None, "its results are there already")
        if name is LauncherName.KUBERNETES:
            spec = self._spec(params, run, record, remote)
            self._remember(record)
            return Submitted(record, Standing(State.ABSENT), spec, "its pod is to be made by Airflow or kubectl")
        with self.watch(record).following():
            return self._submit(params, run, record, remote)

    def _submit(self, params: JobsParams, run: StageRun, record: Record, remote: RemoteFiles | None) -> Submitted:
        launcher = self.launcher(record, params)
        before = launcher.standing(record.name)
        if before.state is State.RUNNING:
            self._remember(record)
            return Submitted(record, before, None, f"attempt {before.attempt} is running: attached to it")
        spec = self._spec(params, run, record, remote)
        self._remember(record)
        self.watch(record).mark(given_up=False)  # what was said of an earlier attempt
        now = launcher.start(spec)
        again = f" after one that {before.state}" if before.attempt else ""
        return Submitted(record, now, spec, f"started attempt {now.attempt}{again}")

    def record(self, stage: str) -> Record:
        """What the workspace remembers of a stage's job.

        Raises:
            UserError: Nothing: it was never submitted.
        """
        file = self._file(stage)
        content = read_json(file, f"submit it first: segloop job submit {stage}")
        return parse(Record, content, str(file))

    def records(self) -> list[Record]:
        """All that was submitted from this workspace."""
        return [self.record(file.stem) for file in sorted((self.workspace / RECORDS).glob("*.json"))]

    def launcher(self, record: Record, params: JobsParams | None = None) -> Launcher:
        """The launcher of a job.

        Raises:
            UserError: It is one that only Airflow talks to.
        """
        params = params or read_jobs_params(self.workspace)
        if record.launcher is LauncherName.RAY:
            return RayCluster(params.ray, params.poll_s)
        if record.launcher is LauncherName.LOCAL:
            return Local(project_root(self.workspace), params.poll_s, params.stop_s, params.slots)
        raise UserError(BY_AIRFLOW.format(record.name))

    def standing(self, stage: str) -> Standing:
        """Where a stage's job stands; one whose results are in the cache has succeeded, wherever it ran.

        A job of this machine that has succeeded, and whose results the cache has lost since, has failed: a submission
        computes them again.

        Raises:
            UserError: It was never submitted.
            OutageError: The cluster does not answer.
        """
        record = self.record(stage)
        if record.launcher is LauncherName.KUBERNETES:
            done = stage_run(self.workspace, stage).is_cached()
            return Standing(State.SUCCEEDED, 0, 0) if done else Standing(State.ABSENT)
        standing = self.launcher(record).standing(record.name)
        if standing.state is State.RUNNING:
            return standing
        run = stage_run(self.workspace, stage)
        if run.is_cached():
            return Standing(State.SUCCEEDED, standing.attempt, 0, standing.handle)
        here = record.launcher is LauncherName.LOCAL and run.key == record.key
        if here and standing.state is State.SUCCEEDED:
            return Standing(State.FAILED, standing.attempt, OutageError.exit_code, standing.handle)
        return standing

    def restore(self, stage: str) -> str:
        """Brings the results of a stage's job into the workspace; computes nothing.

        Returns:
            What was done, as a sentence.

        Raises:
            UserError: Inputs have changed since it was submitted.
            OutageError: There are no results, or the remote does not answer.
        """
        record, run = self.record(stage), stage_run(self.workspace, stage)
        if run.key != record.key:
            raise UserError(
                f"The inputs of '{stage}' have changed since its job was submitted: submit it again, "
                f"segloop job submit {stage}"
            )
        remote = None if record.launcher is LauncherName.LOCAL else open_remote_files(run.repo)
        if not run.is_cached() and not (remote and run.fetch_results(remote)):
            where = f"the DVC remote '{remote.storage.name}'" if remote else "DVC's cache"
            raise OutageError(f"{where} has no results of '{stage}' ({record.name}): has its job ended well?")
        # Alone, which is safe here: the key has shown that inputs are those of the submission, which checked them.
        if dvc(self.workspace, "repro", "--single-item", stage):
            raise OutageError(f"`dvc repro {stage}` failed in {self.workspace}, and says above why.")
        take_back(self.workspace, record.name, remote)
        return f"{stage}: its results are in place"

    def watch(self, record: Record) -> Watch:
        """Who follows a job, from any workspace of the project."""
        return Watch(project_root(self.workspace) / JOBS / record.name)

    def is_cancelled_by_hand(self, record: Record, standing: Standing) -> bool:
        """Whether a person has ended a job, who then does not want it tried again."""
        return standing.state is State.CANCELLED and not self.watch(record).is_given_up

    def cancel(self, stage: str) -> Standing:
        """Ends a stage's job because a person wants it, and removes what was stored for it beside inputs.

        Raises:
            UserError: It was never submitted, or only Airflow can end it.
            OutageError: Cluster or remote do not answer.
        """
        record = self.record(stage)
        launcher = self.launcher(record)
        self.watch(record).mark(given_up=False)
        return self._cancel(record, launcher)

    def give_up(self, stage: str, patience_s: float) -> Standing | None:
        """Ends a stage's job some time after its task, unless somebody has followed it meanwhile.

        Args:
            stage: As it was submitted.
            patience_s: How long to wait for a retry, or for another run that wants the same.

        Returns:
            Where it stands; None where it was left alone.

        Raises:
            UserError: It was never submitted, or only Airflow can end it.
            OutageError: Cluster or remote do not answer.
        """
        record = self.record(stage)
        launcher, watch = self.launcher(record), self.watch(record)
        began = watch.begin()
        self.say(f"{stage}: is ended in {patience_s:g} s, unless somebody follows it until then")
        time.sleep(patience_s)
        with watch.alone_since(began) as alone:
            standing = launcher.standing(record.name)
            if not alone or standing.state is not State.RUNNING:
                return standing if alone else None
            watch.mark(given_up=True)
            return self._cancel(record, launcher)

    def _cancel(self, record: Record, launcher: Launcher) -> Standing:
        standing = launcher.cancel(record.name)
        remote = (
            None
            if record.launcher is LauncherName.LOCAL
            else open_remote_files(stage_run(self.workspace, record.stage).repo)
        )
        take_back(self.workspace, record.name, remote)
        return standing

    def _spec(self, params: JobsParams, run: StageRun, record: Record, remote: RemoteFiles | None) -> Spec:
        from pipeline.workspaces import MARKER

        marker = self.workspace / MARKER
        begun = read_json(marker, "make the workspace anew") if marker.exists() else {}
        if remote is None:
            sent = send_here(self.workspace, project_root(self.workspace), record.name)
        else:
            run.push_inputs()
            sent = send_away(self.workspace, record.name, remote, params.max_bundle_bytes, self.say)
        return Spec(
            key=run.key,
            stage=record.stage,
            commit=sent.commit,
            source=sent.source,
            release=begun.get("release"),
            overrides=begun.get("overrides", {}),
            cache=None if remote else str(run.repo.cache.local_cache_dir),
            remote=None if remote is None else by_reference(run.repo),
            checkpoint_s=params.checkpoint_s,
            author=trainer(self.workspace),
            triggered_by=os.environ.get(TRIGGER_VARIABLE),
        )

    def _remember(self, record: Record) -> None:
        write_atomic(self._file(record.stage), record.model_dump_json(indent=2) + "\n")

    def _file(self, stage: str) -> Path:
        return self.workspace / RECORDS / f"{stage}.json"


def by_reference(repo: Any) -> Remote:
    """The default remote without credentials, which the job's own machine has."""
    name = str(repo.config["core"]["remote"])
    options = {key: value for key, value in repo.config["remote"][name].items() if key in PUBLIC}
    # Without a check of digests DVC takes a corrupt object of S3 for good.
    return Remote(name=name, options={**options, "url": USERINFO.sub("", str(options["url"])), "verify": True})
