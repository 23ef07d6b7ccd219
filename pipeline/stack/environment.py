"""The environment of a stack's processes: settings in place of an airflow.cfg, and to each only its own secrets."""

import sys
from collections.abc import Mapping
from pathlib import Path

from pipeline.promotions.settings import AIRFLOW_VARIABLE, PASSWORD_VARIABLE, PROMOTER_VARIABLE
from pipeline.registry_access import KEY_VARIABLE, URL_VARIABLE
from pipeline.stack.accounts import USERS, Secrets, passwords_file, promoters_password_file
from pipeline.stack.settings import HOST, MARKER, POSTGRES_VARIABLE, REPORTS_VARIABLE, Stack

# Without byte code a start takes three times as long; another DVC workspace is none of this stack's.
LEFT_BEHIND = {"PYTHONDONTWRITEBYTECODE", "DVC_ROOT", POSTGRES_VARIABLE}
NO_KEY = "only-the-promoter-has-the-key.pem"  # named where a process must not look for the real one


def shared(stack: Stack, environment: Mapping[str, str]) -> dict[str, str]:
    """What every process gets: the environment of whoever starts the stack, and where its parts are.

    Args:
        stack: The stack.
        environment: Of the process that starts it.
    """
    python = Path(sys.executable)
    passed = {
        name: value for name, value in environment.items() if name not in LEFT_BEHIND and not name.startswith("AIRFLOW")
    }
    return passed | {
        MARKER: str(stack.root),
        "PATH": f"{python.parent}:{environment.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
        "SEGLOOP_ROOT": str(stack.root),
        "SEGLOOP_PYTHON": str(python),
        "MLFLOW_TRACKING_URI": stack.url("mlflow"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        URL_VARIABLE: stack.database("segloop"),
        AIRFLOW_VARIABLE: stack.url("airflow"),
        PROMOTER_VARIABLE: stack.url("promoter"),
        REPORTS_VARIABLE: stack.url("reports"),
    }


def mlflow(stack: Stack, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of MLflow's server."""
    return shared(stack, environment) | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its job consumers would be four more processes
        "MLFLOW_BACKEND_STORE_URI": stack.database("mlflow"),  # here, since a command line is seen by everybody
        KEY_VARIABLE: str(stack.folder / NO_KEY),
    }


def reports(stack: Stack, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the reports' server."""
    return shared(stack, environment) | {
        KEY_VARIABLE: str(stack.folder / NO_KEY),
    }


def promoter(stack: Stack, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the promoter, which asks Airflow who answered by an account of its own."""
    return shared(stack, environment) | {PASSWORD_VARIABLE: str(promoters_password_file(stack))}


def airflow(stack: Stack, secrets: Secrets, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of Airflow's processes, and so of every task; it has no airflow.cfg.

    Connections (AIRFLOW_CONN_*) pass through, and what the environment says of `_habits` counts; the rest holds the
    stack together and is set.
    """
    own = {
        name: value for name, value in environment.items() if name.startswith("AIRFLOW") and name != "AIRFLOW_CONFIG"
    }
    return _habits() | shared(stack, environment) | own | _wiring(stack, secrets)


def _habits() -> dict[str, str]:
    """What a team may well want otherwise."""
    return {
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # The default asks the name service, which takes its time where there is no network.
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__API__ENABLE_SWAGGER_UI": "False",  # its page loads scripts from the network
    }


def _wiring(stack: Stack, secrets: Secrets) -> dict[str, str]:
    database = stack.database("airflow")
    settings = {
        "AIRFLOW_HOME": str(stack.home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(stack.root / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(stack.root / "ops" / "airflow" / "plugins"),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(stack.params.parallelism),
        "AIRFLOW__CORE__FERNET_KEY": secrets.fernet,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{stack.url('airflow')}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file(stack)),
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(stack.port("airflow")),
        "AIRFLOW__API__BASE_URL": stack.url("airflow"),
        "AIRFLOW__API__SECRET_KEY": secrets.session,
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.jwt,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(stack.home / "logs"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        # A task never needs the key, and one that looks for it is to find none rather than a closed door.
        KEY_VARIABLE: str(stack.folder / NO_KEY),
    }
    if stack.postgres is not None:
        # psycopg speaks both ways; by itself Airflow would ask for asyncpg.
        settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"] = database
    return settings
