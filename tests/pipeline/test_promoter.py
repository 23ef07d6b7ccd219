"""Tests of the promoter's process: how it starts, what it says, how it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import requests
import yaml
from mlflow_server import free_port
from promoter_case import PASSWORD, SETTINGS, write_password

from pipeline.decisions.keys import new_key, public_text
from pipeline.promoter import warn_of_clear_text
from pipeline.stack import sandbox

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 180


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace with the promoter's keys and the password of its account in Airflow."""
    sections = yaml.safe_load((ROOT / "params.yaml").read_text())
    sections["promoter"] = {**SETTINGS, "attempts": 1}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(sections))
    (tmp_path / "data").mkdir()
    private = new_key(tmp_path / "home/.config/segloop/promoter.pem")
    (tmp_path / "data/promoter.pub").write_text(public_text(private) + "\n")
    write_password(tmp_path / "home/.config/segloop/airflow.password")
    return tmp_path


def start(
    place: Path, *options: str, module: str = "pipeline.promoter", before: Sequence[str] = ()
) -> "subprocess.Popen[str]":
    """Starts the promoter, or another command, behind the words of a command that starts it in turn."""
    unset = ("SEGLOOP_", "MLFLOW_TRACKING_URI")
    ours = {key: text for key, text in os.environ.items() if not key.startswith(unset)}
    environment = ours | {"PYTHONPATH": str(ROOT), "HOME": str(place / "home")}
    command = [*before, sys.executable, "-m", module, *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=place, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def test_it_serves_until_it_is_told_to_stop(place: Path) -> None:
    """It answers, ends with 0 on SIGTERM, and what it has said holds no secret."""
    port = free_port()
    process = start(place, "--port", str(port))
    deadline = time.monotonic() + PATIENCE_S
    while not _alive(port):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    said = requests.post(f"http://127.0.0.1:{port}/v1/answers/a-run", timeout=PATIENCE_S)
    assert said.status_code == 503
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == 0, output
    assert "run a-run: Airflow at http://127.0.0.1:9 does not answer" in output
    assert PASSWORD not in output
    assert "PRIVATE" not in output


@pytest.mark.parametrize(
    ("lost", "said"), [("promoter.pem", "There is no promoter's key"), ("airflow.password", "cannot be read from")]
)
def test_it_does_not_start_without_what_it_needs(place: Path, lost: str, said: str) -> None:
    """Neither without its key nor without its password: the error names the file."""
    (place / "home/.config/segloop" / lost).unlink()
    process = start(place)
    output = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == 2
    assert said in output


@pytest.mark.skipif(not sandbox.works(), reason="needs Landlock, which Linux has from 5.19 on")
def test_a_key_that_cannot_be_read_hinders_only_the_promoter(place: Path) -> None:
    """Kept from the folder of keys, as every task is, other commands do their work; the promoter says what it lacks."""
    caged = [sys.executable, "-m", "pipeline.stack.sandbox", "--deny-read", str(place / "home/.config/segloop"), "--"]
    audit = start(place, "verify", "--offline", module="pipeline.audit", before=caged)
    output = audit.communicate(timeout=PATIENCE_S)[0]
    assert (audit.returncode, "0 decisions" in output) == (0, True), output
    promoter = start(place, before=caged)
    output = promoter.communicate(timeout=PATIENCE_S)[0]
    assert (promoter.returncode, "cannot be read: Permission denied" in output) == (2, True), output


def test_a_port_that_is_taken_is_the_users_matter(place: Path) -> None:
    """It exits 2, as one's own mistakes do, and not as a failed verdict would."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(place, "--port", str(taken.getsockname()[1]))
        output = process.communicate(timeout=PATIENCE_S)[0]
    assert process.returncode == 2
    assert "cannot listen on 127.0.0.1" in output


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("http://127.0.0.1:8080", False),
        ("http://localhost:8080", False),
        ("http://[::1]:8080", False),
        ("https://airflow.example.org", False),
        ("http://airflow.example.org", True),
    ],
)
def test_a_network_without_tls_is_warned_of(url: str, *, warns: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """On this machine nothing lies between; elsewhere answers could be forged on the way."""
    warn_of_clear_text(url)
    assert ("without TLS" in capsys.readouterr().err) is warns


def _alive(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).ok
    except requests.RequestException:
        return False
