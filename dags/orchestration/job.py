"""An operator that runs a stage as a job: detached on this machine, on Ray, or on Kubernetes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from airflow.sdk import Context, ResumableJobMixin
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from orchestration import pods, settings
from orchestration.command import Command

KUBERNETES = "kubernetes"
ACTIVE, SUCCEEDED = "running", "succeeded"


class Job(ResumableJobMixin, Command):
    """Runs a stage as a job that outlives this task; a retry finds the job and goes on watching it.

    Args:
        stage: The stage of dvc.yaml.
        launcher: `local`, `ray` or `kubernetes`; templated.
    """

    external_id_key = "segloop_job"
    template_fields: Sequence[str] = (*Command.template_fields, "launcher")

    def __init__(self, *, stage: str, launcher: str, **kwargs: Any) -> None:
        super().__init__(module="pipeline.job_submit", **kwargs)
        self.stage, self.launcher = stage, launcher
        self._followed = False
        self._kubernetes: Any = None

    def execute(self, context: Context) -> Any:
        """Submits the job or finds it, watches it to its end, and restores what it made into the workspace."""
        self.enter(context)
        if self.launcher == KUBERNETES:
            return self._pod(context)
        return self.execute_resumable(context)

    def submit_job(self, context: Context) -> str:  # noqa: ARG002 - Airflow's signature
        """Starts the job; one that runs already is found."""
        return str(self._submit()["job"])

    def get_job_status(self, external_id: Any, context: Context) -> str:  # noqa: ARG002
        """What the launcher says of the job."""
        return str(self.run("pipeline.job_status", [self.stage])["jobs"][self.stage]["state"])

    def is_job_active(self, status: str) -> bool:
        """Whether there is something to watch."""
        return status == ACTIVE

    def is_job_succeeded(self, status: str) -> bool:
        """Whether the results are there."""
        return status == SUCCEEDED

    def poll_until_complete(self, external_id: Any, context: Context) -> Any:
        """Shows the job's lines until it ends; its exit code counts as that of a command."""
        self._followed = True
        self.run("pipeline.job_follow", [self.stage])
        return self.get_job_result(external_id, context)

    def get_job_result(self, external_id: Any, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Restores the stage's outputs: DVC takes them from its run cache."""
        return self.run("pipeline.job_restore", [self.stage])

    def on_kill(self) -> None:
        """Ends the job some time after the task, unless a retry follows it by then; a pod at once.

        Whoever ends a task may be a person who wants no more of it, or a scheduler that dies or misses a heartbeat: the
        task cannot tell them apart.
        """
        super().on_kill()
        if self._kubernetes:
            self._kubernetes.on_kill()
        if self._followed:
            self.detach("pipeline.job_cancel", [self.stage, "--unless-followed", str(settings.loop()["job_grace_s"])])

    def _submit(self) -> dict[str, Any]:
        return self.run(self.module, [self.stage, "--launcher", self.launcher])

    def _pod(self, context: Context) -> dict[str, Any]:
        facts = self._submit()
        if facts["finished"]:
            return self.get_job_result(facts["job"], context)
        self._kubernetes = pods.operator(self, facts["pod"])
        return self._watch(partial(self._kubernetes.execute_async, context), context)

    def pod_ended(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Goes on when the pod has ended: its log, its verdict, its results."""
        self.enter(context)
        self._kubernetes = pods.operator(self)
        return self._watch(partial(self._kubernetes.trigger_reentry, context, event), context)

    def _watch(self, step: Callable[[], object], context: Context) -> dict[str, Any]:
        try:
            step()
        except TaskDeferred as deferred:
            raise TaskDeferred(
                trigger=deferred.trigger, method_name=self.pod_ended.__name__, timeout=deferred.timeout
            ) from None
        except Exception as error:
            if why := pods.mistake(error, self._kubernetes.pod):
                raise AirflowFailException(why) from error
            raise
        return self.get_job_result(None, context)
