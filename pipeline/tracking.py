"""The way to the MLflow server: where it is, whether it answers, and how points get there."""

import logging
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.database import SQLITE, damage, database_file, make_database
from pipeline.errors import OutageError, SegloopError, UserError
from pipeline.provenance import without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.exceptions import MlflowException

DEFAULT_URI = f"{SQLITE}mlflow.db"
EXPERIMENT = "segloop"
DIGEST_TAG = "segloop.digest"
COMMIT_TAG = "mlflow.source.git.commit"  # MLflow's own name, which its pages show
AUTHOR_TAG = "mlflow.user"  # likewise
DIRTY_TAG = "segloop.git_dirty"
TRIGGER_TAG = "segloop.triggered_by"
ARTIFACTS = "mlartifacts"  # where a database without a server keeps its files, beside it
METRICS_PER_BATCH = 1000  # the server's own limit
ANSWER_TIMEOUT_S = 3
WEB = ("http", "https")
BAD_REQUEST, TIMED_OUT, TOO_MANY, SERVER_FAULT = 400, 408, 429, 500
NO_RIGHTS = (401, 403)
NO_CONNECTION = re.compile(r"(API request to \S+ failed with exception )?\w+ConnectionPool\(.*by (\w+)\(.*", re.DOTALL)
AGAIN = "Start it (`segloop up`) or mend MLFLOW_TRACKING_URI, then run the command again: nothing is lost."
RIGHTS = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD name the account; its rights are MLflow's to give."
SERVED = "mlflow-artifacts URI was supplied"
SERVED_TEXT = (
    "This version's files are served by an MLflow server, and MLFLOW_TRACKING_URI names a database. "
    "Start the server (`segloop up`), and export MLFLOW_TRACKING_URI=http://HOST:PORT of it."
)
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")

# Defaults for the client; what the user exports wins. MLflow's own would hang for four minutes without a server.
CLIENT_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",  # would copy the lock file of whatever folder it runs in
}


def configure() -> str:
    """Sets MLflow up for this process and makes sure that its store answers.

    The store is the one in the environment's MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db` in the working folder.

    Returns:
        The tracking URI as it was given; print it through `without_secrets`.

    Raises:
        OutageError: The store does not answer within seconds.
        UserError: It cannot be used: a damaged file, a missing driver.
    """
    uri = _uri()
    for name, value in CLIENT_SETTINGS.items():
        os.environ.setdefault(name, value)
    for noisy in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if file := database_file(uri):
        make_database(file)
    _knock(uri)
    import mlflow

    mlflow.set_tracking_uri(_anchored(uri))
    return uri


def client() -> "MlflowClient":
    """A client of the store that `configure` has set up."""
    from mlflow import MlflowClient

    return MlflowClient()


def experiment() -> str:
    """The id of the project's experiment, which is created when it is missing."""
    from mlflow.exceptions import MlflowException

    for _ in range(2):  # the second time when another process has just created it
        found = client().get_experiment_by_name(EXPERIMENT)
        if found and found.lifecycle_stage != "active":
            raise UserError(
                f"The MLflow experiment '{EXPERIMENT}' is deleted. "
                f"Restore it: mlflow experiments restore --experiment-id {found.experiment_id}",
            )
        if found:
            return str(found.experiment_id)
        try:
            return str(client().create_experiment(EXPERIMENT, artifact_location=_artifact_folder()))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    raise OutageError(f"The MLflow experiment '{EXPERIMENT}' can neither be found nor created. Try again.")


def points(record: Mapping[str, Any]) -> "list[Metric]":
    """The metrics of one line of metrics.jsonl, as MLflow takes them.

    The MLflow step is the epoch and the timestamp the line's own time, so that whoever logs the line again writes the
    same points. What is undefined (null, NaN) is no point.
    """
    from mlflow.entities import Metric

    at_ms = round(float(record["time"]) * 1000)
    return [
        Metric(metric_key(key), float(value), at_ms, int(record["epoch"]))
        for key, value in record.items()
        if key not in {"epoch", "time"} and is_number(value)
    ]


def log_points(run_id: str, metrics: "Iterable[Metric]") -> None:
    """Logs points in batches, synchronously: asynchronous logging loses some without a word.

    Raises:
        OutageError: The store is away.
    """
    waiting = list(metrics)
    with outage("logging metrics"):
        for start in range(0, len(waiting), METRICS_PER_BATCH):
            batch = waiting[start : start + METRICS_PER_BATCH]
            client().log_batch(run_id, metrics=batch, synchronous=True)


def is_number(value: object) -> bool:
    """Whether a value is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def metric_key(name: str) -> str:
    """A name with only the characters that MLflow allows in a metric's key."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)[:250]


