"""What the scheduler costs: the whole loop under Airflow, and the same commands by hand. PYTHONPATH=tests python -m.

Starts a stack of its own on free ports, in a clone, with tiny scenes; writes docs/airflow_journey.md.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from loop_case import Loop, alias, prepare_project
from stack_case import prepare_stack

from benchmarks.comparison import RESULTS
from pipeline.files import write_atomic, write_json

DOCS = Path("docs/airflow_journey.md")
SEED = ["--set", "train.seed=99"]  # so that nothing comes from the run cache


def main() -> None:
    """Runs both, and writes what they took."""
    folder = Path(tempfile.mkdtemp(prefix="loop."))
    stack = prepare_stack(folder)
    prepare_project(stack)
    loop = Loop(stack)
    try:
        started = stack.up()
        assert started.returncode == 0, started.stdout + started.stderr
        loop.note("the stack is up")
        first = chain(loop)
        again = loop.trigger("training", changes=["train.seed=98"])
        loop.ended("training", again)
        second = seconds(loop, "training", again)
        by_hand = bare(loop)
    finally:
        stack.down()
        shutil.rmtree(folder, ignore_errors=True)
    write(loop, {"first_s": first, "under_airflow_s": second, "by_hand_s": by_hand, "overhead_s": second - by_hand})


def chain(loop: Loop) -> float:
    """From a batch in the inbox to the champion; gives the seconds of its training run."""
    loop.stack.ask("PATCH", "/dags/data_release", is_paused=False)
    loop.drop("a", 60, seed=1)
    loop.ended("data_release", loop.trigger("data_release"))
    run = loop.run_after("training", 0, key="data/v1")
    loop.ended("training", run)
    promotion = loop.run_after("promotion", 0, key="1")
    loop.question(promotion)
    loop.answer(promotion, "Approve", "better where it counts")
    loop.ended("promotion", promotion)
    assert alias(loop, "champion") == "1"
    loop.note("version 1 is the champion")
    return seconds(loop, "training", run)


def seconds(loop: Loop, dag: str, run: str) -> float:
    """How long a run took from when it was queued."""
    from datetime import datetime

    told = loop.stack.ask("GET", f"/dags/{dag}/dagRuns/{run}").json()
    begun, ended = (datetime.fromisoformat(told[name]) for name in ("queued_at", "end_date"))
    return (ended - begun).total_seconds()


def bare(loop: Loop) -> float:
    """The same steps by hand, one after the other: a workspace, `dvc repro`, and the actions."""
    begun = time.monotonic()
    loop.segloop("workspace", "make", "data/v1", *SEED)
    (folder,) = [each for each in (loop.stack.root / ".segloop/workspaces").iterdir() if fresh(each)]
    workspace = type(loop.stack.workspace)(folder, {**loop.stack.workspace.environment})
    workspace.environment["SEGLOOP_ROOT"] = str(loop.stack.root)
    workspace.ok("dvc", "repro")
    for words in (["track"], ["register"], ["gate", "3"], ["dossier", "3"], ["workspace", "commit", "--version", "3"]):
        done = workspace.segloop(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    loop.note("the same training by hand ended")
    return time.monotonic() - begun


def fresh(folder: Path) -> bool:
    """Whether nothing was computed in a workspace yet."""
    return folder.is_dir() and not (folder / "data/evaluation").exists()


def write(loop: Loop, figures: dict[str, float]) -> None:
    """The page, and its numbers."""
    rows = "\n".join(f"| {at:.0f} | {what} |" for at, what in loop.timeline)
    text = f"""# From a batch in the inbox to the champion, under Airflow

Tiny scenes, so that what is left is the machinery: 60 images of 96x64 pixels, two epochs, two cores.

| seconds | what happened |
|---|---|
{rows}

The second training took {figures["under_airflow_s"]:.0f} s under Airflow, from the moment that it was queued, and
{figures["by_hand_s"]:.0f} s by hand (`workspace make`, `dvc repro`, `track`, `register`, `gate`, `dossier`, `workspace
commit`): a difference of **{figures["overhead_s"]:+.0f} s**. Beside other work either may be the longer one.

Made by `PYTHONPATH=tests python -m benchmarks.airflow_journey`.
"""
    write_atomic(DOCS, text)
    write_json(RESULTS / "airflow_journey.json", {name: round(value, 1) for name, value in figures.items()})
    print(text)


if __name__ == "__main__":
    sys.exit(main())
