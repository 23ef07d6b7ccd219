"""The launcher `ray` against a stand-in for Ray's dashboard, for what a healthy cluster does not do."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from job_case import JOBS

from pipeline.errors import OutageError
from pipeline.jobs import ray_cluster
from pipeline.jobs.params import JobsParams
from pipeline.jobs.ray_cluster import RayCluster

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)
INFO = {
    "type": "SUBMISSION",
    "submission_id": "segloop-a-1",
    "status": "RUNNING",
    "entrypoint": "",
    "driver_exit_code": None,
}


class Dashboard(BaseHTTPRequestHandler):
    """Answers as Ray does, and never stops the attempt."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """The version, or the attempt `segloop-a-1`, which runs."""
        if self.path == "/api/version":
            self._answer(200, {"version": "4", "ray_version": "2.60.0", "ray_commit": "", "session_name": "s"})
        elif self.path == "/api/jobs/segloop-a-1":
            self._answer(200, INFO)
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        """Takes the order to stop it."""
        self.asked.append(self.path)
        self._answer(200, {"stopped": True})

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def dashboard() -> Iterator[str]:
    """The stand-in, and its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Dashboard) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_an_attempt_that_never_ends_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node may be lost with its agent: whoever cancels is told so after a while, and does not wait for ever."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_cluster, "KEEP_TRYING_S", 0.5)
    with dashboard() as address:
        params = JobsParams.model_validate(JOBS).ray.model_copy(update={"address": address})
        with pytest.raises(OutageError, match="has not ended"):
            RayCluster(params, poll_s=0.1, stop_s=0).cancel("a")
    assert Dashboard.asked == ["/api/jobs/segloop-a-1/stop"]
