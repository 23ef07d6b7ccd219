"""Tests of the verdict on a process's health."""

import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from stack_case import STACK, free_offset

from pipeline.params import parse
from pipeline.stack.health import health, wait_until_healthy
from pipeline.stack.running import Part, parts
from pipeline.stack.settings import Stack, StackParams

NOW = 1_800_000_000.0


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """A stack of which nothing runs."""
    return Stack(tmp_path, parse(StackParams, STACK, "test"), free_offset())


def part(name: str, state: str = "running", ended: int = 0) -> Part:
    """A process that began at a known time."""
    return Part(name, state, psutil.Process() if state == "running" else None, NOW, ended)


def test_what_does_not_run_says_why(stack: Stack) -> None:
    """Its keeper's word counts, with the number of its ends."""
    listed = [part("mlflow", "given up", 6), part("reports", "missing"), part("scheduler", "waiting", 1)]
    assert health(stack, listed) == {
        "mlflow": "given up, ended 6 times",
        "reports": "missing",
        "scheduler": "waiting, ended 1 times",
    }


def test_a_server_that_does_not_answer_is_not_healthy(stack: Stack) -> None:
    """Airflow's parts are asked for at its API: without that, nothing is known of them."""
    assert health(stack, [part("mlflow"), part("api-server"), part("triggerer")]) == {
        "mlflow": "does not answer",
        "api-server": "does not answer",
        "triggerer": "unknown: Airflow's API does not answer",
    }


@pytest.mark.parametrize(
    ("age_s", "status", "verdict"),
    [
        (5, "healthy", "healthy"),
        (-60, "healthy", "no heartbeat since its start"),
        (5, "unhealthy", "unhealthy"),
        (None, None, "no heartbeat yet"),
    ],
)
def test_only_a_heartbeat_since_the_start_counts(age_s: int | None, status: str | None, verdict: str) -> None:
    """That of the process before says nothing about this one."""
    from pipeline.stack.health import _beats

    stamp = None if age_s is None else datetime.fromtimestamp(NOW + age_s, UTC).isoformat()
    assert _beats(part("dag-processor"), {"status": status, "latest_dag_processor_heartbeat": stamp}) == verdict


def test_a_stack_that_never_ran_has_missing_parts(stack: Stack) -> None:
    """Without a record there is no process; the waiting ends when its time is over."""
    assert [each.state for each in parts(stack, ["mlflow"])] == ["missing"]
    seen: list[dict[str, str]] = []
    began = time.monotonic()
    assert wait_until_healthy(stack, ["mlflow"], 0.01, seen.append) == {"mlflow": "missing"}
    assert seen
    assert time.monotonic() - began < 60
