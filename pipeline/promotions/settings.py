"""Section `promoter`: where the promoter listens, whose answers it reads, and with which account."""

import os
from pathlib import Path

from pydantic import Field

from pipeline.params import Section
from pipeline.registry_access import KEYS

AIRFLOW_VARIABLE, PASSWORD_VARIABLE = "SEGLOOP_AIRFLOW_URL", "SEGLOOP_AIRFLOW_PASSWORD_FILE"
PROMOTER_VARIABLE = "SEGLOOP_PROMOTER_URL"
PASSWORD_FILE = "airflow.password"  # noqa: S105 - the name of a file


class PromoterParams(Section):
    """Section `promoter`.

    Attributes:
        host: The address it listens on.
        port: The port.
        airflow: Airflow's address; SEGLOOP_AIRFLOW_URL names another.
        username: The promoter's account there, which needs to read and nothing else; the file with its password is
            named by SEGLOOP_AIRFLOW_PASSWORD_FILE, or lies beside the promoter's key.
        dag: The DAG whose answers count.
        task: Its task that asks.
        timeout_s: For each request to Airflow.
        attempts: Requests to an Airflow that does not answer.
        requests_per_minute: What the promoter takes; more is told to come later.
        ask_timeout_s: How long `segloop promotion ask` waits for its answer.
    """

    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    airflow: str = Field(pattern=r"^https?://")
    username: str = Field(min_length=1)
    dag: str = Field(min_length=1)
    task: str = Field(min_length=1)
    timeout_s: float = Field(gt=0)
    attempts: int = Field(ge=1)
    requests_per_minute: int = Field(ge=1)
    ask_timeout_s: float = Field(gt=0)

    @property
    def airflow_url(self) -> str:
        """Airflow's address, from the environment where it says."""
        return (os.environ.get(AIRFLOW_VARIABLE) or self.airflow).rstrip("/")

    @property
    def password_file(self) -> Path:
        """The file that holds the account's password."""
        named = os.environ.get(PASSWORD_VARIABLE)
        return Path(named) if named else KEYS.expanduser() / PASSWORD_FILE

    @property
    def promoter_url(self) -> str:
        """The promoter's address, from the environment where it says."""
        return (os.environ.get(PROMOTER_VARIABLE) or f"http://{self.host}:{self.port}").rstrip("/")
