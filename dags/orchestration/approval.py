"""The reviewer's question: an approval with a reason."""

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException

REASON = "reason"


class ReasonedApproval(ApprovalOperator):
    """An approval that asks anew when it was given without a reason: what passes here is only a wish.

    Whether it counts is for the promoter to say, who reads the answer from Airflow's API and believes nothing else.
    """

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Takes the answer."""
        approved = event.get("chosen_options") == [self.APPROVE]
        if approved and not str((event.get("params_input") or {}).get(REASON) or "").strip():
            raise AirflowException("An approval needs a reason, and none was given: the question is asked again.")
        return super().execute_complete(context, event)
