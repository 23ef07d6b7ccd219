"""A real S3 server on loopback (rclone, which checks keys and signatures), and a proxy that puts faults in its way."""

import http.client
import os
import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
BUCKET = "annotations"
KEY, SECRET = "reader-of-the-tests", "no-secret-of-anybody"
START_TIMEOUT_S = 120
FORWARD_TIMEOUT_S = 120
REMEMBERED_S = 0.05  # how long the server believes that a folder is as it was; without this time it spins
DRIPS = 20
DRIP_PAUSE_S = 0.05
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
# Status and code as AWS gives them; rclone itself pays no heed to If-Match.
ERRORS = {"slow_down": (503, "SlowDown"), "changed": (412, "PreconditionFailed"), "denied": (403, "AccessDenied")}


@dataclass
class Fault:
    """What goes wrong with some requests.

    Attributes:
        kind: `silence` (no answer at all), `slow_down` (503), `denied` (403), `changed` (412), `reset` (in the midst of
            the body), `truncated` (the body ends early, its length says otherwise), `short` (the length agrees),
            `garbled` (one byte is another), `slow` (the body drips), `stall` (it stops half-way for good),
            `no_range` (the whole body for a part of it).
        path: Regular expression for the path and query.
        method: The HTTP method.
        times: Requests that it hits.
        before: Called as it hits, before anything is forwarded.
    """

    kind: str
    path: str = ""
    method: str = "GET"
    times: int = 10**9
    before: Callable[[], object] = field(default=lambda: None)


@dataclass(frozen=True)
class Seen:
    """A request that came to the proxy."""

    method: str
    path: str
    range: str | None


class S3:
    """The server with its proxy.

    Attributes:
        bucket: The folder that is the bucket: what lies in it are its objects.
        url: The endpoint, through the proxy.
        faults: Faults that are yet to hit.
        seen: The requests that came, in their order.
    """

    def __init__(self, root: Path, port: int, process: "subprocess.Popen[bytes]") -> None:
        self.bucket = root / BUCKET
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.process = process
        self._upstream = port
        self._lock = threading.Lock()
        self._one_by_one = threading.Lock()
        self._server = ThreadingHTTPServer((HOST, 0), type("Handler", (Proxy,), {"s3": self}))
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def environment(self) -> dict[str, str]:
        """What the ordinary AWS chain reads its settings from."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def gets(self, name: str) -> list[str | None]:
        """The ranges asked of the objects whose path ends so, None for the whole, in their order."""
        return [each.range for each in self.seen if each.method == "GET" and each.path.split("?")[0].endswith(name)]

    def settle(self) -> None:
        """Waits until the server sees what was written into its folder."""
        time.sleep(4 * REMEMBERED_S)

    def stop(self) -> None:
        """Stops proxy and server."""
        self._server.shutdown()
        self._server.server_close()
        self.process.kill()
        self.process.wait()

    def next_fault(self, method: str, path: str) -> Fault | None:
        """The fault that hits a request, one time less from now on."""
        with self._lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def forward(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        """What the server itself answers: status, headers, body."""
        # One request at a time: its makers call this server experimental, and what is tested is not the server.
        with (
            self._one_by_one,
            closing(http.client.HTTPConnection(HOST, self._upstream, timeout=FORWARD_TIMEOUT_S)) as to,
        ):
            to.request(method, path, body, headers)
            answer = to.getresponse()
            return answer.status, answer.headers, answer.read()


@contextmanager
def s3_server(root: Path) -> Iterator[S3]:
    """Starts a server whose buckets are the folders of `root`, with one bucket in it."""
    (root / BUCKET).mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    environment = {
        **os.environ,
        "RCLONE_CONFIG": str(root.parent / "rclone.conf"),
        "RCLONE_DIR_CACHE_TIME": f"{REMEMBERED_S}s",
    }
    command = ["rclone", "serve", "s3", "--addr", f"{HOST}:{port}", "--auth-key", f"{KEY},{SECRET}", str(root)]
    with (root.parent / "rclone.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    server = S3(root, port, process)
    try:
        _wait_for(port, process)
        yield server
    finally:
        server.stop()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end:
        assert process.poll() is None, "rclone ended; see rclone.log"
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("rclone did not start")


class Proxy(BaseHTTPRequestHandler):
    """Forwards requests to the server, unless a fault hits them."""

    s3: S3
    protocol_version = "HTTP/1.1"
    # Headers and body go out in two writes: without this, the second waits for the first one's acknowledgement.
    disable_nagle_algorithm = True

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.s3.seen.append(Seen(self.command, self.path, self.headers.get("Range")))
        fault = self.s3.next_fault(self.command, self.path)
        if fault:
            fault.before()
        kind = fault.kind if fault else ""
        if kind == "silence":
            self._hold()
        elif kind in ERRORS:
            status, code = ERRORS[kind]
            text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{kind}</Message></Error>'
            self._send(status, text.encode(), {"Content-Type": "application/xml"})
        else:
            self._forward(body, kind)

    def _forward(self, body: bytes, kind: str) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        status, answered, data = self.s3.forward(self.command, self.path, body, headers)
        named = dict(answered.items())
        if kind == "no_range":
            # The range is signed and cannot be left out of the request.
            data = (self.s3.bucket.parent / self.path.lstrip("/")).read_bytes()
            named = {name: value for name, value in named.items() if name.lower() != "content-range"}
        self._send(status, data, named, kind)

    do_GET = do_PUT = do_DELETE = do_POST = do_HEAD = _any  # noqa: N815 - http.server's names

    def _send(self, status: int, data: bytes, headers: dict[str, str], kind: str = "") -> None:
        if kind == "garbled":
            data = bytes([data[0] ^ 1]) + data[1:]
        half = data[: len(data) // 2]
        length = len(half) if kind == "short" else len(data)
        if self.command == "HEAD":
            length = int(headers.get("Content-Length", 0))
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self._body(data, half, kind)

    def _body(self, data: bytes, half: bytes, kind: str) -> None:
        if kind in {"reset", "truncated", "short", "stall"}:
            self.wfile.write(half)
            self.wfile.flush()
            if kind == "reset":
                # A close that lingers for no time is a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if kind == "stall":
                self._hold()
            self.close_connection = True
        elif kind == "slow":
            step = max(1, -(-len(data) // DRIPS))
            for start in range(0, len(data), step):
                self.wfile.write(data[start : start + step])
                time.sleep(DRIP_PAUSE_S)
        else:
            self.wfile.write(data)

    def _hold(self) -> None:
        """Waits until the client gives up."""
        self.rfile.read(1)
        self.close_connection = True

    def handle_one_request(self) -> None:
        """Answers a request; a client that gives up or is killed ends the connection only."""
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Requests are kept, not printed."""
