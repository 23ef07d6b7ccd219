"""Airflow's REST API, as far as the promoter reads it: a run, and what was asked and answered in it."""

import json
import stat
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from pipeline.decisions.keys import OTHERS
from pipeline.errors import OutageError, UserError, VerdictError
from pipeline.promotions.settings import PromoterParams
from pipeline.provenance import without_secrets

if TYPE_CHECKING:
    from requests import Response

M = TypeVar("M", bound=BaseModel)

MAX_ANSWER_BYTES = 4 << 20
CHUNK_BYTES = 1 << 16
LONGEST_WAIT_S = 5
SERVER_FAULT = 500
UNMAPPED = -1  # map index of a task that is not mapped


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)  # what Airflow says beyond these fields is its own matter


class User(_Told):
    """A user of Airflow."""

    id: str
    name: str


class TaskInstance(_Told):
    """The task that asked."""

    id: str
    dag_id: str
    dag_run_id: str
    task_id: str
    map_index: int


class Asked(_Told):
    """What a task asked, and what was answered: Airflow's `hitlDetails`.

    Attributes:
        task_instance: The task.
        options: To choose from.
        subject: The headline that was shown.
        body: The text that was shown.
        params: The form that was shown: by field its `value`, before anybody filled it in, and more.
        defaults: What is taken as chosen when nobody answers in time.
        assigned_users: Who may answer; empty for anybody.
        response_received: Whether there is an answer.
        responded_by_user: Who gave it; None where time ran out, and where a task answered itself.
        responded_at: When.
        chosen_options: What was chosen.
        params_input: What was filled in.
    """

    task_instance: TaskInstance
    options: list[str]
    subject: str
    body: str | None
    params: dict[str, Any] = Field(default_factory=dict)
    defaults: list[str] | None = None
    assigned_users: list[User] = Field(default_factory=list)
    response_received: bool
    responded_by_user: User | None = None
    responded_at: AwareDatetime | None = None
    chosen_options: list[str] | None = None
    params_input: dict[str, Any] = Field(default_factory=dict)


class DagRun(_Told):
    """A run of a DAG."""

    dag_id: str
    dag_run_id: str
    partition_key: str | None = None
    conf: dict[str, Any] | None = None


class Airflow:
    """A client with an account of its own.

    Args:
        params: Section `promoter`.
    """

    def __init__(self, params: PromoterParams) -> None:
        import requests

        self._params = params
        self._session = requests.Session()
        self._session.trust_env = False  # a netrc or a proxy of whoever starts the promoter has no say here
        self._token = ""

    def run(self, dag_run_id: str) -> DagRun:
        """A run of the DAG whose answers count.

        Raises:
            VerdictError: There is no such run.
            OutageError: Airflow is away.
            UserError: The account may not read it.
        """
        return self._read(DagRun, f"dagRuns/{quote(dag_run_id, safe='')}", f"run '{dag_run_id}'")

    def asked(self, dag_run_id: str) -> Asked:
        """What the run has asked, and the answer.

        Raises:
            VerdictError: There is no such run, or it has asked nothing yet.
            OutageError: Airflow is away.
            UserError: The account may not read it.
        """
        run, task = quote(dag_run_id, safe=""), quote(self._params.task, safe="")
        path = f"dagRuns/{run}/taskInstances/{task}/{UNMAPPED}/hitlDetails"
        return self._read(Asked, path, f"question of run '{dag_run_id}'")

    def _read(self, model: type[M], path: str, what: str) -> M:
        try:
            return model.model_validate_json(self._get(f"/api/v2/dags/{quote(self._params.dag, safe='')}/{path}"))
        except ValidationError as error:
            keys = ", ".join(sorted({".".join(map(str, each["loc"])) for each in error.errors()}))
            raise UserError(
                f"Airflow's {what} has not the form that this release reads ({keys}). Use Airflow 3.3 or a release of "
                "Segloop that knows this one."
            ) from None
        except _NotFoundError:
            raise VerdictError(f"Airflow knows no {what} of DAG '{self._params.dag}'.") from None

    def _get(self, path: str) -> bytes:
        """Reads a page, with a new token where the old one has run out."""
        for fresh in (False, True):
            if fresh or not self._token:
                self._token = self._new_token()
            status, content = self._send("GET", path, headers={"Authorization": f"Bearer {self._token}"})
            if status != HTTPStatus.UNAUTHORIZED:
                break
        if status == HTTPStatus.NOT_FOUND:
            raise _NotFoundError
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise UserError(
                f"Airflow does not let '{self._params.username}' read {path} (status {status}). Give the account the "
                "right to read DAG runs and required actions: the role Viewer has it."
            )
        if status != HTTPStatus.OK:
            raise UserError(f"Airflow at {self._title} answered {path} with status {status}. Is it Airflow 3?")
        return content

    def _new_token(self) -> str:
        account = {"username": self._params.username, "password": read_password(self._params.password_file)}
        status, content = self._send("POST", "/auth/token", json=account)
        try:
            token = json.loads(content).get("access_token") if status < HTTPStatus.BAD_REQUEST else None
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str):
            raise UserError(
                f"Airflow at {self._title} gives no token to '{self._params.username}' (status {status}). Check the "
                f"account, and its password in {self._params.password_file}."
            )
        return token

    def _send(self, method: str, path: str, **options: Any) -> tuple[int, bytes]:
        """Sends a request, again where there is no answer; its status and content."""
        import requests
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

        away = (requests.RequestException, _FaultError)
        retrying = Retrying(
            retry=retry_if_exception_type(away),
            stop=stop_after_attempt(self._params.attempts),
            wait=wait_random_exponential(max=LONGEST_WAIT_S),
            reraise=True,
        )
        try:
            return retrying(self._send_once, method, path, options)
        except away as error:
            said = without_secrets(str(error))
            raise OutageError(f"Airflow at {self._title} does not answer: {said}. Ask again later.") from None

    def _send_once(self, method: str, path: str, options: Mapping[str, Any]) -> tuple[int, bytes]:
        url, wait = f"{self._params.airflow_url}{path}", self._params.timeout_s
        with self._session.request(method, url, timeout=wait, allow_redirects=False, stream=True, **options) as answer:
            if answer.status_code >= SERVER_FAULT or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                raise _FaultError(f"status {answer.status_code}")
            return answer.status_code, _content(answer)

    @property
    def _title(self) -> str:
        return without_secrets(self._params.airflow_url)


class _FaultError(Exception):
    """Airflow answers, and cannot."""


class _NotFoundError(Exception):
    """There is no such page."""


def read_password(file: Path) -> str:
    """The password in a file that only its owner may read.

    Raises:
        UserError: The file is missing, empty, or open to others.
    """
    try:
        mode, text = stat.S_IMODE(file.stat().st_mode), file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"The password of the promoter's account in Airflow cannot be read from {file}: {error}. Write it there, "
            "or name another file by SEGLOOP_AIRFLOW_PASSWORD_FILE."
        ) from None
    if mode & OTHERS:
        raise UserError(f"{file} holds a password and is open to others (mode {mode:04o}): chmod 600 {file}")
    if not text:
        raise UserError(f"{file} is empty; the password of the promoter's account in Airflow is expected.")
    return text


def _content(answer: "Response") -> bytes:
    content = b""
    for chunk in answer.iter_content(CHUNK_BYTES):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise UserError(f"Airflow's answer has more than {MAX_ANSWER_BYTES} bytes. Is it Airflow?")
    return content
