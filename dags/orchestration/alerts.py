"""Who is told when a run fails or is late, and how a promotion was decided.

The log is, and mail or Slack where a connection is there.
"""

import html
import logging
import os
import time
from collections.abc import Callable
from threading import Thread
from typing import Any, Final
from urllib.parse import quote

from airflow.sdk import BaseNotifier

log = logging.getLogger("segloop.alerts")

SMTP, SLACK = "segloop_smtp", "segloop_slack"  # connections, by their ids; the extra field `to` has the addressees
LIMIT_S: Final = 20.0  # the DAG processor ends a process that calls back after 50 s, its start included
SUBJECT: Final = 120  # characters
DENIED: Final = (
    "Airflow gives none of those to the callback of a deadline. Where it is to tell of late runs, define it by %s in "
    "the environment of the scheduler and the workers, or in a secrets backend"
)


DECIDED: Final = {
    "promoted": "a version was approved and serves now",
    "rejected": "a version was rejected, and what served goes on serving",
    "already": "nothing was decided anew",
}


class _Notifier(BaseNotifier):
    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Nothing is a template here, and a DAG that was read from the database could not render one."""


class Alert(_Notifier):
    """Tells of a run that failed.

    For the DAG, not for tasks: a task that is killed or runs out of memory never calls its own callback.
    """

    def notify(self, context: Any) -> None:
        """Writes the log, then mail and Slack where there is a connection."""
        dag, run = context["dag"].dag_id, context["run_id"]  # all that is there for a run without a task
        reason = context.get("reason") or "no reason is given"
        what = f"{dag}: the run {run} failed ({reason})"
        send(what, f"The logs of its tasks say why; clear what did not succeed when it is mended: {_page(dag, run)}")


class Outcome(_Notifier):
    """Tells how a version was decided on: for the task that has it decided, when that has succeeded."""

    def notify(self, context: Any) -> None:
        """Writes the log, then mail and Slack where there is a connection."""
        told, dag = context["ti"].xcom_pull(context["ti"].task_id), context["dag"].dag_id
        what = f"{dag}: {DECIDED[told['outcome']]}: {' '.join(told['reason'].split())}"
        send(what, f"What was asked, and the dossier: {_page(dag, context['run_id'])}", level=logging.INFO)


def late(context: Any = None, *, dag: str, **_: Any) -> None:
    """Tells of a run that is not done in time: a pool that does not exist, a dead worker, a task that hangs.

    Args:
        context: Airflow's context of the deadline.
        dag: The DAG.
    """
    run = ((context or {}).get("dag_run") or {}).get("dag_run_id") or "that Airflow does not name"
    what = f"{dag}: the run {run} has missed its deadline and is not done"
    send(what, f"See which task it waits for, and whether `segloop status` misses a pool: {_page(dag, run)}")


def send(what: str, remedy: str, *, level: int = logging.ERROR, limit_s: float = LIMIT_S) -> None:
    """Says it everywhere; no channel keeps another from being tried, and what fails is told in the log.

    Args:
        what: What happened, to which DAG and which run.
        remedy: What to do.
        level: Of the log; below an error it is news, not an alert.
        limit_s: How long it waits for the channels, which are used side by side.
    """
    log.log(level, "%s %s. %s", "ALERT" if level >= logging.ERROR else "NEWS", what, remedy)
    found = {name: _connection(name) for name in CHANNELS}
    threads = {
        name: Thread(target=_try, args=(name, connection, what, remedy), daemon=True)
        for name, connection in found.items()
        if connection is not None
    }
    for thread in threads.values():
        thread.start()
    end = time.monotonic() + limit_s
    for name, thread in threads.items():
        thread.join(max(end - time.monotonic(), 0))
        if thread.is_alive():
            log.error("ALERT not sent by the connection %s: its server did not answer within %g s", name, limit_s)


def _connection(name: str) -> Any:
    """A connection; None where there is none, or none that can be read from here, which the log then says."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    variable = f"AIRFLOW_CONN_{name.upper()}"
    try:
        return Connection.get(name)
    except (AirflowNotFoundException, PermissionError) as error:
        if os.environ.get(variable):
            log.error("ALERT not sent by the connection %s: %s is neither an address nor JSON", name, variable)  # noqa: TRY400
        elif isinstance(error, PermissionError):
            # The callback of a deadline runs in the executor, with a token that opens no connection of the database.
            log.warning("ALERT not sent by %s if it is a connection of Airflow's database: %s", name, DENIED % variable)
    except Exception as error:  # noqa: BLE001 - whatever a secrets backend raises
        log.error("ALERT not sent: the connection %s cannot be read: %s", name, _told(error))  # noqa: TRY400
    return None


def _try(name: str, connection: Any, what: str, remedy: str) -> None:
    try:
        to = connection.extra_dejson.get("to") or ""
        CHANNELS[name](name, ", ".join(to) if isinstance(to, list) else to, what, remedy)
    except Exception as error:  # noqa: BLE001 - whatever a server or a library does
        # Without a traceback, which may show what the connection holds.
        log.error("ALERT not sent by the connection %s: %s", name, _told(error))  # noqa: TRY400
    else:
        log.info("ALERT sent by the connection %s", name)


def _mail(name: str, to: str, what: str, remedy: str) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    if not to:
        raise ValueError("nobody is named; its extra field `to` takes addresses, separated by commas")
    content = "".join(f"<p>{html.escape(text)}</p>" for text in (what, remedy))
    with SmtpHook(smtp_conn_id=name) as hook:
        hook.send_email_smtp(to=to, subject=" ".join(what.split())[:SUBJECT], html_content=content)


def _slack(name: str, to: str, what: str, remedy: str) -> None:
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

    text = html.escape(f"{what}. {remedy}", quote=False)  # what Slack's own rules ask for
    quiet = log.getChild("slack")
    quiet.setLevel(logging.CRITICAL)  # the client logs the webhook's address, a secret; its errors are raised as well
    SlackWebhookHook(slack_webhook_conn_id=name, logger=quiet).send(text=f"{to} {text}".strip())


def _page(dag: str, run: str) -> str:
    """The address of a run's page."""
    from airflow.sdk import conf

    base = conf.get("api", "base_url", fallback=None) or "http://localhost:8080"
    return f"{base.rstrip('/')}/dags/{quote(dag, safe='')}/runs/{quote(run, safe='')}"


def _told(error: Exception) -> str:
    from airflow.sdk.log import redact

    return f"{type(error).__name__}: {redact(str(error))}"


CHANNELS: Final[dict[str, Callable[[str, str, str, str], None]]] = {SMTP: _mail, SLACK: _slack}
