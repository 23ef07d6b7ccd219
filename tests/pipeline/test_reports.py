"""Tests of the reports' server: what it shows, and every way out of its folder."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_server import HOST, free_port
from workspace import ROOT

NESTED = "../" * 12


class Server:
    """A running server and its folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port

    def ask(self, path: str, method: str = "GET", host: str | None = None) -> tuple[int, dict[str, str], bytes]:
        """Sends a path as it is, which a browser would tidy up, and gives status, headers and content."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", host or f"{HOST}:{self.port}")
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a folder with a few reports, with a secret beside the folder."""
    base = tmp_path_factory.mktemp("reports")
    (base / "secret.txt").write_text("secret")
    folder = base / "reports"
    (folder / "run 1" / "docs").mkdir(parents=True)
    (folder / "run 1" / "docs" / "index.html").write_text("<p>Data Docs</p>")
    (folder / "run 1" / "table.json").write_text("{}")
    (folder / "run 1" / "<b>&.txt").write_text("odd")
    (folder / ".hidden").write_text("secret")
    (folder / "out").symlink_to(base)
    (folder / "out.txt").symlink_to(base / "secret.txt")
    port = free_port()
    command = [sys.executable, "-m", "pipeline.reports", "--port", str(port), "--folder", str(folder)]
    environment = os.environ | {"SEGLOOP_REPORTS_URL": "https://reports.example/loop"}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        try:
            _wait(port, process)
            yield Server(folder, port)
        finally:
            process.send_signal(signal.SIGTERM)


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection((HOST, port), timeout=5).close()
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return


def test_a_folder_is_listed_for_people(server: Server) -> None:
    """Names are links and are escaped; what is hidden or leads elsewhere is not among them."""
    status, _, page = server.ask("/")
    assert status == 200
    assert b'href="./run%201/"' in page
    assert b"hidden" not in page
    assert b"out" not in page
    _, _, page = server.ask("/run%201/")
    assert b"&lt;b&gt;&amp;.txt" in page
    assert b"<b>" not in page
    assert b'href="../"' in page


def test_a_folder_with_a_page_is_that_page(server: Server) -> None:
    """Without its last slash the address is mended first, so that links in the page hold."""
    assert server.ask("/run%201/docs/")[2] == b"<p>Data Docs</p>"
    status, headers, _ = server.ask("/run%201/docs")
    assert status == 307
    assert headers["location"].endswith("/run%201/docs/")
    status, headers, _ = server.ask("/run%201")
    assert (status, headers["location"]) == (307, "run%201/")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt", "/%2e%2e/secret.txt", "/run%201/../../secret.txt", "/..%2fsecret.txt", "/out/secret.txt",
        "/out/", "/out.txt", "/.hidden", "//secret.txt", f"/{NESTED}etc/passwd", "/%2fetc/passwd", "//etc/passwd",
        "/run%201/%00", "/\\..\\secret.txt", "/nothing",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_folder(server: Server, path: str) -> None:
    """Dots, slashes in every spelling, links to files and folders, hidden names: nothing is there."""
    status, _, content = server.ask(path)
    assert status in {307, 404}
    assert b"secret" not in content
    assert b"root:" not in content


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(server: Server, method: str) -> None:
    """Whatever is asked but GET and HEAD is refused."""
    assert server.ask("/run%201/table.json", method)[0] == 405
    assert (server.folder / "run 1" / "table.json").read_text() == "{}"


@pytest.mark.parametrize("path", ["/", "/run%201/table.json", "/run%201/docs/"])
def test_pages_load_nothing_from_outside(server: Server, path: str) -> None:
    """Every answer forbids it, and forbids that its type is guessed."""
    _, headers, _ = server.ask(path)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_only_this_machines_names_are_served(server: Server) -> None:
    """A page of the web whose name was made to point here gets nothing; the sign of life is there."""
    assert server.ask("/", host="evil.example")[0] == 400
    assert server.ask("/", host=f"localhost:{server.port}")[0] == 200
    assert server.ask("/", host="reports.example")[0] == 200, "the name of SEGLOOP_REPORTS_URL, behind a proxy"
    assert server.ask("/healthz")[2] == b'{"status":"healthy"}'


def test_head_tells_without_content(server: Server) -> None:
    """A link checker is answered."""
    status, _, content = server.ask("/run%201/table.json", "HEAD")
    assert (status, content) == (200, b"")


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    """The user's mistake has exit code 2."""
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "pipeline.reports", "--folder", str(tmp_path / "file")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert (done.returncode, "is no folder" in done.stderr) == (2, True)
