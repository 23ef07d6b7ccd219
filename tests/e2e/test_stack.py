"""A real stack from `segloop up` to `segloop down`: MLflow, Airflow, the promoter and the reports."""

import json
import os
import re
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests
from stack_case import HOST, RunningStack, prepare_stack

pytestmark = pytest.mark.e2e

PATIENCE_S = 300  # on a machine that has other work
AIRFLOW = {"api-server", "scheduler", "dag-processor", "triggerer"}
# A task that tries to get at the promoter's key and at passwords, and to work as tasks do.
TRIAL = '''
from datetime import datetime
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG("trial", schedule=None, start_date=datetime(2026, 1, 1), is_paused_upon_creation=False):
    BashOperator(task_id="try", append_env=True, bash_command="""
cd {root}
exec > .segloop/trial.new 2>&1
head -c 9 {key} && echo KEY READ
head -c 9 {passwords} && echo PASSWORDS READ
head -c 9 /proc/{promoter}/environ && echo ENVIRONMENT READ
echo written > .segloop/own && cat .segloop/own params.yaml > /dev/null && echo WORKS
mv .segloop/own dags/own.txt && cat dags/own.txt > /dev/null && rm dags/own.txt && echo MOVES
mkdir -p ~/.cache/hub && echo weights > ~/.cache/hub/own && cat ~/.cache/hub/own > /dev/null && echo CACHES
mv .segloop/trial.new .segloop/trial.txt
""")
'''


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """A stack that has just been started for the first time; what `up` printed is in `up.txt`."""
    folder = Path(tempfile.mkdtemp(prefix="stack."))  # a short path: sockets lie below it
    prepared = prepare_stack(folder, environment={"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True"})
    try:
        started = prepared.up()
        (folder / "up.txt").write_text(started.stdout + started.stderr)
        assert started.returncode == 0, started.stdout + started.stderr
        yield prepared
    finally:
        stopped = prepared.down()
        shutil.rmtree(folder)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr


