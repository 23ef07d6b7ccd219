"""An operator that runs a stage as a job: detached on this machine, on Ray, or on Kubernetes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import yaml
from airflow.sdk import Context, ResumableJobMixin
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from orchestration import pods, settings
from orchestration.command import Command

KUBERNETES = "kubernetes"
ACTIVE, SUCCEEDED = "running", "succeeded"
CANCELLED = 128 + 15  # what a follower exits with after a job that was cancelled


class Job(ResumableJobMixin, Command):
    """Runs a stage as a job that outlives this task; a retry finds the job and goes on watching it.

    Args:
        stage: The stage of dvc.yaml.
        launcher: `local`, `ray` or `kubernetes`; templated. As the folder's params.yaml says where it is empty.
    """

    external_id_key = "segloop_job"
    template_fields: Sequence[str] = (*Command.template_fields, "launcher")

    def __init__(self, *, stage: str, launcher: str = "", **kwargs: Any) -> None:
        super().__init__(module="pipeline.job_submit", **kwargs)
        self.stage, self.launcher = stage, launcher
        self._may_run = False
        self._kubernetes: Any = None

    def execute(self, context: Context) -> Any:
        """Submits the job or finds it, watches it to its end, and restores what it made into the workspace."""
        self.enter(context)
        if (self.launcher or self._usual()) == KUBERNETES:
            return self._pod(context)
        self._may_run = True  # from the first attempt to submit it, or of an earlier try
        return self.execute_resumable(context)

    def submit_job(self, context: Context) -> str:  # noqa: ARG002 - Airflow's signature
        """Starts the job; one that runs already is found."""
        return str(self._submit()["job"])

    def get_job_status(self, external_id: Any, context: Context) -> str:  # noqa: ARG002
        """What the launcher says of the job."""
        facts = self.run("pipeline.job_status", [self.stage])["jobs"][self.stage]
        self._heed(facts, context)
        return str(facts["state"])

    def is_job_active(self, status: str) -> bool:
        """Whether there is something to watch."""
        return status == ACTIVE

    def is_job_succeeded(self, status: str) -> bool:
        """Whether the results are there."""
        return status == SUCCEEDED

    def poll_until_complete(self, external_id: Any, context: Context) -> Any:
        """Shows the job's lines until it ends; its exit code counts as that of a command."""
        facts = self.run("pipeline.job_follow", [self.stage], accept=[CANCELLED])
        self._heed(facts, context)
        if facts["returncode"]:
            raise AirflowException("The job was given up by a task that was ended, or its follower was ended.")
        return self.get_job_result(external_id, context)

    def get_job_result(self, external_id: Any, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Restores the stage's outputs: DVC takes them from its run cache."""
        return self.run("pipeline.job_restore", [self.stage])

    def on_kill(self) -> None:
        """Ends the job some time after the task, unless a retry follows it by then; a pod at once.

        Whoever ends a task may be a person who wants no more of it, or a scheduler that dies or misses a heartbeat: the
        task cannot tell them apart.
        """
        if self._may_run:  # first of all: Airflow kills a task that takes long over its end
            self.detach("pipeline.job_cancel", [self.stage, "--unless-followed", str(settings.loop()["job_grace_s"])])
        super().on_kill()
        if self._kubernetes:
            self._kubernetes.on_kill()

    def _submit(self) -> dict[str, Any]:
        return self.run(self.module, [self.stage, *(["--launcher", self.launcher] if self.launcher else [])])

    def _usual(self) -> str:
        """Where jobs of the folder run, by its own params, which a run may change."""
        name: str = yaml.safe_load((self.place() / "params.yaml").read_text(encoding="utf-8"))["jobs"]["launcher"]
        return name

    def _heed(self, facts: dict[str, Any], context: Context) -> None:
        """Fails at once where a person has cancelled the job; whoever clears the task then gets a new attempt."""
        if not facts.get("by_hand"):
            return
        store: Any = context.get("task_state_store")
        if store is not None:
            store.delete(self.external_id_key)
        raise AirflowFailException("The job was cancelled by hand. To start it anew, clear this task.")

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
