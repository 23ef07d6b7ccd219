"""Alerts arrive: with a real mail server, and a real receiver of webhooks."""

import logging
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from mail_case import HANGS_UP, MENTION, PASSWORD, TO, TOKEN, Inboxes, inboxes
from mlflow_server import HOST, free_port

from orchestration.alerts import SLACK, SMTP, Alert, Outcome, late, send

RUN = "manual__2026-11-22T00:15:00+00:00"
FAILED = {"dag": SimpleNamespace(dag_id="training"), "run_id": RUN, "reason": "task_failure"}
LATE = {"dag_run": {"dag_id": "training", "dag_run_id": RUN}, "deadline": {"id": "1", "deadline_time": "now"}}
PAGE = "http://loop.example/dags/training/runs/manual__2026-11-22T00%3A15%3A00%2B00%3A00"
SMTP_VARIABLE, SLACK_VARIABLE = "AIRFLOW_CONN_SEGLOOP_SMTP", "AIRFLOW_CONN_SEGLOOP_SLACK"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Inboxes]:
    """Both servers, with both connections in the environment, and all that is logged."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://loop.example/")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with inboxes() as found:
        monkeypatch.setenv(SMTP_VARIABLE, found.smtp())
        monkeypatch.setenv(SLACK_VARIABLE, found.slack())
        yield found


def body(inbox: Inboxes) -> str:
    """The one mail's content."""
    (mail,) = inbox.mails
    part = mail.get_body(("html",))
    assert part is not None
    return str(part.get_content())


def assert_both_arrived(inbox: Inboxes, what: str, remedy: str) -> None:
    """Mail and message name the DAG, the run, what happened and what to do."""
    assert what in inbox.mails[0]["Subject"]
    (text,) = inbox.texts
    for told in (body(inbox), text):
        for word in ("training", RUN, what, remedy, PAGE):
            assert word in told, told


def test_a_run_that_failed_is_told_by_both(arrived: Inboxes) -> None:
    """The reason is named, and what to do."""
    Alert()(FAILED)
    assert_both_arrived(arrived, f"training: the run {RUN} failed (task_failure)", "clear what did not succeed")


def test_a_run_that_is_late_is_told_by_both(arrived: Inboxes) -> None:
    """The command that shows missing pools is named."""
    late(LATE, dag="training")
    assert_both_arrived(arrived, f"training: the run {RUN} has missed its deadline", "segloop status")


def decided(outcome: str, reason: str) -> dict[str, Any]:
    """What Airflow hands to the callback of the task that had a version decided on."""
    told = {"promote": {"outcome": outcome, "reason": reason, "version": 2}}
    ti = SimpleNamespace(task_id="promote", xcom_pull=told.__getitem__)
    return {"dag": SimpleNamespace(dag_id="training"), "run_id": RUN, "ti": ti}


@pytest.mark.parametrize(
    ("outcome", "reason", "said"),
    [
        ("promoted", "segmenter version 2 is the champion by decision 3, approved by Alice: better", "serves now"),
        ("rejected", "'Alice' rejected segmenter version 2, decision 3: pallets look odd", "was rejected"),
        ("already", "segmenter version 2 was promoted before, by decision 3, approved by Alice: better", "anew"),
    ],
)
def test_how_a_version_was_decided_on_is_told_by_both(
    arrived: Inboxes, caplog: pytest.LogCaptureFixture, outcome: str, reason: str, said: str
) -> None:
    """Version, reviewer and reason are named, with the run's page; the log has it as news, not as an alert."""
    Outcome()(decided(outcome, reason))
    for text in (body(arrived).replace("&#x27;", "'"), arrived.texts[0]):
        assert all(word in text for word in (said, reason, PAGE)), text
    assert f": {reason}. What was asked" in caplog.text
    assert not [each for each in caplog.records if each.name == "segloop.alerts" and each.levelno >= logging.WARNING]


def test_what_a_reviewer_gave_as_the_reason_is_no_markup(arrived: Inboxes, caplog: pytest.LogCaptureFixture) -> None:
    """Neither HTML, nor a mention, nor another line in the log."""
    Outcome()(decided("rejected", "'Alice' rejected it: <b>no</b>\nERROR all is lost <!channel>"))
    assert "<b>" not in body(arrived)
    assert "<!channel>" not in arrived.texts[0]
    assert "\nERROR" not in caplog.text


