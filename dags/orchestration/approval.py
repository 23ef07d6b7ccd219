"""The reviewer's question: an approval with a reason."""

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

REASON, VERSION = "reason", "version"


class ReasonedApproval(ApprovalOperator):
    """An approval that asks anew when it was given without a reason: what passes here is only a wish.

    Whether it counts is for the promoter to say, who reads the answer from Airflow's API and believes nothing else.
    """

    def execute(self, context: Context) -> None:
        """Asks, with a blank form: Airflow takes params from the conf of the run, whose author is not the reviewer.

        Raises:
            AirflowFailException: The conf says more than the version: the promoter would refuse the answer.
        """
        more = sorted(set(context["dag_run"].conf or {}) - {VERSION})
        if more:
            raise AirflowFailException(
                f"The conf of this run has {more}, and nothing but {VERSION!r} is allowed in it: nobody is asked. "
                "Start a new run without."
            )
        self.params[REASON] = ""
        super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Takes the answer, or asks again: in the same try, so that no number of mistakes ends the run."""
        options, given = event.get("chosen_options"), event.get("params_input") or {}
        filled_in = set(given) <= {REASON} and isinstance(given.get(REASON, ""), str)
        if options == [self.REJECT] and not filled_in:
            return super().execute_complete(context, {**event, "params_input": {}})  # a no is never lost
        if options == [self.APPROVE] and not (filled_in and given.get(REASON, "").strip()):
            self.log.warning(
                "An approval needs a reason, a text in the field %r alone; received %r: the question is asked again.",
                REASON,
                given,
            )
            self.execute(context)  # waits again by an exception, in place of the answer that was
        return super().execute_complete(context, event)
