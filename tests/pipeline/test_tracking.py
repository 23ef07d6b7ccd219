"""The way to MLflow, against a real server: one run for one digest, and an outage that is said within seconds."""

import os
import socket
import sqlite3
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import yaml
from mlflow.artifacts import download_artifacts
from mlflow.entities import Metric
from stage_outputs import EPOCHS, write_outputs, write_store

from pipeline import register, track
from pipeline.errors import OutageError, SegloopError, UserError
from pipeline.outputs import Outputs
from pipeline.provenance import shareable, without_secrets
from pipeline.shell_hints import serve_command, ui_command
from pipeline.tracked_run import TICKET_TAG, find_run, run_for
from pipeline.tracking import (
    DIGEST_TAG,
    client,
    configure,
    experiment,
    log_points,
    metric_key,
    outage,
    points,
)

ROOT = Path(__file__).resolve().parents[2]

# MLflow's own: its queries use what SQLAlchemy 2.1 deprecates, and it warns of its own type hints when imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


@dataclass
class Server:
    """A running MLflow server."""

    uri: str
    process: "subprocess.Popen[bytes]"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real `mlflow server` with a database and a folder of its own, for the tests of this file."""
    folder = tmp_path_factory.mktemp("server")
    write_store(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with subprocess.Popen(
        command, env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        uri = f"http://127.0.0.1:{port}"
        try:
            wait_for(f"{uri}/health", process)
            yield Server(uri, process)
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture
def outputs(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outputs:
    """A workspace with every stage's outputs, which is the working folder, and the server as its MLflow."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    seed = int.from_bytes(tmp_path.name.encode(), "little")  # a training of its own for each test
    return Outputs(write_outputs(tmp_path, seed=seed % 2**32).data.relative_to(tmp_path))


def test_a_server_gets_the_run_once(outputs: Outputs) -> None:
    """Over HTTP as in a file: everything arrives, and tracking again adds nothing."""
    for _ in range(2):
        track.main(outputs.data)
    run_id = find_run(outputs.training_digest)
    assert run_id is not None
    assert len(client().get_metric_history(run_id, "loss")) == EPOCHS
    assert "training/curves.png" in {entry.path for entry in client().list_artifacts(run_id, "training")}
    assert not Path("mlflow.db").exists()


def test_a_server_gets_the_version_once(outputs: Outputs) -> None:
    """Over HTTP as in a file: one version, found again by its digest, with the alias."""
    track.main(outputs.data)
    params = Path("params.yaml")
    section = yaml.safe_load((ROOT / "params.yaml").read_text())["registry"]
    params.write_text(yaml.safe_dump(yaml.safe_load(params.read_text()) | {"registry": section}))
    for _ in range(2):
        register.main(outputs.data)
    found = client().search_model_versions(f"tags.`segloop.model_sha256` = '{outputs.model_digest}'")
    assert len(found) == 1
    assert client().get_model_version_by_alias("segmenter", "candidate").version == found[0].version
    assert register.model_id_of(found[0]).startswith("m-")


@pytest.mark.usefixtures("outputs")
def test_two_at_once_get_the_same_run() -> None:
    """However many ask for a digest's run at the same time, one run remains."""
    configure()
    with ThreadPoolExecutor(8) as pool:
        runs = set(pool.map(lambda _: run_for("a" * 64, name="race"), range(8)))
    assert runs == {find_run("a" * 64)}


@pytest.mark.usefixtures("outputs")
def test_a_run_that_was_begun_earlier_and_seen_later_does_not_win() -> None:
    """The winner stays the winner when a run with an earlier time becomes visible after it."""
    configure()
    digest = "f" * 64
    winner = run_for(digest, name="first")
    tags = {DIGEST_TAG: digest, TICKET_TAG: "2"}  # as it draws one: it sees the winner's
    client().create_run(experiment(), start_time=1, tags=tags)
    assert find_run(digest) == run_for(digest, name="third") == winner


@pytest.mark.usefixtures("outputs")
def test_whoever_was_killed_in_the_queue_is_not_waited_for_for_ever() -> None:
    """A run without a ticket that is no longer new counts as the first."""
    configure()
    digest = "e" * 64
    left = client().create_run(experiment(), start_time=1, tags={DIGEST_TAG: digest}).info.run_id
    assert run_for(digest, name="next") == left


@pytest.mark.usefixtures("outputs")
def test_more_points_than_a_batch_takes_arrive_in_full() -> None:
    """The server takes 1000 points at once; 2500 arrive."""
    configure()
    run_id = run_for("b" * 64, name="long")
    log_points(run_id, [Metric("loss", n / 10, n, n) for n in range(2500)])
    assert len(client().get_metric_history(run_id, "loss")) == 2500


@pytest.mark.usefixtures("outputs")
def test_what_the_server_refuses_is_the_users_mistake() -> None:
    """A refusal is no outage: trying again would not help."""
    configure()
    run_id = run_for("c" * 64, name="refused")
    with pytest.raises(UserError, match="refused while logging metrics"):
        log_points(run_id, [Metric("loss?", 1.0, 0, 0)])


def test_a_server_that_dies_is_an_outage_within_seconds(outputs: Outputs, server: Server) -> None:
    """Whether it was away from the start or vanishes in between, the message comes soon; last, as it kills it."""
    configure()
    run_id = run_for(outputs.training_digest, name="orphan")
    server.process.terminate()
    server.process.wait(30)
    started = time.monotonic()
    with pytest.raises(OutageError, match="run the command again"):
        log_points(run_id, [Metric("loss", 1.0, 0, 0)])
    with pytest.raises(OutageError, match=rf"{server.uri} .*: no connection \(\w+Error\)\. Start it"):
        track.main(outputs.data)
    assert time.monotonic() - started < 15


