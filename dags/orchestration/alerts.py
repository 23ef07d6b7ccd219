"""Who is told when a run fails or is late: the log, and mail or Slack where a connection is there."""

import logging
from typing import Any

from airflow.sdk import BaseNotifier

log = logging.getLogger("segloop.alerts")

SMTP, SLACK = "segloop_smtp", "segloop_slack"  # connections, by their ids; the extra field `to` has the addressees


class Alert(BaseNotifier):
    """Tells of a run that failed.

    For the DAG, not for tasks: a task that is killed or runs out of memory never calls its own callback.
    """

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Nothing is a template here, and a DAG that was read from the database could not render one."""

    def notify(self, context: Any) -> None:
        """Writes the log, then mail and Slack where there is a connection."""
        run = context["dag_run"]
        reason = context.get("reason") or "see its tasks"
        send(f"{run.dag_id}: the run {run.run_id} failed ({reason})")


def late(context: Any = None, *, dag: str, **_: Any) -> None:
    """Tells of a run that is not done in time: a pool that does not exist, a dead worker, a task that hangs.

    Args:
        context: Airflow's context of the deadline.
        dag: The DAG.
    """
    run = (context or {}).get("dag_run") or {}
    name = run.get("run_id") or run.get("dag_run_id") if isinstance(run, dict) else getattr(run, "run_id", "")
    send(f"{dag}: the run {name} has missed its deadline and is not done; `segloop status` shows missing pools")


def send(text: str) -> None:
    """Says it everywhere; a channel that fails is told in the log, and never keeps the next from being tried."""
    log.error("ALERT %s", text)
    for connection, channel in ((SMTP, _mail), (SLACK, _slack)):
        to = _addressees(connection)
        if to is None:
            continue
        try:
            channel(connection, to, text)
        except Exception:
            log.exception("ALERT could not be sent by the connection %s", connection)


def _addressees(connection: str) -> str | None:
    """To whom a connection sends; None when there is no such connection."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowException

    try:
        extra = Connection.get(connection).extra_dejson
    except (AirflowException, RuntimeError, ImportError):  # absent, or no way to ask from here
        return None
    return str(extra.get("to") or "")


def _mail(connection: str, to: str, text: str) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    with SmtpHook(smtp_conn_id=connection) as hook:
        hook.send_email_smtp(to=to, subject=text[:120], html_content=f"<p>{text}</p>")


def _slack(connection: str, to: str, text: str) -> None:
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

    SlackWebhookHook(slack_webhook_conn_id=connection).send(text=f"{to} {text}".strip())
