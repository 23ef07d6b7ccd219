"""Journeys of the inbox where the process is killed: the next run goes on, nothing comes twice, nothing is lost."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inbox_case import INBOX, digest_of, items, report, verdicts, write_batch, write_manifest, write_workspace
from ingest_source import names, world
from s3_server import BUCKET, S3, Fault, s3_server

from pipeline.inboxes.store import CHUNK_BYTES

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parent.parent.parent
KILLED = -9
# Request at which the process dies: its method, and its path. The batch is ingested and in the ledger from `copy` on.
MOMENTS = {
    "reading the manifest": ("GET", r"outbox/may/manifest\.json"),
    "fetching a file": ("GET", r"images/g1_1\.png"),
    "copying the first file": ("PUT", "done/may"),
    "writing the report": ("PUT", r"report\.json"),
    "copying the manifest": ("PUT", r"done/may.*manifest\.json"),
    "deleting the first file": ("DELETE", "outbox/may/"),
    "deleting the last file": ("DELETE", r"outbox/may/masks/g2_1\.png"),
    "deleting the manifest": ("DELETE", r"outbox/may/manifest\.json"),
}


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server for all journeys; each has an inbox of its own."""
    with s3_server(tmp_path_factory.mktemp("s3") / "buckets") as server:
        yield server


class Journey:
    """A workspace, and a batch that lies in its inbox."""

    def __init__(self, s3: S3, folder: Path) -> None:
        self._s3, self._folder = s3, folder
        self.inbox = s3.bucket / folder.name / "outbox"
        storage = INBOX["storage"] | {"transfers": 1}
        write_workspace(folder, url=f"s3://{BUCKET}/{folder.name}/outbox/", storage=storage)
        self.batch = write_batch(self.inbox, "may", names("g1", "g2"))
        self.digest = digest_of(self.batch)
        self.content = world(self.batch)
        s3.settle()

    def start(self) -> "subprocess.Popen[bytes]":
        """Starts the command as a user would."""
        environment = {**os.environ, **self._s3.environment, "PYTHONPATH": str(ROOT)}
        with (self._folder / "said.txt").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "pipeline.inbox"], cwd=self._folder, env=environment, stdout=said, stderr=said
            )

    def run(self) -> int:
        """Runs the command to its end and returns its exit code."""
        self._s3.settle()
        return self.start().wait()

    def add(self, name: str, data: bytes) -> None:
        """Puts a further file into the batch that no image belongs to."""
        (self.batch / name).write_bytes(data)
        write_manifest(self.batch)
        self.digest, self.content = digest_of(self.batch), world(self.batch)
        self._s3.settle()

    def killed_at(self, fault: Fault, when: Callable[[], bool] = lambda: True) -> int:
        """Runs the command until a request comes and something is so, kills it then, and returns its exit code."""
        came = threading.Event()
        fault.times, fault.before = 1, came.set
        self._s3.faults[:] = [fault]
        running = self.start()
        while running.poll() is None and not (came.is_set() and when()):
            time.sleep(0.01)
        running.kill()
        code = running.wait()
        self._s3.faults.clear()
        return code

    def told(self) -> str:
        """What all runs have printed."""
        return (self._folder / "said.txt").read_text()

    def check_taken_once(self) -> None:
        """The items are there once, the batch is whole in done/, and the ledger has one verdict."""
        done = self.inbox / "done" / f"may-{self.digest}"
        assert items(self._folder) == names("g1", "g2"), self.told()
        assert verdicts(self._folder) == {"may": ["accepted"]}
        moved = {name.replace(str(done), str(self.batch)): data for name, data in world(done).items()}
        assert moved.pop(str(self.batch / "report.json"))
        assert moved == self.content
        assert report(done)["verdict"] == "accepted"
        assert not any(file.is_file() for file in self.batch.rglob("*"))
        assert list((self._folder / ".segloop" / "inbox").iterdir()) == []


@pytest.fixture
def journey(s3: S3, tmp_path: Path) -> Journey:
    """A workspace with a batch of four items in its inbox."""
    s3.faults.clear()
    s3.seen.clear()
    return Journey(s3, tmp_path)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_is_completed_by_the_next(journey: Journey, moment: str) -> None:
    """Wherever the process dies, the next run takes the batch exactly once and moves it whole."""
    method, path = MOMENTS[moment]
    assert journey.killed_at(Fault("silence", path, method)) == KILLED, journey.told()
    assert journey.run() == 0, journey.told()
    journey.check_taken_once()
    assert journey.run() == 0
    journey.check_taken_once()


def test_a_run_killed_in_the_midst_of_a_file_goes_on_there(journey: Journey, s3: S3, tmp_path: Path) -> None:
    """The bytes that came before the kill are kept: the next run asks for the rest of the file by range."""
    parts = tmp_path / ".segloop" / "inbox"
    journey.add("notes.bin", os.urandom(4 * CHUNK_BYTES))
    fault = Fault("stall", r"notes\.bin")
    assert journey.killed_at(fault, when=lambda: _size(parts) >= CHUNK_BYTES) == KILLED
    kept = _size(parts)
    assert journey.run() == 0, journey.told()
    assert s3.gets("notes.bin")[-1] == f"bytes={kept}-"
    journey.check_taken_once()


def _size(folder: Path) -> int:
    return sum(part.stat().st_size for part in folder.glob("*/parts/*"))


def test_a_run_killed_between_ingestion_and_ledger_does_not_ingest_twice(journey: Journey, tmp_path: Path) -> None:
    """The dataset holds the batch under its digest already: it is found there, and the verdict is written after all."""
    assert journey.killed_at(Fault("silence", "done/may", "PUT")) == KILLED
    (tmp_path / "data" / "inbox.csv").unlink()
    before = world(tmp_path / "data" / "dataset")
    assert before
    assert journey.run() == 0, journey.told()
    assert world(tmp_path / "data" / "dataset") == before
    journey.check_taken_once()
