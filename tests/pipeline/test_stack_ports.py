"""Tests of ports that are taken."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stack_case import HOST, STACK, free_offset

from pipeline.errors import UserError
from pipeline.params import parse
from pipeline.stack.ports import assert_free, holder, is_free
from pipeline.stack.settings import MARKER, Stack, StackParams


@pytest.fixture
def stack() -> Stack:
    """A stack whose ports are free."""
    return Stack(Path("/checkout"), parse(StackParams, STACK, "test"), free_offset())


@pytest.fixture(params=[HOST, "0.0.0.0"])  # noqa: S104 - another's server, which listens everywhere
def taken(request: pytest.FixtureRequest, stack: Stack) -> Iterator[int]:
    """A port of the stack that somebody listens on."""
    with socket.socket() as server:
        server.bind((request.param, stack.port("mlflow")))
        server.listen()
        yield stack.port("mlflow")


def test_free_ports_pass(stack: Stack) -> None:
    """Nothing is said."""
    assert_free(stack)


def test_a_taken_port_is_told_with_its_holder_and_the_settings(stack: Stack, taken: int) -> None:
    """The message names the port, what it is for, who has it, and both ways out."""
    with pytest.raises(UserError) as caught:
        assert_free(stack)
    said = str(caught.value)
    assert all(word in said for word in (str(taken), "mlflow", "stack.mlflow_port", "SEGLOOP_PORT_OFFSET"))
    assert f"pid {os.getpid()}" in said
    assert f"which is {stack.offset} now" in said


def test_another_stack_is_named() -> None:
    """Whoever has two checkouts is told in which one to stop."""
    listen = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", listen],
        env=os.environ | {MARKER: "/the/other"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert "of the stack of /the/other" in holder(int(process.stdout.readline()))
        process.kill()


def test_a_port_of_what_is_left_out_may_be_taken(stack: Stack, taken: int) -> None:
    """Whoever runs MLflow elsewhere on this machine leaves it out."""
    assert not is_free(taken)
    assert_free(Stack(stack.root, stack.params, stack.offset, without=frozenset({"mlflow"})))
