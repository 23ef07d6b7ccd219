"""Launcher `ray`: a job on a Ray cluster, by Ray's own job submission."""

import asyncio
import os
import shlex
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.errors import OutageError, UserError
from pipeline.jobs.launcher import Standing, State, meant
from pipeline.jobs.params import RayParams
from pipeline.jobs.spec import Spec

ADDRESS = "RAY_ADDRESS"
STATES = {
    "PENDING": State.RUNNING,
    "RUNNING": State.RUNNING,
    "SUCCEEDED": State.SUCCEEDED,
    "FAILED": State.FAILED,
    "STOPPED": State.CANCELLED,
}
SIGNALLED = 128
LOST = SIGNALLED + 9  # Ray gives no exit code for a driver that went away with its machine
KEEP_TRYING_S = 60.0
NOT_FOUND = 404
STOP_S = 60  # between SIGTERM and SIGKILL: a training ends its epoch's work, and sends its checkpoint; Ray's own is 3
STOP_VARIABLE = "RAY_JOB_STOP_WAIT_TIME_S"  # of the job's runtime environment, as Ray's documentation has it


@dataclass(frozen=True)
class RayCluster:
    """Jobs of a Ray cluster.

    Attributes:
        params: Which one, and what a job holds there.
        poll_s: Between looks at a job.
        stop_s: How long a cancelled job may take to end by itself.
    """

    params: RayParams
    poll_s: float
    stop_s: int = STOP_S

    def standing(self, name: str) -> Standing:
        """Where the newest attempt stands; attempts are counted by the names of their submissions.

        Raises:
            OutageError: The cluster does not answer.
        """
        client, newest = self._client(), Standing(State.ABSENT)
        while (facts := _facts(client, submission(name, newest.attempt + 1))) is not None:
            newest = _standing(facts, newest.attempt + 1)
        return newest

    def start(self, spec: Spec) -> Standing:
        """Submits a new attempt, unless one is running.

        Raises:
            OutageError: The cluster does not answer.
            UserError: It refuses the job.
        """
        before = self.standing(spec.name)
        if before.state is State.RUNNING:
            return before
        attempt = before.attempt + 1
        try:
            self._submit(spec, submission(spec.name, attempt))
        except RuntimeError as error:
            now = self.standing(spec.name)
            if now.attempt == attempt:  # somebody else has submitted the same in between
                return now
            if _is_passing(error):
                raise OutageError(f"The Ray cluster takes no job: {error}") from None
            raise UserError(f"The Ray cluster refuses the job: {error}") from None
        return self.standing(spec.name)

    def _submit(self, spec: Spec, handle: str) -> None:
        """Submits, with some patience: a cluster that has just started has no agent yet."""
        from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential

        for attempt in Retrying(
            retry=retry_if_exception(_is_passing),
            stop=stop_after_delay(KEEP_TRYING_S),
            wait=wait_exponential(max=10),
            reraise=True,
        ):
            with attempt:
                self._client().submit_job(
                    entrypoint=self._command(spec),
                    submission_id=handle,
                    runtime_env={"env_vars": self._environment()},  # no pip: the cluster's image has what jobs need
                    entrypoint_num_cpus=self.params.cpus,
                    entrypoint_num_gpus=self.params.gpus,
                    metadata={"segloop_key": spec.key, "stage": spec.stage, "release": spec.release or ""},
                )

    def follow(self, name: str) -> Iterator[str]:
        """The newest attempt's log, until it ends; a lost connection is taken up again where it was.

        Raises:
            OutageError: The cluster is away for longer than a minute; the job goes on.
        """
        from aiohttp import ClientError

        attempt, seen, lost_at = self.standing(name).attempt, 0, 0.0
        while True:
            try:
                for piece in _tail(self._client(), submission(name, attempt), seen):
                    seen, lost_at = seen + len(piece), 0.0
                    yield piece
                if self._end_of(name, attempt):
                    return
            except (RuntimeError, OSError, OutageError, ClientError) as error:
                if getattr(error, "status", None) == NOT_FOUND:
                    return  # a new head, which does not know it
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > KEEP_TRYING_S:
                    raise OutageError(
                        f"{self._address()} is away: {error}. The job goes on; follow it again."
                    ) from None
            time.sleep(self.poll_s)

    def cancel(self, name: str) -> Standing:
        """Stops the newest attempt and waits for its end.

        Raises:
            OutageError: The cluster does not answer, or the attempt does not end.
        """
        before = self.standing(name)
        if before.state is State.RUNNING:
            self._stop(submission(name, before.attempt))
            deadline = time.monotonic() + self.stop_s + KEEP_TRYING_S
            while self.standing(name).state is State.RUNNING:
                if time.monotonic() > deadline:
                    raise OutageError(
                        f"{submission(name, before.attempt)} was told to stop, and has not ended: Ray may have lost "
                        f"its node. Look at {self._address()}, and cancel it again."
                    )
                time.sleep(self.poll_s)
        return self.standing(name)

    def _stop(self, handle: str) -> None:
        import requests

        try:
            self._client().stop_job(handle)
        except (RuntimeError, requests.ConnectionError, requests.Timeout) as error:
            raise OutageError(f"The Ray cluster does not stop {handle}: {error}") from None

    def _end_of(self, name: str, attempt: int) -> bool:
        facts = _facts(self._client(), submission(name, attempt))
        return facts is None or _standing(facts, attempt).state is not State.RUNNING

    def _command(self, spec: Spec) -> str:
        said = spec.model_dump_json(exclude_none=True)
        return shlex.join([self.params.python, "-u", "-m", "pipeline.job_run", said, "--work", self._work(spec)])

    def _work(self, spec: Spec) -> str:
        return f"{self.params.work.rstrip('/')}/{spec.name}"

    def _environment(self) -> dict[str, str]:
        carried = {name: os.environ[name] for name in self.params.env if name in os.environ}
        return carried | {STOP_VARIABLE: str(self.stop_s)}

    def _address(self) -> str:
        return os.environ.get(ADDRESS) or self.params.address

    def _client(self) -> Any:
        from ray.job_submission import JobSubmissionClient

        try:
            return JobSubmissionClient(self._address())
        except (ConnectionError, RuntimeError) as error:
            raise OutageError(
                f"The Ray cluster at {self._address()} does not answer: {error}. Check jobs.ray.address or {ADDRESS}."
            ) from None


