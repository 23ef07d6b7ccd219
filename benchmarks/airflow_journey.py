"""What the scheduler costs: the whole loop under Airflow, and the same commands by hand. PYTHONPATH=tests python -m.

Two clones on free ports, with the same tiny scenes, take turns: the stack is down while the commands run by hand.
Writes docs/airflow_journey.md.
"""

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from loop_case import PERSON, Loop, alias, prepare_project
from stack_case import RunningStack, prepare_stack
from workspace import Workspace

from benchmarks.comparison import RESULTS
from pipeline.files import write_atomic, write_json

DOCS = Path("docs/airflow_journey.md")
ITEMS = 60


def main(
    rounds: Annotated[int, typer.Option(help="Batches that go the whole way, in each of the two clones.")] = 3,
) -> None:
    """Runs both in turns, and writes what they took."""
    folder = Path(tempfile.mkdtemp(prefix="loop."))
    loops = [_prepared(folder / name) for name in ("a", "h")]
    took: list[tuple[float, float]] = []
    try:
        by_hand = _armed(loops[1].stack)
        for number in range(1, rounds + 1):
            took.append((under_airflow(loops[0], number), manually(loops[1], by_hand, number)))
            typer.echo(f"batch {number}: {took[-1][0]:.0f} s under Airflow, {took[-1][1]:.0f} s by hand")
    finally:
        loops[0].stack.down()
        shutil.rmtree(folder, ignore_errors=True)
    write(loops[0], took)


def _prepared(folder: Path) -> Loop:
    stack = prepare_stack(folder)
    prepare_project(stack)
    return Loop(stack)


def _armed(stack: RunningStack) -> Workspace:
    """The clone whose commands run by hand: with keys of a promoter and a reviewer, and stores that are files."""
    workspace = stack.workspace
    workspace.environment |= {
        "SEGLOOP_ROOT": str(stack.root),
        "MLFLOW_TRACKING_URI": f"sqlite:///{stack.root / 'mlflow.db'}",
        "SEGLOOP_DECISIONS": f"sqlite:///{stack.root / 'decisions.db'}",
    }
    for words in (("registry", "init"), ("reviewer", "add", "hand")):
        _done(workspace, *words)
    workspace.ok("git", "add", "-A")
    workspace.ok("git", "commit", "-q", "-m", "keys")
    return workspace


def under_airflow(loop: Loop, number: int) -> float:
    """From a batch in the inbox to the champion; gives the seconds, without the start of the stack."""
    started = loop.stack.up()
    assert started.returncode == 0, started.stdout + started.stderr
    loop.note("the stack is up")
    loop.stack.ask("PATCH", "/dags/data_release", is_paused=False)
    before = [len(loop.runs(dag)) for dag in ("training", "promotion")]
    loop.drop(f"b{number}", ITEMS, seed=number)
    begun = time.monotonic()
    loop.ended("data_release", loop.trigger("data_release"))
    loop.ended("training", loop.run_after("training", before[0], key=f"data/v{number}"))
    loop.decide(loop.run_after("promotion", before[1], key=str(number)), "Approve", "better where it counts")
    took = time.monotonic() - begun
    assert alias(loop, "champion") == str(number)
    loop.note(f"version {number} is the champion")
    loop.stack.down()
    return took


def manually(loop: Loop, workspace: Workspace, number: int) -> float:
    """The same steps by hand, one after the other; gives the seconds."""
    loop.drop(f"b{number}", ITEMS, seed=number)
    release, version = f"data/v{number}", str(number)
    begun = time.monotonic()
    _done(workspace, "inbox")
    workspace.ok("dvc", "repro", "prepare")
    _done(workspace, "release", "--message", f"batch {number}")
    known = _workspaces(loop.stack.root)
    _done(workspace, "workspace", "make", release)
    (folder,) = _workspaces(loop.stack.root) - known
    run = Workspace(folder, dict(workspace.environment))
    run.ok("dvc", "repro")
    for words in (["track"], ["register"], ["gate", version], ["dossier", version]):
        _done(run, *words)
    _done(run, "workspace", "commit", "--version", version)
    _done(workspace, "review", version, "approve", "--as", "hand", "--note", "better where it counts")
    _done(workspace, "promote", version)
    return time.monotonic() - begun


def _workspaces(root: Path) -> set[Path]:
    return {each for each in (root / ".segloop/workspaces").glob("*") if each.is_dir()}


def _done(workspace: Workspace, *words: str) -> None:
    done = workspace.segloop(*words)
    assert done.returncode == 0, f"segloop {' '.join(words)}: {done.stdout}{done.stderr}"


def write(loop: Loop, took: list[tuple[float, float]]) -> None:
    """The page, and its numbers."""
    over = [airflow - hand for airflow, hand in took]
    rounds = "\n".join(
        f"| {number} | {airflow:.0f} | {hand:.0f} | {airflow - hand:+.0f} |"
        for number, (airflow, hand) in enumerate(took, 1)
    )
    rows = "\n".join(f"| {at:.0f} | {what} |" for at, what in loop.timeline)
    text = f"""# From a batch in the inbox to the champion, under Airflow

Tiny scenes, so that what is left is the machinery: {ITEMS} images of 96x64 pixels a batch, two epochs, two cores.

## What the scheduler costs

Seconds from the batch in the inbox to the champion: release, training, gate, dossier, approval (answered at once, by
{PERSON} over the REST API) and promotion. By hand: `inbox`, `dvc repro prepare`, `release`, `workspace make`, `dvc
repro`, `track`, `register`, `gate`, `dossier`, `workspace commit`, `review`, `promote`, in a clone of its own while no
stack runs.

| batch | under Airflow | by hand | difference |
|---|---|---|---|
{rounds}

Airflow costs **{statistics.median(over):+.0f} s** in the median ({min(over):+.0f} to {max(over):+.0f} s).

## The timeline under Airflow

| seconds | what happened |
|---|---|
{rows}

Made by `PYTHONPATH=tests python -m benchmarks.airflow_journey`.
"""
    write_atomic(DOCS, text)
    figures = [{"under_airflow_s": round(airflow, 1), "by_hand_s": round(hand, 1)} for airflow, hand in took]
    write_json(RESULTS / "airflow_journey.json", figures)
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
