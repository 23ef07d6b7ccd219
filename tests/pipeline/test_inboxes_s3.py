"""Tests of the inbox in object storage: against a real server, with a proxy that puts faults in its way."""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.stub import Stubber
from inbox_case import INBOX, digest_of, items, report, verdicts, write_batch, write_workspace
from inbox_case import take as take_now
from ingest_source import names
from s3_server import BUCKET, S3, Fault, s3_server

from pipeline.inboxes.s3 import Connection, S3Store

URL = f"s3://{BUCKET}/team/outbox/"
IMAGE = r"images/g1_0\.png"
STORAGE = INBOX["storage"] | {"read_timeout_s": 5}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server for all tests of this module."""
    with s3_server(tmp_path_factory.mktemp("s3") / "buckets") as server:
        yield server


@pytest.fixture
def s3(running: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The server with an empty bucket and without faults; the working folder is a fresh workspace."""
    for each in running.bucket.iterdir():
        shutil.rmtree(each)
    running.faults.clear()
    running.seen.clear()
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    write_workspace(tmp_path, url=URL, storage=STORAGE)
    return running


@pytest.fixture
def take(s3: S3) -> Callable[..., int]:
    """Runs the command once the server sees what the test has written; returns the exit code."""

    def run(*arguments: str) -> int:
        s3.settle()
        return take_now(*arguments)

    return run


def _inbox(s3: S3) -> Path:
    return s3.bucket / "team" / "outbox"