def until(holds: Callable[[], object], what: str) -> None:
    """Waits until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.5)


def heartbeat(stack: RunningStack, part: str) -> str:
    """What Airflow says of a part: its status, and when it was last heard of."""
    told = requests.get(f"{stack.url('airflow')}/api/v2/monitor/health", timeout=30).json()
    return " ".join(map(str, told[part].values()))


def test_every_part_answers(stack: RunningStack) -> None:
    """Each server gives a sign of life, each part of Airflow beats, and `status` agrees."""
    for name, path in {"mlflow": "/health", "promoter": "/healthz", "reports": "/healthz"}.items():
        assert requests.get(stack.url(name) + path, timeout=30).ok, name
    for part in ("metadatabase", "scheduler", "dag_processor", "triggerer"):
        assert "healthy" in heartbeat(stack, part).split()
    status = stack.status()
    assert status.returncode == 0, status.stdout + status.stderr
    assert status.stdout.count("healthy") == len(AIRFLOW) + 3
    used = re.search(r"processes use (\d+) MiB", status.stdout)
    assert used is not None
    assert int(used[1]) < 3000


def test_nobody_listens_but_on_the_loopback_device(stack: RunningStack) -> None:
    """No process of the stack can be reached from another machine."""
    pids = {each.pid for each in stack.processes()}
    listening = [each for each in psutil.net_connections("inet") if each.pid in pids and each.status == "LISTEN"]
    assert {each.laddr.ip for each in listening} == {HOST}
    assert len({each.laddr.port for each in listening}) == 4


def test_passwords_are_shown_once_and_kept_to_their_owner(stack: RunningStack) -> None:
    """The first `up` prints them, the second says that all runs; no log has them, and nobody else reads the files."""
    files = [*stack.secrets.iterdir(), *(stack.home / ".config" / "segloop").iterdir()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stack.password("reviewer") in (stack.root.parent / "up.txt").read_text()
    again = stack.up()
    assert again.returncode == 0
    assert "runs already" in again.stderr
    secrets = [value for file in files[:2] for value in json.loads(file.read_text()).values()]
    logs = [file.read_text(errors="replace") for file in (stack.root / ".segloop").rglob("*.log")]
    assert [text for text in [again.stdout, *logs] if any(secret in text for secret in secrets)] == []
    assert stack.password("reviewer") in stack.up("--show-passwords").stdout
    assert stack.workspace.ok("git", "status", "--porcelain").split() == ["??", "data/promoter.pub"]


def test_users_may_do_what_their_roles_say(stack: RunningStack) -> None:
    """A viewer and the promoter read and change nothing; both pools are there."""
    for user in ("viewer", "promoter"):
        pools = stack.ask("GET", "/pools", user).json()["pools"]
        assert {"gpu", "cpu"} <= {pool["name"] for pool in pools}
        assert stack.ask("POST", "/pools", user, name="more", slots=1).status_code == requests.codes.forbidden


def test_a_missing_pool_is_told_and_made_again(stack: RunningStack) -> None:
    """Tasks of a pool that is gone would wait for ever: `status` exits 3 and names it, `up` makes it."""
    until(lambda: stack.ask("GET", "/dags").json()["total_entries"] > 1, "the DAGs are read")
    assert stack.ask("DELETE", "/pools/cpu").ok
    status = stack.status()
    assert (status.returncode, "there is no pool 'cpu'" in status.stderr) == (3, True), status.stdout + status.stderr
    assert "made the pools cpu" in stack.up().stderr
    assert stack.status().returncode == 0


def test_a_task_cannot_read_keys_and_passwords(stack: RunningStack) -> None:
    """In a real task they and the promoter's environment are closed, and all else can be read, written, moved."""
    from pipeline.stack.sandbox import works

    if not works():
        pytest.skip("this kernel has no Landlock")
    key, promoter = stack.home / ".config" / "segloop" / "promoter.pem", stack.record("promoter")["pid"]
    passwords = stack.secrets / "passwords.json"
    trial = TRIAL.format(root=stack.root, key=key, passwords=passwords, promoter=promoter)
    (stack.root / "dags" / "trial.py").write_text(trial)
    until(lambda: stack.ask("GET", "/dags/trial").ok, "the DAG is read")
    assert stack.ask("POST", "/dags/trial/dagRuns", logical_date=None, conf={}).ok
    result = stack.root / ".segloop" / "trial.txt"
    until(result.exists, "the task has run")
    said = result.read_text()
    assert "WORKS" in said
    assert "MOVES" in said
    assert "CACHES" in said
    assert "READ" not in said
    assert said.count("Permission denied") == 3


def test_a_killed_scheduler_comes_back(stack: RunningStack) -> None:
    """After SIGKILL another scheduler is started, whose heartbeats follow."""
    before = stack.record("scheduler")["pid"]
    os.kill(before, signal.SIGKILL)
    until(lambda: stack.record("scheduler")["pid"] not in {before, None}, "another scheduler runs")
    until(lambda: stack.status().returncode == 0, "all is healthy again")
    assert not psutil.pid_exists(before)
    assert stack.record("scheduler")["ended"] == 1


def test_nothing_is_left_after_a_killed_manager(stack: RunningStack) -> None:
    """`status` tells that the manager is gone, `up` asks for `down` first, and `down` finds every process."""
    os.kill(stack.record("manager")["pid"], signal.SIGKILL)
    status = stack.status()
    assert (status.returncode, "the manager is gone" in status.stderr) == (3, True)
    assert stack.up().returncode == 2
    assert stack.down().returncode == 0
    assert stack.processes() == []
    assert "nothing runs" in stack.down().stdout
    assert stack.status().returncode == 3


def test_a_part_of_the_stack_starts_again_and_stops_in_order(stack: RunningStack) -> None:
    """After `down`, `up` without Airflow serves what was there before, and its `down` leaves no process."""
    without = [word for name in sorted(AIRFLOW) for word in ("--without", name)]
    started = stack.up(*without)
    assert started.returncode == 0, started.stderr
    assert stack.password("admin") not in started.stdout
    (stack.root / ".segloop" / "reports" / "note.txt").write_text("a report")
    assert requests.get(f"{stack.url('reports')}/note.txt", timeout=30).text == "a report"
    assert len(stack.processes()) >= 3
    assert stack.down().returncode == 0
    assert stack.processes() == []
