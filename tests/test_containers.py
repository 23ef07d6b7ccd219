"""What the containers run, run as processes: on copies of what the image gets, and on a file that cannot be written."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import yaml
from compose_case import ROOT, composed, copied, image_variables, lay_out, words
from mlflow_server import free_port

pytestmark = pytest.mark.e2e
SERVICES = composed()["services"]
PASSWORDS = {"admin": "a", "reviewer": "b", "viewer": "c", "promoter": "d"}
PASSWORDS_FILE = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"
INIT = """
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
manager = SimpleAuthManager()
manager.init()
print("PASSWORDS", manager.get_passwords())
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project's code as the image has it."""
    root = tmp_path_factory.mktemp("image")
    lay_out(root)
    return root


def environment(image: Path, **more: str) -> dict[str, str]:
    """The environment of a process that finds the project's code in the image, and nowhere else."""
    places = image_variables()["PYTHONPATH"].split(":")
    kept = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/")}
    kept["PYTHONDONTWRITEBYTECODE"] = "1"  # nobody can write there
    return kept | {"PYTHONPATH": ":".join(f"{image}{place}" for place in places)} | more


def secret(folder: Path) -> Path:
    """A file of passwords as an engine mounts it."""
    file = folder / "airflow_passwords"
    file.write_text(json.dumps(PASSWORDS))
    file.chmod(0o400)
    return file


def as_secret(file: Path, line: list[str], home: Path, passwords: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command that cannot write the file, whoever runs it: a read-only mount in a namespace of its own."""
    if not shutil.which("unshare"):
        pytest.skip("unshare, which makes a mount that cannot be written, is not installed")
    enclosed = ["unshare", "--map-root-user", "--mount"]
    script = f'mount --bind "{file}" "{file}" && mount -o remount,ro,bind "{file}" || exit 99; exec "$@"'
    users = SERVICES["api-server"]["environment"]["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"]
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": users,
        PASSWORDS_FILE: str(passwords),
    }
    done = subprocess.run(
        [*enclosed, "sh", "-c", script, "sh", *line],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 99 or "unshare failed" in done.stderr:
        pytest.skip(f"this system lets nobody make a mount: {done.stderr}")
    return done


def test_airflow_fails_on_passwords_that_cannot_be_written(tmp_path: Path) -> None:
    """Its manager of accounts opens the file for writing: a secret as it is mounted stops the API server."""
    file = secret(tmp_path)
    done = as_secret(file, [sys.executable, "-c", INIT], tmp_path, file)
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr


def test_the_api_server_copies_its_passwords_first(tmp_path: Path) -> None:
    """The container's own script makes a copy, of its user alone, that Airflow's manager of accounts takes."""
    file, copy = secret(tmp_path), tmp_path / "passwords.json"
    shell, option, script = words(SERVICES["api-server"])
    step, _, server = script.rpartition(" && exec airflow api-server")
    assert server
    ours = step.replace("/run/secrets/airflow_passwords", str(file))
    assert ours != step
    line = [shell, option, f'{ours} && exec "$0" -c "$1"', sys.executable, INIT]
    done = as_secret(file, line, tmp_path, copy)
    assert done.returncode == 0, done.stderr
    assert f"PASSWORDS {PASSWORDS}" in done.stdout
    assert copy.stat().st_mode & 0o777 == 0o600


def test_the_copy_goes_where_only_the_api_server_reads() -> None:
    """A folder in memory of its user's, which no other container has."""
    place = Path(SERVICES["api-server"]["environment"][PASSWORDS_FILE])
    folders = {name: [str(each).split(":") for each in one.get("tmpfs", [])] for name, one in SERVICES.items()}
    having = {name: dict(each)[str(place.parent)] for name, each in folders.items() if str(place.parent) in dict(each)}
    assert having == {"api-server": "mode=0700,uid=1000,gid=1000"}
    assert [name for name, one in SERVICES.items() if PASSWORDS_FILE in one.get("environment", {})] == ["api-server"]


def test_the_image_starts_a_job(image: Path, tmp_path: Path) -> None:
    """The pod's command finds its module in what the image gets, in an empty working folder."""
    pod = yaml.safe_load((ROOT / "ops" / "kubernetes" / "training-pod.yaml").read_text())
    (command,) = [each["command"] for each in pod["spec"]["containers"]]
    done = run([*command, "--help"], image, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--work" in done.stdout
    found = run(
        ["python", "-c", "import pipeline, training; print(pipeline.__file__, training.__file__)"], image, tmp_path
    )
    assert all(each.startswith(str(image)) for each in found.stdout.split())


def test_the_image_gets_every_file_of_the_packages(image: Path) -> None:
    """Templates and styles among them, and no byte code."""
    for target, source in copied().items():
        listed = subprocess.run(["git", "ls-files", source], cwd=ROOT, capture_output=True, text=True, check=True)
        there = {
            str(file.relative_to(image / target.lstrip("/"))) for file in (image / target.lstrip("/")).rglob("*.*")
        }
        assert {str(Path(each).relative_to(source)) for each in listed.stdout.split()} <= there
        assert not any(each.endswith(".pyc") for each in there)


def test_the_promoter_runs_the_images_code_on_its_own_rules(image: Path, tmp_path: Path) -> None:
    """It starts beside a project that would fail if it were imported, with what the compose file tells it."""
    keys, rules, work = tmp_path / "keys", tmp_path / "rules", tmp_path / "work"
    for folder in (keys, rules / "data", work / "pipeline"):
        folder.mkdir(parents=True)
    (work / "pipeline" / "__init__.py").write_text("raise SystemExit('code of a task')")
    shutil.copy(ROOT / "params.yaml", rules)
    shutil.copy(ROOT / "data" / "taxonomy.yaml", rules / "data")
    shutil.copy(ROOT / "ops" / "docker" / "decisions.head", rules / "data")
    service, port = SERVICES["promoter"], str(free_port())
    (keys / "airflow.password").write_text("secret\n")
    (keys / "airflow.password").chmod(0o600)
    places = {"/run/promoter": str(keys), "/srv/rules": str(rules), "0.0.0.0": "127.0.0.1", "8090": port}  # noqa: S104
    own = {name: value for name, value in service["environment"].items() if name not in {"HOME", "SEGLOOP_PYTHON"}}
    with mlflow_that_is_healthy() as url:
        more = {name: replaced(value, places) for name, value in own.items()}
        more |= {"MLFLOW_TRACKING_URI": url, "SEGLOOP_DECISIONS": f"sqlite:///{tmp_path}/decisions.db"}
        told = environment(image, **more)
        subprocess.run([sys.executable, "-m", "pipeline.registry", "init"], cwd=rules, env=told, check=True)
        line = [replaced(word, places) for word in words(service)]
        with subprocess.Popen(line, cwd=work, env=told) as process:
            try:
                assert answers(f"http://127.0.0.1:{port}/healthz", process)
            finally:
                process.terminate()


def run(line: list[str], image: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command of a container without a mount."""
    return subprocess.run(line, cwd=folder, env=environment(image), capture_output=True, text=True, check=False)


def replaced(word: str, places: dict[str, str]) -> str:
    """A word of the compose file with this machine's places."""
    for inside, here in places.items():
        word = word.replace(inside, here)
    return word


@contextmanager
def mlflow_that_is_healthy() -> Iterator[str]:
    """The address of a server that says of itself that it is well, which is all that a start asks."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether an address answers before its process ends."""
    while process.poll() is None:
        try:
            return requests.get(url, timeout=5).ok
        except requests.RequestException:
            time.sleep(0.2)
    return False
