"""An operator that makes a run's workspace, unless another run that computes the same is at work in it."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError, AirflowSkipException

from orchestration.command import Command

AT_WORK = ("queued", "running")


class Begin(Command):
    """Makes or takes over the workspace that its command names, which tells `held_by` when it is another run's."""

    def enter(self, context: Context) -> None:
        """Takes from the run what it takes to ask for the state of another."""
        super().enter(context)
        self._ti: Any = context["ti"]

    def run(self, module: str, words: Sequence[str], *, accept: Sequence[int] = ()) -> dict[str, Any]:
        """Runs the command, and again where the run that holds the workspace is over.

        Raises:
            AirflowSkipException: That run is at work: there is nothing to do beside it.
        """
        facts = super().run(module, words, accept=accept)
        holder = facts.get("held_by")
        if not holder:
            return facts
        if self._is_at_work(holder):
            raise AirflowSkipException(f"Nothing to do: the run {holder} computes the same just now.")
        facts = super().run(module, ["--instead-of", holder, *words], accept=accept)
        if facts.get("held_by"):
            raise AirflowException(f"The run {facts['held_by']} was faster: tried again later.")
        return facts

    def _is_at_work(self, run_id: str) -> bool:
        """Whether it is; a run that was deleted is not, and of one that cannot be asked about nobody knows."""
        try:
            return self._ti.get_dagrun_state(self.dag_id, run_id) in AT_WORK
        except AirflowRuntimeError as error:
            if (error.error.detail or {}).get("status_code") != HTTPStatus.NOT_FOUND:
                raise  # tried again later: a fault of the server must not give a workspace away
            return False
