"""The containers of docker-compose.yml: no engine runs here, so all that can be held against the code is."""

import importlib.util
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

ROOT = Path(__file__).resolve().parent.parent
VARIABLE = re.compile(r"\$\{([A-Z_]+)(:-|:\?)?([^}]*)\}")
SOURCES = "\n".join(
    file.read_text(encoding="utf-8") for folder in ("pipeline", "dags") for file in (ROOT / folder).rglob("*.py")
)


def example() -> dict[str, str]:
    """The variables of .env.example."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line.strip() and not line.startswith("#"))
    return {name: value.replace("${HOME}", "/home/someone") for name, _, value in pairs}


def composed() -> dict[str, Any]:
    """The file with the variables of the example in place."""
    values = example()

    def value(match: re.Match[str]) -> str:
        return values.get(match[1]) or (match[3] if match[2] == ":-" else values[match[1]])

    content = yaml.safe_load(VARIABLE.sub(value, (ROOT / "docker-compose.yml").read_text()))
    return {name: part for name, part in content.items() if not name.startswith("x-")}


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


def test_only_the_promoter_has_the_key() -> None:
    """The folder of keys is mounted into one container."""
    mounted = [
        name for name, each in SERVICES.items() if any("/run/promoter" in str(v) for v in each.get("volumes", []))
    ]
    assert mounted == ["promoter"]


def test_every_command_of_ours_exists_with_its_options() -> None:
    """Modules that are run are there, and answer to the options that they are given."""
    for name, service in OURS.items():
        words = service["command"]
        if words[:2] != ["python", "-m"]:
            continue
        assert importlib.util.find_spec(words[2]), name
        done = subprocess.run([*words[:3], "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert all(word in done.stdout for word in words[3:] if word.startswith("--")), name


def test_every_command_of_airflow_is_one() -> None:
    """Airflow's own parser takes the commands and the health checks."""
    from airflow.cli import cli_parser

    lines = [service["command"] for service in OURS.values() if service["command"][0] == "airflow"]
    checks = [each["healthcheck"]["test"][1:] for each in OURS.values() if "jobs" in str(each.get("healthcheck"))]
    (steps,) = [service["command"][2] for service in OURS.values() if service["command"][0] == "sh"]
    lines += [*checks, *(step.split() for step in steps.split(" && "))]
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


def test_every_path_of_the_project_exists() -> None:
    """Files and folders that are mounted or named are there."""
    named = [str(volume).split(":")[0] for each in SERVICES.values() for volume in each.get("volumes", [])]
    ours = [path for path in named if path.startswith("./") and not path.startswith("./.segloop")]
    assert all((ROOT / path).exists() for path in [*ours, "ops/airflow/pools.json", "ops/docker/Dockerfile"])
    assert os.fspath(ROOT / OURS["promoter"]["build"]["dockerfile"])
