"""Links on a task's page to what it made: its MLflow run, its dossier, its Data Docs."""

from typing import TYPE_CHECKING, Any

import attrs
from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


@attrs.define()
class Link(BaseOperatorLink):
    """A link by its name; the address is what the task found in its run.

    Attributes:
        label: What stands on the button.
    """

    label: str

    @property
    def name(self) -> str:
        """What stands on the button."""
        return self.label

    @property
    def xcom_key(self) -> str:
        """Where Airflow keeps the address."""
        return f"_link_{self.label.lower().replace(' ', '_')}"

    def get_link(self, operator: "BaseOperator", *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """The address; empty when the task made nothing of the kind."""
        return str(getattr(operator, "addresses", {}).get(self.label, ""))
