"""How the DAGs wake each other: what the scheduler's own code makes of events, on a database of the tests' own."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from orchestration.assets import CANDIDATE, DATASET, RETRAIN

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning"),
]

CONSUMERS = {"training": {DATASET.name, RETRAIN.name}, "promotion": {CANDIDATE.name}}
PAIRS = [(DATASET, "training"), (RETRAIN, "training"), (CANDIDATE, "promotion")]


@dataclass
class Scheduler:
    """The part of Airflow that makes runs of events; nothing that it does outlives the test.

    Attributes:
        session: On the database; never committed.
        runner: The scheduler's own code.
    """

    session: Any
    runner: Any

    def emit(self, asset: Any, key: str | None) -> None:
        """What a task or the API does that has something to announce."""
        from airflow.assets.manager import asset_manager

        event = asset_manager.register_asset_change(
            asset=asset, partition_key=key, source_is_api=True, session=self.session
        )
        assert event is not None
        self.session.flush()  # Airflow's sessions do not by themselves

    def keys(self, dag: str) -> list[str | None]:
        """Makes the runs that are due, and gives the partition keys of all that events made, the oldest first."""
        from airflow.models.dagrun import DagRun
        from sqlalchemy import select

        self.runner._create_dagruns_for_partitioned_asset_dags(self.session)
        mine = DagRun.dag_id == dag, DagRun.run_type == "asset_triggered"
        return list(self.session.scalars(select(DagRun.partition_key).where(*mine).order_by(DagRun.id)))

    def set(self, model: Any, dag: str, **values: object) -> None:
        """Changes what Airflow knows of a DAG, or of its runs."""
        from sqlalchemy import update

        self.session.execute(update(model).where(model.dag_id == dag).values(values))
        self.session.expire_all()


@pytest.fixture
def scheduler(bag: Any) -> Iterator[Scheduler]:
    """One that knows the repository's DAGs, none of them paused."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import sync_bag_to_db
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.dag import DagModel
    from airflow.settings import Session

    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    session = Session()
    made = Scheduler(session, SchedulerJobRunner(Job()))
    for dag in CONSUMERS:
        made.set(DagModel, dag, is_paused=False)
    yield made
    session.rollback()
    session.close()


@pytest.mark.parametrize("dag", CONSUMERS)
def test_consumers_are_woken_by_their_assets_key_by_key(bag: Any, scheduler: Scheduler, dag: str) -> None:
    """The timetable is the one with partitions, and Airflow has exactly the assets that are meant for the DAG."""
    from airflow.models.asset import AssetModel, DagScheduleAssetReference
    from airflow.sdk import PartitionedAssetTimetable
    from sqlalchemy import select

    assert type(bag.dags[dag].timetable) is PartitionedAssetTimetable
    named = select(AssetModel.name).join(DagScheduleAssetReference)
    assert set(scheduler.session.scalars(named.where(DagScheduleAssetReference.dag_id == dag))) == CONSUMERS[dag]


@pytest.mark.parametrize(("asset", "dag"), PAIRS)
def test_no_event_is_lost_while_its_consumer_is_busy(scheduler: Scheduler, asset: Any, dag: str) -> None:
    """Two that come while a run is at work, before the scheduler looks, give two runs more, each with its own key."""
    from airflow.models.dagrun import DagRun

    before = scheduler.keys(dag)
    scheduler.emit(asset, "data/v7")
    assert scheduler.keys(dag) == [*before, "data/v7"]
    scheduler.set(DagRun, dag, state="running")
    scheduler.emit(asset, "data/v8")
    scheduler.emit(asset, "data/v9")
    assert scheduler.keys(dag) == [*before, "data/v7", "data/v8", "data/v9"]


def test_the_same_key_again_is_a_run_again(scheduler: Scheduler) -> None:
    """Whether there is anything to do, the run itself finds out."""
    before = scheduler.keys("training")
    for _ in range(2):
        scheduler.emit(RETRAIN, "drift-7")
        scheduler.keys("training")
    assert scheduler.keys("training") == [*before, "drift-7", "drift-7"]


@pytest.mark.parametrize(("asset", "dag"), PAIRS)
def test_an_event_without_a_key_begins_no_run(scheduler: Scheduler, asset: Any, dag: str) -> None:
    """Airflow takes it all the same, and writes down that the key is missing: so the documentation says."""
    from airflow.models.log import Log
    from sqlalchemy import select

    before = scheduler.keys(dag)
    scheduler.emit(asset, None)
    assert scheduler.keys(dag) == before
    assert dag in str(scheduler.session.scalars(select(Log.extra).where(Log.event == "missing partition key")).all())


def test_an_event_while_its_consumer_is_paused_begins_no_run(scheduler: Scheduler) -> None:
    """Not even when the consumer is unpaused afterwards: so the documentation says."""
    from airflow.models.dag import DagModel

    before = scheduler.keys("training")
    scheduler.set(DagModel, "training", is_paused=True)
    scheduler.emit(DATASET, "data/v7")
    scheduler.set(DagModel, "training", is_paused=False)
    assert scheduler.keys("training") == before