def test_news_that_no_channel_takes_fail_nothing(
    arrived: Inboxes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The decision stands: the log has it, and what became of the channels."""
    arrived.status = 403
    monkeypatch.setenv(SMTP_VARIABLE, arrived.smtp(port=free_port()))
    Outcome()(decided("promoted", "segmenter version 2 is the champion"))
    assert "segmenter version 2 is the champion" in caplog.text
    assert caplog.text.count("not sent by the connection") == 2


@pytest.mark.parametrize("to", [TO, TO.split(", ")])
def test_the_connection_names_the_addressees(
    arrived: Inboxes, monkeypatch: pytest.MonkeyPatch, to: str | list[str]
) -> None:
    """The mail goes to all of the field `to`, from `from_email`; the message begins with it."""
    monkeypatch.setenv(SMTP_VARIABLE, arrived.smtp(to=to))
    Alert()(FAILED)
    (mail,) = arrived.mails
    assert (mail["X-RcptTo"], mail["From"]) == (TO, "loop@localhost")
    assert arrived.texts[0].startswith(f"{MENTION} training")


def test_what_a_run_is_called_is_no_markup(arrived: Inboxes) -> None:
    """Neither HTML in the mail, nor a mention in the message, nor another header in the mail."""
    Alert()(FAILED | {"run_id": "<b>x</b>\nBcc: eve@localhost <!channel>"})
    assert "&lt;b&gt;x&lt;/b&gt;" in body(arrived)
    assert "<b>" not in body(arrived)
    assert arrived.mails[0]["Bcc"] is None
    assert "&lt;!channel&gt;" in arrived.texts[0]
    assert "<!channel>" not in arrived.texts[0]


def test_a_mail_server_that_is_away_keeps_no_message_back(
    arrived: Inboxes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The message arrives, and the log says what became of the mail."""
    monkeypatch.setenv(SMTP_VARIABLE, arrived.smtp(port=free_port()))
    late(LATE, dag="training")
    assert (len(arrived.mails), len(arrived.texts)) == (0, 1)
    assert f"ALERT not sent by the connection {SMTP}: ConnectionRefusedError" in caplog.text


def test_a_webhook_that_is_refused_keeps_no_mail_back(arrived: Inboxes, caplog: pytest.LogCaptureFixture) -> None:
    """The mail arrives, and the log says what the other server answered."""
    arrived.status = 403
    Alert()(FAILED)
    assert len(arrived.mails) == 1
    assert f"ALERT not sent by the connection {SLACK}" in caplog.text
    assert "invalid_token" in caplog.text


def test_a_mail_server_that_says_nothing_is_not_waited_for(
    arrived: Inboxes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Airflow ends a callback that takes too long: the message goes out beside, and the log has both."""
    with socket.create_server((HOST, 0)) as silent:
        monkeypatch.setenv(SMTP_VARIABLE, arrived.smtp(port=silent.getsockname()[1], timeout=5, retry_limit=0))
        send("training: the run 1 failed", "Look.", limit_s=2)
        assert f"ALERT not sent by the connection {SMTP}: its server did not answer within 2 s" in caplog.text
        assert len(arrived.texts) == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (None, "nobody is named; its extra field `to`"),
        ('{"conn_type": "smtp", "extra": "[1, 2]"}', f"ALERT not sent by the connection {SMTP}"),
        ("{not JSON", f"{SMTP_VARIABLE} is neither an address nor JSON"),  # Airflow passes over it in silence
    ],
    ids=["nobody", "list", "nonsense"],
)
def test_a_mistaken_connection_is_told_and_keeps_no_other_back(
    arrived: Inboxes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, changed: str | None, said: str
) -> None:
    """The log names what is wrong, and the message goes out all the same."""
    monkeypatch.setenv(SMTP_VARIABLE, changed or arrived.smtp(to=""))
    Alert()(FAILED)
    assert said in caplog.text
    assert len(arrived.texts) == 1


def test_the_log_alone_is_enough(
    arrived: Inboxes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without connections the alert is in the log, and nothing else is said."""
    for variable in (SMTP_VARIABLE, SLACK_VARIABLE):
        monkeypatch.delenv(variable)
    late(LATE, dag="training")
    (record,) = [each for each in caplog.records if "ALERT" in each.getMessage()]
    assert f"ALERT training: the run {RUN} has missed its deadline" in record.getMessage()
    assert not arrived.mails + arrived.posts


def test_a_connection_that_is_denied_keeps_no_other_back(
    arrived: Inboxes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in the callback of a deadline: the one in the environment works, and the log says how to define the other."""
    from airflow.sdk.exceptions import ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse

    class Denying:
        def send(self, _: Any) -> ErrorResponse:
            return ErrorResponse(error=ErrorType.PERMISSION_DENIED)

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Denying(), raising=False)
    monkeypatch.delenv(SMTP_VARIABLE)
    late(LATE, dag="training")
    assert len(arrived.texts) == 1
    assert f"ALERT not sent by {SMTP} if it is a connection of Airflow's database" in caplog.text
    assert f"define it by {SMTP_VARIABLE} in the environment" in caplog.text


@pytest.mark.parametrize("status", [200, 403, HANGS_UP])
def test_no_secret_is_in_the_log(
    arrived: Inboxes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """Neither the mail server's password nor the webhook's address, whether it went well or not, at any level."""
    monkeypatch.setattr(logging.getLogger("airflow.task"), "propagate", True)
    arrived.status = status
    Alert()(FAILED)
    assert "ALERT" in caplog.text
    assert not [secret for secret in (PASSWORD, TOKEN) if secret in caplog.text]


def test_a_webhook_whose_address_is_none_is_not_shown(
    arrived: Inboxes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error says what is wrong without the address."""
    monkeypatch.setenv(SLACK_VARIABLE, arrived.slack(scheme="ftp"))
    Alert()(FAILED)
    assert f"ALERT not sent by the connection {SLACK}" in caplog.text
    assert TOKEN not in caplog.text
