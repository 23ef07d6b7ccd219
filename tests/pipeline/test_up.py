"""Tests of `segloop up`, `down` and `status` where nothing gets as far as running."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from stack_case import HOST, STACK, free_offset
from workspace import ROOT, Workspace

from pipeline import down, status, up


@pytest.fixture
def project(tmp_path: Path) -> Workspace:
    """A folder with parameters, and a home of its own."""
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    sections = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"stack": STACK}
    (root / "params.yaml").write_text(yaml.safe_dump(sections))
    return Workspace(
        root,
        {
            "HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(ROOT),
            "SEGLOOP_PORT_OFFSET": str(free_offset()),
        },
    )


def segloop(project: Workspace, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs an action of the stack."""
    return project.run(sys.executable, "-m", f"pipeline.{words[0]}", *words[1:])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--without", "nginx"], "There is no process nginx"),
        (["--port-offset", "70000"], "--port-offset"),
        (["--params", "none.yaml"], "none.yaml"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_made(project: Workspace, words: list[str], told: str) -> None:
    """Exit code 2, a message that names it, and no folder of the stack."""
    done = segloop(project, "up", *words)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    assert not (project.root / ".segloop").exists()


def test_a_taken_port_is_told_before_anything_is_made(project: Workspace) -> None:
    """Nothing of the stack is made but the folder of its lock."""
    port = STACK["airflow_port"] + int(project.environment["SEGLOOP_PORT_OFFSET"])
    with socket.socket() as server:
        server.bind((HOST, port))
        server.listen()
        done = segloop(project, "up")
    assert done.returncode == 2
    assert re.search(rf"Port {port} .* for airflow, is taken by .*stack.airflow_port.*--port-offset", done.stderr)
    assert [file.name for file in (project.root / ".segloop").rglob("*")] == ["stack", "lock"]


def test_a_stack_that_is_down_is_told(project: Workspace) -> None:
    """`status` exits 3 and says how to start it; `down` has nothing to do, twice."""
    told = segloop(project, "status")
    assert (told.returncode, "`segloop up` starts it" in told.stderr) == (3, True)
    for _ in range(2):
        done = segloop(project, "down")
        assert (done.returncode, done.stdout) == (0, "nothing runs\n")


def test_only_one_command_works_on_a_stack(project: Workspace) -> None:
    """While another `up` or `down` is at work, a second one says so."""
    import fcntl

    folder = project.root / ".segloop" / "stack"
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for action in ("up", "down"):
            done = segloop(project, action)
            assert (done.returncode, "Another `segloop up`" in done.stderr) == (2, True)


def test_every_action_has_an_example() -> None:
    """The help of each shows a call."""
    for action in (up, down, status):
        assert re.search(rf"Example: segloop {action.__name__.split('.')[-1]}", str(action.main.__doc__))