def _files(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_a_batch_is_taken_and_moved(s3: S3, take: Callable[..., int]) -> None:
    """Its items enter, its objects lie below done/ with the report, and nothing is left where it lay."""
    folder = write_batch(_inbox(s3), "may", names("g1", "g2"))
    digest, before = digest_of(folder), _files(folder)
    assert take() == 0
    done = _inbox(s3) / "done" / f"may-{digest}"
    assert items() == names("g1", "g2")
    assert _files(done) == sorted([*before, "report.json"])
    assert report(done)["verdict"] == "accepted"
    assert not folder.exists()
    assert take() == 0
    assert verdicts() == {"may": ["accepted"]}


def test_a_rejected_batch_does_not_block_and_is_moved_too(s3: S3, take: Callable[..., int]) -> None:
    """The good one is taken; the bad one lies below rejected/ with the reason."""
    write_batch(_inbox(s3), "b", names("g1"))
    digest = digest_of(write_batch(_inbox(s3), "a", names("g2"), taxonomy_version=3))
    assert take() == 1
    assert items() == names("g1")
    assert "version 3" in report(_inbox(s3) / "rejected" / f"a-{digest}")["note"]


MENDED = {
    "an answer that never comes": Fault("silence", IMAGE, times=1),
    "a server that asks to slow down": Fault("slow_down", IMAGE, times=2),
    "a listing told to slow down": Fault("slow_down", "list-type=2", times=2),
    "a connection reset in the midst": Fault("reset", IMAGE, times=1),
    "a body that ends early": Fault("truncated", IMAGE, times=1),
    "a body and a length that are short": Fault("short", IMAGE, times=1),
    "bytes garbled once": Fault("garbled", IMAGE, times=1),
    "a body that drips": Fault("slow", IMAGE, times=1),
    "a copy told to slow down": Fault("slow_down", "done/.*g1_0", "PUT", times=2),
    "a deletion told to slow down": Fault("slow_down", "may/.*g1_0", "DELETE", times=2),
}


@pytest.mark.parametrize("fault", MENDED)
def test_a_passing_fault_is_overcome(s3: S3, fault: str, take: Callable[..., int]) -> None:
    """The batch is taken in the same run, whole, once, and moved."""
    digest = digest_of(write_batch(_inbox(s3), "may", names("g1")))
    s3.faults.append(MENDED[fault])
    assert take() == 0
    assert s3.faults[0].times == 0
    assert items() == names("g1")
    assert len(_files(_inbox(s3) / "done" / f"may-{digest}")) == 6
    assert not (_inbox(s3) / "may").exists()


LASTING = {
    "it always asks to slow down": (Fault("slow_down", IMAGE), 3, "postponed"),
    "it always stops in the midst": (Fault("reset", IMAGE), 3, "postponed"),
    "it does not hand one object over": (Fault("denied", IMAGE), 3, "postponed"),
    "its bytes are always garbled": (Fault("garbled", IMAGE), 1, "rejected"),
    "the object changes meanwhile": (Fault("changed", IMAGE), 0, "waiting"),
}


@pytest.mark.parametrize("fault", LASTING)
def test_a_lasting_fault_costs_its_own_batch_only(
    s3: S3, fault: str, capsys: pytest.CaptureFixture[str], take: Callable[..., int]
) -> None:
    """The batches beside it are taken; its fate is told, and the exit code says whether to try again."""
    for batch, group in (("a", "g0"), ("b", "g1"), ("c", "g2")):
        write_batch(_inbox(s3), batch, names(group))
    broken, code, fate = LASTING[fault]
    s3.faults.append(broken)
    assert take() == code
    assert items() == names("g0", "g2")
    assert fate in capsys.readouterr().out


def test_what_was_postponed_is_taken_later_and_goes_on_where_it_stopped(s3: S3, take: Callable[..., int]) -> None:
    """After an outage in the midst of a file, the next run asks for the rest of it only, by range."""
    folder = write_batch(_inbox(s3), "may", names("g1"))
    size = (folder / "images" / "g1_0.png").stat().st_size
    s3.faults += [Fault("truncated", IMAGE, times=1), Fault("slow_down", IMAGE)]
    assert take() == 3
    s3.faults.clear()
    s3.seen.clear()
    assert take() == 0
    assert f"bytes={size // 2}-" in s3.gets("images/g1_0.png")
    assert items() == names("g1")


def test_a_server_that_knows_no_ranges_is_understood(s3: S3, take: Callable[..., int]) -> None:
    """Where the whole comes for the rest, what is there already is left out."""
    write_batch(_inbox(s3), "may", names("g1"))
    s3.faults += [Fault("truncated", IMAGE, times=1), Fault("no_range", IMAGE, times=1)]
    assert take() == 0
    assert [fault.times for fault in s3.faults] == [0, 0]
    assert items() == names("g1")


def test_a_part_of_an_older_version_is_not_continued(s3: S3, take: Callable[..., int]) -> None:
    """An object replaced between two runs is fetched from its first byte."""
    folder = write_batch(_inbox(s3), "may", names("g1"))
    image = folder / "images" / "g1_0.png"
    right = image.read_bytes()
    image.write_bytes(bytes(len(right)))
    s3.faults += [Fault("truncated", IMAGE, times=1), Fault("slow_down", IMAGE)]
    assert take() == 3
    s3.faults.clear()
    s3.seen.clear()
    image.write_bytes(right)
    assert take() == 0
    assert s3.gets("images/g1_0.png")[0] is None
    assert items() == names("g1")


def test_storage_that_is_away_is_an_outage(
    s3: S3, capsys: pytest.CaptureFixture[str], take: Callable[..., int]
) -> None:
    """The exit code is that of an outage, and nothing is written."""
    s3.faults.append(Fault("slow_down", "list-type=2"))
    assert take() == 3
    assert "SlowDown" in capsys.readouterr().err
    assert not Path("data/inbox.csv").exists()


def test_nobody_listening_is_an_outage(tmp_path: Path, s3: S3, take: Callable[..., int]) -> None:
    """A refused connection is told as such."""
    write_workspace(tmp_path, url=URL, storage=STORAGE | {"endpoint_url": "http://127.0.0.1:9", "attempts": 1})
    assert s3.seen == []
    assert take() == 3


MISTAKES = {
    "a wrong secret": {"AWS_SECRET_ACCESS_KEY": "wrong"},
    "an unknown key": {"AWS_ACCESS_KEY_ID": "unknown"},
    "no credentials": {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
    "a profile that is not there": {"AWS_PROFILE": "nobody"},
    "an endpoint that is no URL": {"AWS_ENDPOINT_URL_S3": "nonsense"},
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_settings_that_do_not_let_us_in_are_the_users_mistake(
    s3: S3, mistake: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], take: Callable[..., int]
) -> None:
    """The exit code tells it from an outage; the message says what to check, and shows no secret."""
    for name, value in MISTAKES[mistake].items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    assert take() == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert s3.environment["AWS_SECRET_ACCESS_KEY"] not in said


@pytest.mark.parametrize("url", ["s3://nowhere/x/", "s3://", "s3://UPPER CASE/x"])
def test_a_bucket_that_is_not_there_is_the_users_mistake(s3: S3, url: str, take: Callable[..., int]) -> None:
    """As is a name that no bucket can have."""
    assert s3.url
    assert take(url) == 2


def test_pages_of_a_listing_are_all_read(s3: S3) -> None:
    """Neither folders nor objects are lost where a listing comes in many pages."""
    for number in range(8):
        folder = _inbox(s3) / f"batch-{number}"
        folder.mkdir(parents=True)
        for name in range(9):
            (folder / f"{name}.txt").write_text("x")
    s3.settle()
    client = S3Store.connect(URL, Connection(**STORAGE))._client
    paged = S3Store(client, URL, transfers=2, page_keys=2)
    assert paged.batches() == [f"batch-{number}" for number in range(8)]
    assert [entry.path for entry in paged.entries("batch-3")] == [f"{name}.txt" for name in range(9)]


def test_a_batch_of_more_than_a_thousand_objects_is_taken_and_moved(s3: S3, take: Callable[..., int]) -> None:
    """A page of a listing has a thousand keys; all that a batch holds is seen and moved, also what it does not list."""
    folder = write_batch(_inbox(s3), "may", names("g1"))
    digest = digest_of(folder)
    (folder / "notes").mkdir()
    for number in range(1050):
        (folder / "notes" / f"{number}.txt").write_text(str(number))
    assert take() == 0
    done = _inbox(s3) / "done" / f"may-{digest}"
    assert report(done)["unlisted_files"] == 1050
    assert len(_files(done)) == 4 + 1050 + 2
    assert not folder.exists()


def test_a_manifest_replaced_meanwhile_is_not_lost(s3: S3, take: Callable[..., int]) -> None:
    """What comes while a batch is being ingested is not moved away with it, but judged by the next run."""
    folder = write_batch(_inbox(s3), "may", names("g1"))

    def replaced() -> None:
        write_batch(_inbox(s3), "may", names("g1", "g2"))
        s3.settle()

    s3.faults.append(Fault("", IMAGE, times=1, before=replaced))
    assert take() == 0
    assert folder.is_dir()
    assert take() == 0
    assert items() == names("g1", "g2")
    assert verdicts() == {"may": ["accepted", "accepted"]}


def test_markers_of_folders_are_no_files(s3: S3) -> None:
    """The empty objects that consoles make for folders are no files of the batch."""
    client = S3Store.connect(URL, Connection(**STORAGE))._client
    keys = ["team/outbox/may/", "team/outbox/may/masks/", "team/outbox/may/masks/a.png"]
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    listed = [{"Key": key, "Size": 0, "ETag": "x", "LastModified": moment} for key in keys]
    # Answered here, since the server of these tests takes no such keys.
    with Stubber(client) as stubber:
        stubber.add_response("list_objects_v2", {"Contents": listed, "IsTruncated": False})
        entries = list(S3Store(client, URL, transfers=1).entries("may"))
    assert s3.seen == []
    assert [entry.path for entry in entries] == ["masks/a.png"]
