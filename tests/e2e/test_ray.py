"""A training as a job on a real Ray cluster of this machine: two processes by DDP, taken away, gone on with."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from job_case import JOBS, Project, make_project, until
from tile_folder import write_tiles
from workspace import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

GRAPH = """
stages:
  train:
    cmd: python -m pipeline.train --tiles data/tiles --out data/training
    deps: [data/tiles, pipeline, training]
    params: [train]
    outs: [data/training]
"""
EPOCHS = 8
TRAIN = {
    "max_epochs": EPOCHS,
    "patience": EPOCHS,
    "batch_size": 4,
    "statistics_tiles": 8,
    "pictures": 1,
    "accelerator": "cpu",
    "devices": 2,
    "strategy": "ddp",
    "network": {"architecture": "FPN", "encoder": "mobilenet_v2", "encoder_weights": None, "options": {}},
}


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and how to reach it.

    Attributes:
        address: Of its dashboard.
        token: Without it nobody submits anything.
    """

    address: str
    token: str


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alive(folder: str) -> list[psutil.Process]:
    """Processes that work in a folder or were started with its name."""
    found = []
    for each in psutil.process_iter():
        try:
            if each.status() != psutil.STATUS_ZOMBIE and (
                folder in " ".join(each.cmdline()) or each.cwd().startswith(folder)
            ):
                found.append(each)
        except psutil.Error:
            continue
    return [each for each in found if each.pid != os.getpid()]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of one node with two cores, that answers only to its token."""
    with running(Cluster(f"http://127.0.0.1:{free_port()}", secrets.token_hex(32))) as cluster:
        yield cluster


@contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """Starts the head of a cluster, and ends it."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # sockets have short names, so pytest's folder is too deep
    port, token = int(cluster.address.rpartition(":")[2]), cluster.token
    words = [
        "--head", f"--port={free_port()}", f"--dashboard-port={port}", "--dashboard-host=127.0.0.1", "--num-cpus=2",
        f"--dashboard-agent-listen-port={free_port()}", "--object-store-memory=80000000", f"--temp-dir={folder}",
        "--disable-usage-stats", "--block",
    ]  # fmt: skip
    ray = str(Path(sys.executable).with_name("ray"))
    with subprocess.Popen([ray, "start", *words], env=_environment(token), stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: _answers(port) or process.poll() is not None, "Ray's dashboard", 180)
            assert process.poll() is None
            yield cluster
        finally:
            process.terminate()
            process.wait(timeout=60)
            for each in alive(folder):
                each.kill()
            shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _environment(token: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_USAGE_STATS_ENABLED": "0"}


@dataclass(frozen=True)
class Training:
    """A project with tiles, whose training is submitted to the cluster."""

    root: Path
    cluster: Cluster

    @property
    def remote(self) -> Path:
        """The folder that is the DVC remote."""
        return self.root.parent / "remote"

    def machine(self, number: int) -> Path:
        """What jobs work in; another one is as good as another machine."""
        return self.root.parent / f"machine-{number}"

    def run(self, *command: str) -> tuple[int, str]:
        """Runs a command."""
        environment = {**_environment(self.cluster.token), "RAY_ADDRESS": self.cluster.address}
        environment["DVC_SITE_CACHE_DIR"] = str(self.root.parent / "site")
        done = subprocess.run(
            command,
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def ok(self, *command: str) -> str:
        """Runs a command that must succeed."""
        code, said = self.run(*command)
        assert code == 0, f"{command} exited {code}:\n{said}"
        return said

    def job(self, act: str) -> str:
        """Runs `segloop job ACT train`, which must succeed."""
        return self.ok(sys.executable, "-m", f"pipeline.job_{act}", "train")

    def move_to(self, machine: int) -> None:
        """Lets the next attempt work elsewhere."""
        self.set_params("jobs", ray=JOBS["ray"] | {"work": str(self.machine(machine)), "python": sys.executable})  # type: ignore[operator]

    def set_params(self, section: str, **keys: object) -> None:
        """Replaces keys of a section."""
        file = self.root / "params.yaml"
        sections = yaml.safe_load(file.read_text())
        sections[section] |= keys
        file.write_text(yaml.safe_dump(sections))

    def checkpoints(self) -> list[Path]:
        """What the job has kept on the DVC remote."""
        return list(self.remote.glob("segloop/jobs/*/checkpoints.tar"))


@pytest.fixture
def training(cluster: Cluster, tmp_path: Path) -> Training:
    """The project, submitted from a checkout that has no git remote."""
    root = tmp_path / "project"
    for name in ("pipeline", "training"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "data").mkdir()
    write_tiles(root / "data/tiles")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["train"] |= TRAIN
    params["jobs"] = JOBS | {"launcher": "ray"}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "dvc.yaml").write_text(GRAPH)
    (root / ".gitignore").write_text("/data/?*\n!/data/*.dvc\n/.segloop/\n__pycache__\n")
    training = Training(root, cluster)
    training.ok("git", "init", "-q", "-b", "main")
    training.ok("dvc", "init", "-q")
    training.ok("dvc", "config", "core.analytics", "false")
    training.ok("dvc", "remote", "add", "-q", "-d", "storage", str(training.remote))
    (root / ".dvcignore").write_text("__pycache__\n.segloop\n")
    training.ok("dvc", "add", "-q", "data/tiles")
    training.move_to(1)
    training.ok("git", "add", "-A")
    training.ok("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", "start")
    return training


def test_a_training_that_was_taken_away_goes_on_elsewhere(training: Training) -> None:
    """Two processes train; their machine lost, the next attempt goes on from the checkpoint on another."""
    assert "started attempt 1" in training.job("submit")
    until(training.checkpoints, "a checkpoint on the DVC remote", 300)
    _take_away(training.machine(1))
    until(lambda: "failed" in training.job("status"), "that Ray misses the driver")
    training.move_to(2)
    assert "attempt 2 after one that failed" in training.job("submit")
    said = training.job("follow")
    assert "fetched the checkpoints of an earlier attempt" in said
    assert "resuming from" in said
    assert "epoch 1 of" not in said
    training.job("restore")
    facts = json.loads((training.root / "data/training/training.json").read_text())
    assert facts["device"] == "2 x cpu"
    lines = (training.root / "data/training/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(EPOCHS))
    assert "up to date" in training.ok("dvc", "status")
    assert [*training.remote.glob("segloop/**/*.*")] == []  # bundle and checkpoints were for the job


def _take_away(machine: Path) -> None:
    """Kills the driver and all that it has started, and loses the machine's disk."""
    for each in alive(str(machine)):
        each.send_signal(signal.SIGKILL)
    until(lambda: not alive(str(machine)), "the end of the job's processes")
    shutil.rmtree(machine)


def test_a_cancelled_job_ends_with_its_processes(training: Training) -> None:
    """Found again and cancelled while it trains, nothing of it runs, and its bundle and checkpoints are gone."""
    training.set_params("train", max_epochs=1000, patience=1000)
    training.job("submit")
    until(lambda: list(training.machine(1).rglob("last.ckpt")), "the first epoch", 300)
    assert "attached" in training.job("submit")
    assert training.job("cancel").strip().endswith("train: cancelled")
    until(lambda: not alive(str(training.machine(1))), "the end of the job's processes")
    assert [*training.remote.glob("segloop/**/*.*")] == []


@dataclass(frozen=True)
class Small(Project):
    """A project whose training is a script, submitted to a cluster.

    Attributes:
        cluster: Which one.
    """

    cluster: Cluster

    @property
    def environment(self) -> dict[str, str]:
        """What commands find."""
        return super().environment | _environment(self.cluster.token) | {"RAY_ADDRESS": self.cluster.address}


def small(folder: Path, cluster: Cluster, script: str = "") -> Small:
    """A project whose training waits after its second epoch, submitted, and found waiting.

    Args:
        folder: Where it is made.
        cluster: Where it runs.
        script: What stands at the beginning of the training.
    """
    project = Small(make_project(folder).root, cluster)
    learn = project.root / "learn.py"
    learn.write_text(script + learn.read_text())
    ray = JOBS["ray"] | {"work": str(folder / "machine"), "python": sys.executable, "env": ["HOLD", "PYTHONPATH"]}  # type: ignore[operator]
    project.set_params(jobs={"launcher": "ray", "ray": ray})
    project.hold.touch()
    code, said = project.job("submit", "train")
    assert code == 0, said
    return project


def store(project: Small) -> list[Path]:
    """The checkpoints on the machine that trains."""
    return list((project.root.parent / "machine").glob("*/code/.segloop/training/one/last.ckpt"))


SLOW_END = """
import pathlib, signal, sys, time
def leave(*_):
    time.sleep(6)
    pathlib.Path(__file__).parents[2].joinpath("whole").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, leave)
"""


def test_a_training_may_take_a_while_to_end(cluster: Cluster, tmp_path: Path) -> None:
    """Longer than Ray's own three seconds: what a training does on SIGTERM is done before it is killed."""
    project = small(tmp_path, cluster, SLOW_END)
    until(lambda: [file for file in store(project) if file.read_text() == "2"], "the second epoch", 180)
    assert project.job("cancel", "train")[1].strip() == "train: cancelled"
    assert (tmp_path / "machine/whole").exists()


def test_a_job_that_another_run_follows_is_not_given_up(cluster: Cluster, tmp_path: Path) -> None:
    """The follower's lock lies with the job, on Ray as on this machine; when nobody follows it, it is ended."""
    project = small(tmp_path, cluster)
    until(lambda: store(project), "the first epoch", 180)
    command = (sys.executable, "-m", "pipeline.job_follow", "train")
    with project.start(*command) as follower:
        assert follower.stdout
        while "epoch 2" not in follower.stdout.readline():
            assert follower.poll() is None
        assert "left alone" in project.job("cancel", "train", "--unless-followed", "1")[1]
        follower.terminate()
    assert "train: cancelled" in project.job("cancel", "train", "--unless-followed", "1")[1]


def test_a_job_that_went_with_its_cluster_is_an_outage(tmp_path: Path) -> None:
    """A new head at the same address knows nothing of it: that is no success, and the next attempt goes on."""
    cluster = Cluster(f"http://127.0.0.1:{free_port()}", secrets.token_hex(32))
    with running(cluster):
        project = small(tmp_path, cluster)
        follower = project.start(sys.executable, "-m", "pipeline.job_follow", "train")
        until(lambda: store(project), "the first epoch", 180)
    _take_away(tmp_path / "machine")
    with running(cluster):
        said = follower.communicate(timeout=180)[0]
        assert follower.returncode == 3, said
        assert "is not known" in said
        assert project.job("follow", "train")[0] == 3
        project.hold.unlink()
        assert "started attempt 1" in project.job("submit", "train")[1]
        code, said = project.job("follow", "train")
        assert code == 0, said
        assert "starts after epoch" in said


def test_a_cluster_that_is_away_is_an_outage(training: Training) -> None:
    """Nothing listens at the address: exit code 3, and the address is named."""
    training.set_params("jobs", ray=JOBS["ray"] | {"address": "http://127.0.0.1:1"})  # type: ignore[operator]
    environment = _environment(training.cluster.token) | {"DVC_SITE_CACHE_DIR": str(training.root.parent / "site")}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.job_submit", "train"],
        cwd=training.root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "http://127.0.0.1:1" in done.stderr