@contextmanager
def outage(doing: str, *, remedy: str = AGAIN) -> Iterator[None]:
    """Turns a store that is away, and what MLflow refuses, into errors that a person can act on.

    Args:
        doing: What was going on, for the message.
        remedy: What to do about a store that is away, in sentences.

    Raises:
        OutageError: The store, or the storage of its files, does not answer or fails.
        UserError: The store answered and refused (no rights, a name it does not allow), or its file is damaged.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise _told(error, doing, remedy) from None
    except _away() as error:
        if _refused(error):
            raise UserError(without_secrets(f"MLflow at {_uri()} refused while {doing}: {error}. {RIGHTS}")) from None
        raise damage(_uri(), error) or OutageError(_away_text(f"failed while {doing}: {error}", remedy)) from None


@contextmanager
def shown(what: str) -> Iterator[None]:
    """Shows in MLflow what the decision log holds already: what MLflow refuses is a warning, since nothing is lost.

    Args:
        what: `verdict` or `review`, for the message.

    Raises:
        OutageError: The store is away.
    """
    again = f"The {what} is recorded and holds; once MLflow is back, `segloop registry reconcile` shows the state."
    try:
        with outage(f"showing the {what}", remedy=again):
            yield
    except UserError as error:
        print(f"warning: the {what} is recorded, but MLflow does not show it: {error}", file=sys.stderr)


def _artifact_folder() -> str | None:
    if urlsplit(_uri()).scheme in WEB:
        return None  # a server knows its own place
    database = database_file(_uri())  # beside it: the working folder may be that of a run, which is removed some day
    return ((database.parent if database else Path()) / ARTIFACTS).absolute().as_uri()


def _anchored(uri: str) -> str:
    """Makes SQLite's path absolute, since MLflow keeps one connection for a URI, wherever the process goes."""
    path = uri.removeprefix(SQLITE)
    return f"{SQLITE}{Path(path).absolute()}" if path != uri and path else uri


def _uri() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def _knock(uri: str) -> None:
    """Asks the store for a sign of life, since MLflow itself retries an absent one for minutes."""
    import requests
    import sqlalchemy

    try:
        scheme = urlsplit(uri).scheme
    except ValueError as error:
        raise UserError(without_secrets(f"MLFLOW_TRACKING_URI is {uri!r}, which is no address: {error}.")) from None
    try:
        if scheme in WEB:
            requests.get(f"{uri.rstrip('/')}/health", timeout=ANSWER_TIMEOUT_S)
        elif scheme.partition("+")[0] in DATABASES:
            wait = "timeout" if scheme.startswith("sqlite") else "connect_timeout"
            engine = sqlalchemy.create_engine(uri, connect_args={wait: ANSWER_TIMEOUT_S})
            sqlalchemy.inspect(engine).get_table_names()  # SQLite opens any file, and looks at it when it reads
            engine.dispose()
    except requests.exceptions.SSLError:
        return  # MLflow has settings of its own for certificates
    except (ModuleNotFoundError, sqlalchemy.exc.ArgumentError, requests.exceptions.InvalidURL) as error:
        remedy = "Install the database's driver or mend MLFLOW_TRACKING_URI."
        raise UserError(without_secrets(f"MLflow's store {uri} cannot be used: {error}. {remedy}")) from None
    except (requests.RequestException, sqlalchemy.exc.SQLAlchemyError) as error:
        raise damage(uri, error) or OutageError(_away_text(f"does not answer: {error}")) from None


def _told(error: "MlflowException", doing: str, remedy: str) -> SegloopError:
    if SERVED in error.message:
        return UserError(SERVED_TEXT)
    status = int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    if damaged := damage(_uri(), error.message):
        return damaged
    if status >= SERVER_FAULT or status == TOO_MANY:
        return OutageError(_away_text(f"failed while {doing}: {error.message}", remedy))
    text = f"MLflow at {_uri()} refused while {doing}: {error.message} ({error.error_code})"
    return UserError(without_secrets(f"{text}. {RIGHTS}" if status in NO_RIGHTS else text))


def _refused(error: Exception) -> bool:
    """Whether the store of files answered, and said no; MLflow lets the bare error of the web through."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return isinstance(status, int) and BAD_REQUEST <= status < SERVER_FAULT and status not in {TIMED_OUT, TOO_MANY}


def _away() -> tuple[type[Exception], ...]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from sqlalchemy.exc import SQLAlchemyError

    return (OSError, SQLAlchemyError, Boto3Error, BotoCoreError, ClientError)


def _away_text(what: str, remedy: str = AGAIN) -> str:
    # A client that finds nobody says it in its objects' own words.
    said = NO_CONNECTION.sub(r"no connection (\2)", what)
    return without_secrets(f"MLflow at {_uri()} {said}. {remedy}")
