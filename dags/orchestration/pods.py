"""The pods of jobs: Airflow's own operator makes, follows and ends them; what a pod's end means is said here."""

from typing import TYPE_CHECKING, Any

from orchestration.command import USERS_MISTAKE

if TYPE_CHECKING:
    from orchestration.job import Job

CONTAINER = "base"
FAILED_VERDICT = 100  # of a job; 1 is Python's own, where an image lacks the project's packages
REFUSED = (400, 422)  # what the API answers to a pod that it will never take
START_S = 1800  # from a node to a running container: images of trainers are large
LONGEST_S = 7 * 24 * 3600
LOOK_S, LOG_S = 2, 15


def operator(job: "Job", pod: dict[str, Any] | None = None) -> Any:
    """Airflow's operator for the pod of a job.

    Args:
        job: The task.
        pod: As Kubernetes reads it; None once it has been made.
    """
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator  # heavy

    return KubernetesPodOperator(
        task_id=job.task_id,
        name=pod["metadata"]["generateName"].strip("-") if pod else None,
        pod_template_dict=pod,
        deferrable=True,
        # The task's own limit, which the trigger watches. Waiting for a GPU to become free is no failure.
        execution_timeout=job.execution_timeout,
        schedule_timeout_seconds=int(job.execution_timeout.total_seconds()) if job.execution_timeout else LONGEST_S,
        startup_timeout_seconds=START_S,
        startup_check_interval_seconds=LOOK_S,
        poll_interval=LOOK_S,
        get_logs=True,
        logging_interval=LOG_S,  # without, no line is seen before the end, and a pod out of time is followed for ever
        # Nothing may go on computing beside the retry, nor hold a GPU or a scratch volume. Why it ended is in the log.
        on_finish_action="delete_pod",
        log_events_on_failure=True,
        log_pod_spec_on_failure=False,
    )


def mistake(error: Exception, pod: Any) -> str | None:
    """Why a repetition would fail as well; None where it may not: the pod was lost, evicted, killed or out of time.

    Args:
        error: What the operator raised.
        pod: As it last saw it.
    """
    if getattr(error, "status", None) in REFUSED:
        return f"Kubernetes refuses the pod, and says why: {getattr(error, 'body', error)}"
    code = exit_code(pod)
    if code in {FAILED_VERDICT, USERS_MISTAKE}:
        return f"The job in the pod ended with exit code {code}; its own words stand above."
    return None


def exit_code(pod: Any) -> int | None:
    """What the job exited with; None where it did not come to an end of its own."""
    status = pod.status if pod else None
    if status is None or status.reason:  # of the pod as a whole: Evicted, DeadlineExceeded, NodeLost
        return None
    ended = [
        each.state.terminated
        for each in status.container_statuses or []
        if each.name == CONTAINER and each.state and each.state.terminated
    ]
    code: int | None = ended[0].exit_code if ended else None
    return code
