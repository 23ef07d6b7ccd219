"""Whether the processes of a stack do what they are there for: asked over HTTP, and by Airflow's heartbeats."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pipeline.stack.processes import AIRFLOW, HEALTH_PATHS, TASKS_PATH
from pipeline.stack.running import Part, parts
from pipeline.stack.settings import Stack

HEALTHY = "healthy"
ANSWER_TIMEOUT_S, BUILD_TIMEOUT_S = 10.0, 120.0
LOOK_S = 0.5
MONITOR = "/api/v2/monitor/health"
CLOCK_S = 1.0  # heartbeats are stored to the second


def health(stack: Stack, listed: list[Part]) -> dict[str, str]:
    """What is to be said about each process: `healthy`, or what is wrong."""
    monitor = _asked(stack.url("airflow") + MONITOR)
    return {part.name: _health(stack, part, monitor) for part in listed}


def wait_until_healthy(
    stack: Stack, names: list[str], timeout_s: float, look: Callable[[dict[str, str]], None]
) -> dict[str, str]:
    """Waits until every process is healthy.

    Args:
        stack: The stack.
        names: Its processes.
        timeout_s: For how long.
        look: Takes each state of affairs; it ends the waiting by raising.

    Returns:
        The last state, in which some are not healthy when the time is over.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        state = health(stack, parts(stack, names))
        look(state)
        if all(each == HEALTHY for each in state.values()) or time.monotonic() > deadline:
            return state
        time.sleep(LOOK_S)


def _health(stack: Stack, part: Part, monitor: dict[str, Any] | None) -> str:
    if part.state != "running":
        return part.state if not part.ended else f"{part.state}, ended {part.ended} times"
    if part.name in HEALTH_PATHS:
        return HEALTHY if _asked(stack.url(part.name) + HEALTH_PATHS[part.name]) is not None else "does not answer"
    if monitor is None:
        return "does not answer" if part.name == "api-server" else "unknown: Airflow's API does not answer"
    if part.name == "api-server":
        return _api(stack, monitor["metadatabase"]["status"])
    assert part.name in AIRFLOW
    return _beats(part, monitor.get(part.name.replace("-", "_")) or {})


def _api(stack: Stack, database: str) -> str:
    if database != HEALTHY:
        return f"database {database}"
    # The side that tasks talk to is built at the first request, for which all else waits: better now than then.
    ready = _asked(stack.url("airflow") + TASKS_PATH, timeout_s=BUILD_TIMEOUT_S)
    return HEALTHY if ready is not None else "does not answer tasks"


def _beats(part: Part, told: dict[str, Any]) -> str:
    stamp = next((value for name, value in told.items() if name.startswith("latest_") and value), None)
    if stamp is None:
        return "no heartbeat yet"
    # The heartbeat of the process before this one says nothing about this one.
    if datetime.fromisoformat(str(stamp)).timestamp() < part.since - CLOCK_S:
        return "no heartbeat since its start"
    return str(told.get("status"))


def _asked(url: str, timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, Any] | None:
    """The answer's JSON, empty where it is another text; None without a good answer."""
    import requests

    session = requests.Session()
    session.trust_env = False
    try:
        answer = session.get(url, timeout=timeout_s)
    except requests.RequestException:
        return None
    finally:
        session.close()
    if not answer.ok:
        return None
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
