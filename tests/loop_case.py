"""The whole loop, really running: a stack, an inbox, tiny scenes that a network learns in seconds, and a reviewer."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml
from inbox_case import write_manifest
from stack_case import RunningStack
from tiny import scene

from pipeline.files import write_atomic
from pipeline.images import encode_image, encode_mask

SIZE, CLASSES = (64, 96), 5
REVIEWER, PERSON = "reviewer", "Rita Reviewer"
PATIENCE_S = 600  # for any one thing, on a machine that has other work
OVER = ("success", "failed", "skipped", "upstream_failed", "removed")
PARAMS: dict[str, dict[str, Any]] = {
    "dataset": {"path": "data/dataset", "splits": "data/splits.csv"},
    "release": {"remote": "../remote", "jobs": 2},
    "inbox": {"wait_hours": 0, "group_by": "^([^_]+)_"},
    "catalog": {"workers": 1},
    "validate": {
        "min_images_per_critical_class": 1, "near_duplicate_bits": 0, "max_islands_per_10k_px": 1000,
    },
    "prepare": {"tile_px": 64, "overlap_px": 0, "scale": 1.0, "workers": 1},
    "export": {"threads": 1, "temperature_tiles": 8, "parity_tiles": 4, "samples": 2},
    "gate": {
        "min_groups": 3, "few_groups": 2, "miou": 0.02, "iou": {"default": None, "classes": {}}, "slice_miou": None,
        "false_positive_rate": {"default": None, "classes": {}}, "ece": 1.0, "latency_p95_ms": 60000.0,
        "latency_images": 2, "non_inferiority": {"default": 1.0, "classes": {}},
    },
    "jobs": {"poll_s": 0.2},
    "loop": {"retries": {"count": 8, "delay_s": 2, "longest_delay_s": 10}},
}  # fmt: skip
TRAIN = {"max_epochs": 2, "batch_size": 8, "pictures": 1, "workers": 0}


@dataclass
class Loop:
    """A running stack with a project that has a dataset of its own.

    Attributes:
        stack: The stack.
        timeline: What happened, with the seconds since the start.
    """

    stack: RunningStack
    started: float = field(default_factory=time.monotonic)
    timeline: list[tuple[float, str]] = field(default_factory=list)

    def note(self, what: str) -> None:
        """Adds a line to the timeline."""
        self.timeline.append((time.monotonic() - self.started, what))

    def drop(self, batch: str, count: int, seed: int) -> None:
        """Puts a batch of annotated scenes into the inbox, the manifest last."""
        rng, folder = np.random.default_rng(seed), self.stack.root / "inbox" / batch
        for number in range(count):
            image, mask = scene(rng, SIZE, CLASSES)
            name = f"{batch}{number:03d}_0.png"
            write_atomic(folder / "images" / name, encode_image(image))
            write_atomic(folder / "masks" / name, encode_mask(mask))
        write_manifest(folder)
        self.note(f"batch {batch} with {count} images dropped into the inbox")

    def trigger(self, dag: str, **conf: object) -> str:
        """Starts a run by hand and gives its id."""
        answer = self.stack.ask("POST", f"/dags/{dag}/dagRuns", logical_date=None, conf=conf)
        assert answer.ok, answer.text
        self.note(f"{dag}: triggered")
        return str(answer.json()["dag_run_id"])

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """The runs of a DAG, the oldest first."""
        found = self.stack.ask("GET", f"/dags/{dag}/dagRuns", order_by="id", limit=100).json()
        runs: list[dict[str, Any]] = found["dag_runs"]
        return runs

    def states(self, dag: str, run: str) -> dict[str, str]:
        """The state of each task of a run."""
        found = self.stack.ask("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances", limit=100).json()
        return {each["task_id"]: each["state"] for each in found["task_instances"]}

    def until(self, holds: Callable[[], Any], what: str) -> Any:
        """Waits until something is there, and gives it."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := holds()):
            assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}\n{self.told()}"
            time.sleep(0.5)
        self.note(what)
        return found

    def ended(self, dag: str, run: str) -> dict[str, str]:
        """Waits for the end of a run, and gives the states of its tasks."""

        def over() -> bool:
            answer = self.stack.ask("GET", f"/dags/{dag}/dagRuns/{run}")
            return answer.ok and answer.json()["state"] in {"success", "failed"}

        self.until(over, f"{dag}: ended")
        return self.states(dag, run)

    def run_after(self, dag: str, known: int, *, key: str | None = None) -> str:
        """Waits for a run beyond those known, of a partition where one is named, and gives its id."""

        def fresh() -> str | None:
            found = [run for run in self.runs(dag)[known:] if key is None or run.get("partition_key") == key]
            return str(found[0]["dag_run_id"]) if found else None

        return str(self.until(fresh, f"{dag}: a run began"))

    def question(self, run: str) -> dict[str, Any]:
        """Waits until the reviewer is asked, and gives what they are shown."""
        path = f"/dags/promotion/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"

        def asked() -> dict[str, Any] | None:
            answer = self.stack.ask("GET", path)
            return answer.json() if answer.ok else None

        found: dict[str, Any] = self.until(asked, "promotion: the reviewer is asked")
        return found

    def decide(self, run: str, option: str, reason: str) -> str:
        """Answers as the reviewer, over the REST API, and gives the state of what follows once the run has ended.

        As often as it is asked: Airflow's scheduler takes the end of the process that asked for a failure of the task
        when the answer comes before it has heard of that end, and the task, tried again, forgets the answer.
        """
        path = f"/dags/promotion/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"
        content = {"chosen_options": [option], "params_input": {"reason": reason}}

        def answered() -> bool:
            states = self.states("promotion", run)
            asked = self.stack.ask("GET", path)
            if states["approve"] == "awaiting_input" and asked.ok and not asked.json()["response_received"]:
                self.note(f"promotion: {REVIEWER} answers {option}")
                assert self.stack.ask("PATCH", path, REVIEWER, **content).ok
            return states["approve"] == "success"

        self.until(answered, "promotion: the answer is taken")
        return self.ended("promotion", run)["promote"]

    def segloop(self, *words: str) -> str:
        """Runs a command in the project, in the stack's environment."""
        workspace = self.stack.workspace
        workspace.environment |= {
            "MLFLOW_TRACKING_URI": self.stack.url("mlflow"),
            "SEGLOOP_DECISIONS": f"sqlite:///{self.stack.root / 'decisions.db'}",
            "COLUMNS": "400",  # tables break no words
        }
        done = workspace.segloop(*words)
        return done.stdout + done.stderr

    def told(self) -> str:
        """The timeline, and the end of every log that has an error in it."""
        lines = [f"{at:7.1f} s  {what}" for at, what in self.timeline]
        for log in sorted((self.stack.root / ".segloop/airflow/logs").rglob("*.log"), key=lambda f: f.stat().st_mtime):
            text = log.read_text(errors="replace")
            if "rror" in text:
                lines += [f"--- {log}", *text.splitlines()[-25:]]
        return "\n".join(lines)


def prepare_project(stack: RunningStack) -> None:
    """Gives the clone tiny settings and a reviewer, and commits them."""
    file = stack.root / "params.yaml"
    sections = yaml.safe_load(file.read_text())
    for name, keys in PARAMS.items():
        sections[name] |= keys
    sections["train"] |= TRAIN
    sections["loop"]["limits_minutes"]["housekeeping"] = 0.01  # it is late from the start: an alert is due
    file.write_text(yaml.safe_dump(sections, sort_keys=False))
    (stack.root / "inbox").mkdir(exist_ok=True)
    stack.workspace.ok("python", "-m", "pipeline.reviewer", "add", PERSON, "--airflow", REVIEWER)
    stack.workspace.ok("git", "add", "-A")
    stack.workspace.ok("git", "commit", "-q", "-m", "settings")


def alias(loop: Loop, name: str) -> str | None:
    """The version that an alias of the model points at."""
    import requests

    query = {"name": "segmenter", "alias": name}
    answer = requests.get(
        f"{loop.stack.url('mlflow')}/api/2.0/mlflow/registered-models/alias", params=query, timeout=30
    )
    return str(answer.json()["model_version"]["version"]) if answer.ok else None
