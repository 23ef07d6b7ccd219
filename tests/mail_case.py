"""A real mail server and a real receiver of webhooks on loopback, and the connections that lead to them."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from mlflow_server import HOST, free_port

USER, PASSWORD = "segloop", "the-mail-password"
TOKEN = "T0/B0/the-webhook-token"  # noqa: S105 - likewise
TO, MENTION = "ada@localhost, bert@localhost", "<!here>"
HANGS_UP = 0


@dataclass
class Inboxes:
    """What arrived.

    Attributes:
        mail_port: Of the mail server.
        web_port: Of the receiver of webhooks.
        mails: In the order in which they came; to whom they went is in the header `X-RcptTo`.
        posts: Path and body of each webhook.
        status: What the receiver of webhooks answers; with `HANGS_UP` it does not.
    """

    mail_port: int = 0
    web_port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    posts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    status: int = 200

    def smtp(self, **changes: Any) -> str:
        """The connection to the mail server, as AIRFLOW_CONN_SEGLOOP_SMTP takes it.

        Args:
            changes: Of the field `extra`; `port` for another port.
        """
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "loop@localhost", "to": TO}
        port = changes.pop("port", self.mail_port)
        told = {"conn_type": "smtp", "host": HOST, "port": port, "login": USER, "password": PASSWORD}
        return json.dumps(told | {"extra": extra | changes})

    def slack(self, scheme: str = "http") -> str:
        """The connection to the receiver of webhooks, as AIRFLOW_CONN_SEGLOOP_SLACK takes it."""
        told = {"conn_type": "slackwebhook", "password": f"{scheme}://{HOST}:{self.web_port}/{TOKEN}"}
        return json.dumps(told | {"extra": {"to": MENTION}})

    @property
    def texts(self) -> list[str]:
        """The text of each webhook, each to the right path."""
        assert {path for path, _ in self.posts} <= {f"/{TOKEN}"}
        return [body["text"] for _, body in self.posts]

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Takes a mail of whoever gave the password."""
        if not session.authenticated:
            return "530 5.7.0 Authentication required"
        mail = message_from_bytes(envelope.content, policy=default)
        mail["X-RcptTo"] = ", ".join(envelope.rcpt_tos)
        self.mails.append(mail)
        return "250 OK"


@contextmanager
def inboxes() -> Iterator[Inboxes]:
    """Runs both servers until the end of the block."""
    found = Inboxes()
    with ExitStack() as servers:
        found.web_port = servers.enter_context(_receiver(found))
        found.mail_port = free_port()
        words = {"authenticator": _knows, "auth_require_tls": False, "server_hostname": "localhost"}
        mail = Controller(found, hostname=HOST, port=found.mail_port, **words)
        mail.start()
        servers.callback(mail.stop)
        yield found


def _knows(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    given = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=given)


@contextmanager
def _receiver(found: Inboxes) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.posts.append((self.path, json.loads(body)))
            if found.status == HANGS_UP:
                self.close_connection = True
                return
            self.send_response(found.status)
            self.end_headers()
            self.wfile.write(b"ok" if found.status == 200 else b"invalid_token")

        def log_message(self, *_: object) -> None:
            """Keeps the tests' output clean."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