def submission(name: str, attempt: int) -> str:
    """What Ray calls an attempt: the same for whoever asks, so that a retry finds it."""
    return f"segloop-{name}-{attempt}"


def _is_passing(error: BaseException) -> bool:
    """Whether the cluster says that it is not ready, which it does by a status of 500 and more."""
    return isinstance(error, RuntimeError) and "status code 5" in str(error)


def _facts(client: Any, handle: str) -> Any | None:
    import requests

    try:
        return client.get_job_info(handle)
    except RuntimeError as error:
        if "404" in str(error) or "does not exist" in str(error):
            return None
        raise OutageError(f"The Ray cluster cannot say how {handle} stands: {error}") from None
    except (requests.ConnectionError, requests.Timeout) as error:
        raise OutageError(f"The Ray cluster does not answer: {error}") from None


def _standing(facts: Any, attempt: int) -> Standing:
    state = STATES[str(facts.status.value)]
    code = facts.driver_exit_code
    if state is State.SUCCEEDED:
        code = 0
    elif state is not State.RUNNING:
        code = LOST if code is None or code == 0 else code
        code = SIGNALLED - code if code < 0 else meant(code)
    return Standing(state, attempt, code, str(facts.submission_id))


def _tail(client: Any, handle: str, seen: int) -> Iterator[str]:
    """The log's pieces after the first `seen` characters: Ray tells it from the beginning each time."""
    pieces: AsyncIterator[str] = client.tail_job_logs(handle)
    loop = asyncio.new_event_loop()
    try:
        while True:
            try:
                piece = loop.run_until_complete(anext(pieces))
            except StopAsyncIteration:
                return
            skipped, seen = min(seen, len(piece)), max(0, seen - len(piece))
            if piece[skipped:]:
                yield piece[skipped:]
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
