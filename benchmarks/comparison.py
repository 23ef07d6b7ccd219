"""Compare implementations side by side: interleaved runs, medians, ratios; a table to read and a file to keep."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


def interleaved_ms(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Time every case once a round, so that a busy machine is busy for all; median milliseconds by case.

    One run of each before the first round warms caches and compilers and is not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for counted in [False] + [True] * rounds:
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            if counted:
                times[name].append((time.perf_counter() - start) * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def report(name: str, title: str, rows: Sequence[dict[str, Any]], packages: Sequence[str]) -> None:
    """Print the rows as a table and write them, with what they were measured on, to `results/NAME.json`."""
    table = Table(*rows[0], title=title)
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    record = {"title": title, "rows": rows, "machine": machine, "versions": {p: version(p) for p in packages}}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