def test_a_database_that_is_away_is_an_outage_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow itself would retry for minutes."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////no/such/folder/mlflow.db")
    started = time.monotonic()
    with pytest.raises(OutageError, match="does not answer"):
        configure()
    assert time.monotonic() - started < 10


def test_files_that_a_server_keeps_are_asked_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the server's database instead of its address, the message says what to export."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    write_store(tmp_path)
    configure()
    with pytest.raises(UserError, match="export MLFLOW_TRACKING_URI=http"), outage("reading"):
        download_artifacts(artifact_uri="mlflow-artifacts:/1/files")


def test_a_store_without_its_driver_is_the_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what is missing, without the password."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+nodriver://u:hunter2@127.0.0.1:9/db")
    with pytest.raises(UserError, match="driver") as error:
        configure()
    assert "hunter2" not in str(error.value)


def test_a_killed_first_contact_leaves_no_database(tmp_path: Path) -> None:
    """Killed while MLflow sets its tables up, nothing stands under the database's name, and the next try succeeds."""
    env = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    command = [sys.executable, "-c", "from pipeline.tracking import configure; configure()"]
    with subprocess.Popen(command, cwd=ROOT, env=env) as process:
        while not list(tmp_path.glob("mlflow.db.*/mlflow.db")):
            assert process.poll() is None, "it ended before it began the database"
            time.sleep(0.001)
        process.kill()
    assert not (tmp_path / "mlflow.db").exists()
    subprocess.run(command, cwd=ROOT, env=env, check=True)
    assert (tmp_path / "mlflow.db").stat().st_nlink == 1


def test_a_half_made_database_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kill amid MLflow's own set-up leaves is no outage: the message names the file and the remedy."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    write_store(tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.executescript("DROP TABLE alembic_version; DROP TABLE logged_models;")
    configure()
    with pytest.raises(UserError, match=r"mlflow\.db is damaged or half made: move it away"):
        run_for("d" * 64, name="half")


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an outage nor a traceback: the message names the file and the remedy."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises(UserError, match=r"mlflow\.db is damaged or half made: move it away"):
        configure()


def test_points_leave_out_what_is_undefined() -> None:
    """A line's numbers become points at its epoch and time; null, NaN, text and flags do not."""
    line = {"epoch": 2, "time": 12.5, "miou": 0.5, "iou/a": None, "x": float("nan"), "note": "a", "flag": True}
    (point,) = points(line)
    assert (point.key, point.value, point.timestamp, point.step) == ("miou", 0.5, 12500, 2)


def test_metric_keys_have_only_what_mlflow_allows() -> None:
    """A class or slice name with other characters loses them, not its figures."""
    assert metric_key("iou/Straße (nass)") == "iou/Stra_e _nass_"


def test_urls_lose_their_credentials() -> None:
    """Neither messages nor commands show who logs in, or with what."""
    assert without_secrets("see https://bob:s3cret@host/x") == "see https://host/x"
    shown = "mlflow ui --backend-store-uri postgresql://db/mlflow"
    assert ui_command("postgresql://bob:s3cret@db/mlflow").endswith(shown)
    assert ui_command("https://bob:s3cret@host") == "https://host"


def test_settings_lose_secrets_and_machine_paths() -> None:
    """Telling names hide their text; absolute paths keep their last name; numbers and relative paths stay."""
    settings = {"api_key": "k", "tokens": 5, "dir": "/home/a/weights", "path": "data/demo", "list": ["~/x"]}
    assert shareable(settings) == {
        "api_key": "(hidden)",
        "tokens": 5,
        "dir": "weights",
        "path": "data/demo",
        "list": ["x"],
    }


def wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Waits until the server answers, at most three minutes."""
    for _ in range(360):
        assert process.poll() is None, "the server ended"
        try:
            if requests.get(url, timeout=2).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"{url} does not answer")


def test_commands_run_where_the_environment_is_not_activated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off the PATH, the printed commands name the environment from the working folder, and a shell finds them."""
    scripts = Path(sysconfig.get_path("scripts"))
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.chdir(scripts.parent.parent)
    near = f"{scripts.parent.name}/{scripts.name}"
    assert ui_command("sqlite:///mlflow.db") == f"{near}/mlflow ui --backend-store-uri sqlite:///mlflow.db"
    serve = serve_command("models:/a@candidate")
    assert serve == f"PATH={near}:$PATH mlflow models serve -m models:/a@candidate --env-manager local"
    found = subprocess.run(["/bin/sh", "-c", f"PATH={near}:$PATH; command -v mlflow uvicorn"], check=False)
    assert found.returncode == 0


def test_commands_are_plain_where_the_environment_is_activated(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the PATH a name will do."""
    monkeypatch.setenv("PATH", sysconfig.get_path("scripts"), prepend=os.pathsep)
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert ui_command("sqlite:///mlflow.db").startswith("mlflow ui")
    assert serve_command("models:/a@candidate").startswith("mlflow models serve")


@pytest.mark.parametrize(
    ("status", "error"), [(403, UserError), (404, UserError), (429, OutageError), (503, OutageError)]
)
def test_a_file_store_that_refuses_is_no_outage(status: int, error: type[SegloopError]) -> None:
    """The bare web error of MLflow's file store is told by its status: no rights are not an absence."""
    response = requests.Response()
    response.status_code = status
    with pytest.raises(error, match="fetching"), outage("fetching"):
        raise requests.HTTPError("no", response=response)


def test_an_address_that_is_none_is_the_users_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bracket that is never closed is told, not traced back."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://[bad")
    with pytest.raises(UserError, match="is no address"):
        configure()
