"""DAGs run in this process by `dag.test()`, with the real commands on a tiny dataset."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dag_case import events, read_dag, run_dag
from inbox_case import write_manifest
from release_case import make_template, tags
from tiny import tiny_items
from workspace import Workspace

from orchestration import settings
from orchestration.assets import unannounced

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning"),
]

RELEASED = {
    "inbox": "success",
    "ingest": "skipped",
    "validate": "success",
    "release": "success",
    "announce": "success",
    "judge_batches": "success",
}
FORGOTTEN = "of another test"
DIES_ONCE = """#!/bin/sh
{python} "$@"
code=$?
if [ "$2" = pipeline.inbox ] && [ ! -e {mark} ]; then
    touch {mark}
    rm -f "$SEGLOOP_OUTCOME"
    kill -9 $$
fi
exit $code
"""


@pytest.fixture
def project(bag: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project with a validated dataset and an inbox, which the DAGs act on; no release of it was announced."""
    assert bag  # Airflow's database is there, one for all tests
    forget()
    project = make_template(tmp_path / "workspace")
    (project.root / "inbox").mkdir()
    monkeypatch.setenv("SEGLOOP_ROOT", str(project.root))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(project.root / ".site"))
    settings.params.cache_clear()
    return project


def forget() -> None:
    """Renames the releases of earlier tests that were announced."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import update

    with create_session() as session:
        session.execute(update(AssetEvent).values(partition_key=FORGOTTEN))


def states(bag: Any, name: str, **conf: object) -> dict[str, str]:
    """Runs a DAG, and gives the states of its tasks."""
    dag = bag.dags[name]
    dag.deadline = None  # `dag.test()` of Airflow 3.3 stumbles over any when the run has succeeded
    run = dag.test(run_conf=conf)
    return {task.task_id: str(task.state) for task in run.get_task_instances()}


def deliver(project: Workspace, name: str, *, seed: int = 5, mask: bytes = b"") -> None:
    """Puts a batch into the inbox, its masks as they should be or all the same."""
    folder = project.root / "inbox" / name
    for item in list(tiny_items(groups=4, seed=seed)):
        for kind, content in (("images", item.image), ("masks", mask or item.mask)):
            file = folder / kind / f"{item.group}x{seed}_{item.item_id}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    write_manifest(folder)


def test_a_batch_in_the_inbox_becomes_a_release(bag: Any, project: Workspace) -> None:
    """It is taken, validated and tagged, and the release is announced once."""
    deliver(project, "may")
    assert states(bag, "data_release") == RELEASED
    assert tags(project) == ["data/v1"]
    assert states(bag, "data_release") == RELEASED | {"announce": "skipped"}


def test_a_bad_batch_keeps_no_good_one_out(bag: Any, project: Workspace) -> None:
    """The good one is released and announced; then the run fails, so that somebody is told of the bad one, once."""
    deliver(project, "bad", mask=b"no image at all")
    deliver(project, "good")
    assert states(bag, "data_release") == RELEASED | {"judge_batches": "failed"}
    assert [each.name.partition("-")[0] for each in (project.root / "data/dataset").glob("*d-*")] == ["good"]
    assert tags(project) == ["data/v1"]
    assert states(bag, "data_release") == RELEASED | {"announce": "skipped"}


def test_a_batch_rejected_by_a_try_that_died_is_told(
    bag: object, project: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second try finds an empty inbox, and the run fails all the same; the next run does not tell of it again."""
    assert bag  # Airflow's database is there
    python, mark = tmp_path / "python", tmp_path / "died"
    python.write_text(DIES_ONCE.format(python=sys.executable, mark=mark))
    python.chmod(0o755)
    monkeypatch.setenv("SEGLOOP_PYTHON", str(python))
    dag = read_dag("data_release")
    dag.get_task("inbox").retry_delay = timedelta(0)
    deliver(project, "bad", mask=b"no image at all")
    deliver(project, "good")
    ran = run_dag(dag)
    assert (ran.states, ran.tries["inbox"]) == (RELEASED | {"judge_batches": "failed"}, 2)
    assert ran.facts("inbox")["rejected"] == ["bad"]
    again = run_dag(dag)
    assert (again.states, again.facts("inbox")["rejected"]) == (RELEASED | {"announce": "skipped"}, [])


def test_a_bad_batch_is_told_though_the_release_fails(bag: Any, project: Workspace) -> None:
    """What is wrong with the dataset as a whole does not hide it."""
    deliver(project, "bad", mask=b"no image at all")
    (project.root / "dvc.yaml").write_text("stages: {}\n")
    found = states(bag, "data_release")
    assert (found["validate"], found["release"], found["judge_batches"]) == ("failed", "upstream_failed", "failed")


def test_a_release_made_by_hand_is_announced_with_the_next(bag: Any, project: Workspace) -> None:
    """Airflow was away when it was made."""
    deliver(project, "first", seed=5)
    assert states(bag, "data_release") == RELEASED
    deliver(project, "by_hand", seed=6)
    project.ok("python", "-m", "pipeline.inbox")
    project.ok("python", "-m", "pipeline.release", "--message", "while Airflow was away")
    deliver(project, "last", seed=7)
    assert states(bag, "data_release") == RELEASED
    assert sorted(key for key in events("dataset") if key != FORGOTTEN) == ["data/v1", "data/v2", "data/v3"]


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ([], ["data/v4"]),
        (["data/v4"], []),
        (["data/v2"], ["data/v3", "data/v4"]),
        (["data/v4", "data/v2"], ["data/v3"]),
    ],
)
def test_an_airflow_that_is_new_announces_the_newest_release_alone(told: list[str], wanted: list[str]) -> None:
    """It would train on all releases of years otherwise; what follows the first announcement is never left out."""
    assert unannounced([f"data/v{number}" for number in range(1, 5)], told) == wanted
    assert unannounced([], told) == []


def test_doubted_masks_become_tasks(bag: Any, project: Workspace) -> None:
    """The check runs, and tasks are written where it doubts any mask."""
    found = states(bag, "label_review", tool="cvat")
    written = list((project.root / ".segloop/annotation_tasks").glob("*/*"))
    assert found["check"] == "success"
    assert (found["export"] == "success") == bool(written)


def test_housekeeping_says_what_would_go(bag: Any, project: Workspace) -> None:
    """A dry run removes nothing."""
    before = sorted(project.root.rglob("*.parquet"))
    assert states(bag, "housekeeping", dry_run=True) == {"clean": "success"}
    assert sorted(project.root.rglob("*.parquet")) == before
