"""The containers of docker-compose.yml: no engine runs here, so all that can be held against the code is."""

import configparser
import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest
import sqlalchemy
import yaml
from compose_case import ROOT, VARIABLE, composed, example, mounts, words
from compose_spec import PyCompose
from cryptography.fernet import Fernet

from pipeline.decisions.heads import advance_head_file, read_head_file

MLFLOW = Path(str(importlib.util.find_spec("mlflow").origin)).parent  # type: ignore[union-attr]
NAME = re.compile(r"\bMLFLOW_[A-Z0-9_]+\b")
SOURCES = "\n".join(
    file.read_text(encoding="utf-8") for folder in ("pipeline", "dags") for file in (ROOT / folder).rglob("*.py")
)


SERVICES = composed()["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def test_the_file_is_as_the_compose_specification_has_it() -> None:
    """A parser of the specification takes it, and every volume and secret that it names is declared."""
    PyCompose.from_yaml(yaml.safe_dump(composed())).validate()


def test_the_dockerfile_has_no_known_fault() -> None:
    """Hadolint has nothing to say."""
    done = subprocess.run(["hadolint", "ops/docker/Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_example_names_the_variables_that_are_used() -> None:
    """None is missing, and none is left over."""
    used = {match[1] for match in VARIABLE.finditer((ROOT / "docker-compose.yml").read_text())}
    assert used == set(example())


def test_no_secret_stands_in_a_file() -> None:
    """Passwords and keys come from .env, which git ignores, and its example holds none."""
    for service in SERVICES.values():
        for name, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD$|SECRET|KEY$", name) and not value.startswith("/"):
                assert "change-me" in value, name
    assert subprocess.run(["git", "check-ignore", "-q", ".env"], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_pinned_limited_and_closed(name: str) -> None:
    """A tag that stays, memory at most, no rights beyond its own, no port beyond this machine."""
    service = SERVICES[name]
    assert re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*", service["image"]), service["image"]
    assert service["mem_limit"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", OURS)
def test_our_containers_write_nowhere_but_where_they_must(name: str) -> None:
    """They run as an ordinary user on a read-only file system."""
    assert OURS[name]["read_only"] is True
    assert OURS[name]["user"] == "1000:1000"


@pytest.mark.parametrize("name", [name for name in SERVICES if "profiles" not in SERVICES[name]])
def test_what_runs_for_long_is_watched(name: str) -> None:
    """Every service that stays has a health check, and what ends says so."""
    service = SERVICES[name]
    assert "healthcheck" in service or service.get("restart") == "no"


def test_only_the_promoter_has_the_key_and_its_rules() -> None:
    """The folders of keys and of rules are mounted into one container."""
    for target in ("/run/promoter", "/srv/rules"):
        assert [name for name, each in SERVICES.items() if target in mounts(each)] == ["promoter"]


def test_only_the_api_server_has_the_passwords() -> None:
    """Tasks run in other containers, and could answer as a reviewer with them."""
    assert [name for name, each in SERVICES.items() if each.get("secrets")] == ["api-server"]


def test_what_decides_runs_no_code_that_tasks_can_write() -> None:
    """Where tasks run all of the project can be written: promoter and reports can neither see it nor run it."""
    assert mounts(SERVICES["scheduler"])["/srv/segloop"] == (".", True)
    for name in ("promoter", "reports", "mlflow"):
        inside = {target: one for target, one in mounts(SERVICES[name]).items() if one[0].startswith(".")}
        assert not any(writable for _, writable in inside.values()), name
        assert not {source for source, _ in inside.values()} & {".", "./pipeline", "./training", "./dags"}, name
    for name in ("promoter", "reports"):
        assert SERVICES[name]["environment"]["PYTHONSAFEPATH"] == "1"
        assert SERVICES[name]["working_dir"] != "/srv/segloop"


def test_tasks_do_not_see_the_file_of_passwords() -> None:
    """It lies in the project, which is mounted: something else lies over it."""
    for name, each in SERVICES.items():
        if mounts(each).get("/srv/segloop") == (".", True):
            assert mounts(each)["/srv/segloop/.env"] == ("/dev/null", False), name


def test_secrets_lie_outside_of_the_project() -> None:
    """What is in the project, tasks can read."""
    outside = ("AIRFLOW_PASSWORDS_FILE", "PROMOTER_KEYS", "PROMOTER_RULES")
    assert all(Path(example()[name]).is_absolute() for name in outside)


@pytest.mark.parametrize("name", OURS)
def test_every_folder_in_memory_belongs_to_the_user(name: str) -> None:
    """Over a folder of the image an engine makes it root's, with the folder's mode."""
    for place in OURS[name]["tmpfs"]:
        assert place.endswith((":mode=1777", ":mode=0700,uid=1000,gid=1000")), place
    assert OURS[name].get("environment", {}).get("USER", "") or name == "trainer"


def test_the_recipe_of_a_fernet_key_makes_one() -> None:
    """What .env.example says makes a key that Airflow takes; the recipe of the others does not."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    recipe = lines[lines.index("AIRFLOW_FERNET_KEY=change-me") - 1].removeprefix("# ")
    assert recipe.startswith("openssl ")
    made = subprocess.run(["sh", "-c", recipe], capture_output=True, text=True, check=True).stdout.strip()
    Fernet(made)
    with pytest.raises(ValueError, match="32 url-safe"):
        Fernet("ab" * 32)


def test_every_command_of_ours_exists_with_its_options() -> None:
    """Modules that are run are there, and answer to the options that they are given."""
    for name, service in OURS.items():
        line = words(service)
        if line[:2] != ["python", "-m"]:
            continue
        assert importlib.util.find_spec(line[2]), name
        done = subprocess.run([*line[:3], "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert all(word in done.stdout for word in line[3:] if word.startswith("--")), name


def test_every_command_of_airflow_is_one() -> None:
    """Airflow's own parser takes the commands and the health checks."""
    from airflow.cli import cli_parser

    lines = [service["command"] for service in OURS.values() if service["command"][0] == "airflow"]
    lines += [each["healthcheck"]["test"][1:] for each in OURS.values() if "jobs" in str(each.get("healthcheck"))]
    scripts = [words(service)[2] for service in OURS.values() if service["command"][0] == "sh"]
    steps = [step.removeprefix("exec ") for script in scripts for step in script.split(" && ")]
    lines += [step.split() for step in steps if step.startswith("airflow ")]
    assert len(lines) == 9
    for line in lines:
        cli_parser.get_parser().parse_args(line[1:])


def test_every_setting_of_airflow_is_one() -> None:
    """A misspelt setting would be ignored without a word."""
    from airflow.configuration import conf

    known = {f"AIRFLOW__{section}__{key}".upper() for section in conf.sections() for key in conf.options(section)}
    known |= {name.upper() for name in SOURCES.split('"') if name.startswith("AIRFLOW__")}
    used = {name for each in OURS.values() for name in each.get("environment", {}) if name.startswith("AIRFLOW__")}
    assert used
    assert used <= known


def test_every_variable_of_ours_is_read_somewhere() -> None:
    """What the containers are told, some code asks for."""
    used = {name for each in OURS.values() for name in each.get("environment", {}) if name.startswith("SEGLOOP_")}
    assert used
    assert {name for name in used if f'"{name}"' not in SOURCES} == set()


def test_ports_are_those_of_the_settings() -> None:
    """Containers and `segloop up` listen on the same ports."""
    stack = yaml.safe_load((ROOT / "params.yaml").read_text())["stack"]
    published = {port.rpartition(":")[2] for each in SERVICES.values() for port in each.get("ports", [])}
    wanted = {str(stack[f"{name}_port"]) for name in ("airflow", "mlflow", "reports")}
    assert wanted <= published
    assert f":{stack['promoter_port']}" in OURS["airflow-init"]["environment"]["SEGLOOP_PROMOTER_URL"]


def test_every_setting_of_mlflow_is_one() -> None:
    """A variable that MLflow does not read would leave it on its defaults, SQLite in the working folder say."""
    known = {match for file in MLFLOW.rglob("*.py") for match in NAME.findall(file.read_text(encoding="utf-8"))}
    used = {name for each in OURS.values() for name in each.get("environment", {}) if name.startswith("MLFLOW_")}
    assert used
    assert used <= known


def test_mlflow_keeps_its_accounts_in_postgres() -> None:
    """Its file of accounts names a database that is made, and no password; SQLite would have no place to lie."""
    inside = SERVICES["mlflow"]["environment"]["MLFLOW_AUTH_CONFIG_PATH"]
    settings = configparser.ConfigParser()
    settings.read(ROOT / mounts(SERVICES["mlflow"])[inside][0])
    url = sqlalchemy.make_url(settings["mlflow"]["database_uri"])
    assert (url.drivername, url.host, url.password) == ("postgresql+psycopg", "postgres", None)
    assert f"CREATE DATABASE {url.database} OWNER {url.username};" in (ROOT / "ops/docker/databases.sql").read_text()
    assert "PGPASSWORD" in SERVICES["mlflow"]["environment"]


def test_postgres_is_healthy_only_with_its_databases() -> None:
    """The server that makes them listens on its socket alone: the check goes over TCP."""
    assert "-h 127.0.0.1" in SERVICES["postgres"]["healthcheck"]["test"][1]


def test_every_path_of_the_project_exists() -> None:
    """Files and folders that are mounted or named are there."""
    named = [source for each in SERVICES.values() for source, _ in mounts(each).values()]
    ours = [path for path in named if path.startswith("./") and not path.startswith("./.segloop")]
    assert all((ROOT / path).exists() for path in [*ours, "ops/airflow/pools.json", "ops/docker/Dockerfile"])
    assert os.fspath(ROOT / OURS["promoter"]["build"]["dockerfile"])


def test_an_engine_makes_no_folder_of_the_host() -> None:
    """It would be root's, and empty: what may be missing is mounted such that a missing folder is an error."""
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            if isinstance(volume, dict):
                assert volume["bind"] == {"create_host_path": False}
            elif source.startswith(("./", "/")):
                assert (ROOT / source).exists(), source


def test_a_new_log_has_the_head_of_an_empty_one(tmp_path: Path) -> None:
    """The file that is copied for the promoter is the one that a log begins with."""
    advance_head_file(tmp_path / "head", None, None)
    assert read_head_file(ROOT / "ops" / "docker" / "decisions.head") == read_head_file(tmp_path / "head")
