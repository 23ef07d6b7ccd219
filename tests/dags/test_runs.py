"""DAGs run in this process by `dag.test()`, with the real commands on a tiny dataset."""

from pathlib import Path
from typing import Any

import pytest
from inbox_case import write_manifest
from release_case import make_template, tags
from tiny import tiny_items
from workspace import Workspace

from orchestration import settings

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning"),
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project with a validated dataset and an inbox, which the DAGs act on."""
    project = make_template(tmp_path / "workspace")
    (project.root / "inbox").mkdir()
    monkeypatch.setenv("SEGLOOP_ROOT", str(project.root))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(project.root / ".site"))
    settings.params.cache_clear()
    return project


def states(bag: Any, name: str, **conf: object) -> dict[str, str]:
    """Runs a DAG, and gives the states of its tasks."""
    dag = bag.dags[name]
    dag.deadline = None  # `dag.test()` of Airflow 3.3 stumbles over any when the run has succeeded
    run = dag.test(run_conf=conf)
    return {task.task_id: str(task.state) for task in run.get_task_instances()}


def test_a_batch_in_the_inbox_becomes_a_release(bag: Any, project: Workspace) -> None:
    """It is taken, validated and tagged, and the release is announced once."""
    folder = project.root / "inbox" / "may"
    for item in list(tiny_items(groups=4, seed=5)):
        for kind, content in (("images", item.image), ("masks", item.mask)):
            file = folder / kind / f"{item.group}x_{item.item_id}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    write_manifest(folder)
    wanted = {"inbox": "success", "ingest": "skipped", "validate": "success", "release": "success"}
    assert states(bag, "data_release") == wanted | {"announce": "success"}
    assert tags(project) == ["data/v1"]
    assert states(bag, "data_release") == wanted | {"announce": "skipped"}


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
