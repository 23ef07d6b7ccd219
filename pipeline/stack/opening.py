"""Makes what a stack needs before its processes start, and leaves what is there."""

import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.database import make_database
from pipeline.errors import OutageError, UserError
from pipeline.files import digest_json, write_atomic
from pipeline.params import read_section
from pipeline.registry import init
from pipeline.registry_access import KEY_VARIABLE, RegistryParams, key_path
from pipeline.releasing.git import Git
from pipeline.releasing.making import ReleaseParams
from pipeline.stack import environment as env
from pipeline.stack.accounts import Secrets, struck
from pipeline.stack.closed import MADE
from pipeline.stack.postgres import make_databases
from pipeline.stack.settings import Stack

Say = Callable[[str], None]
SAID = 2000  # characters of a failed command's last words


def make_folders(stack: Stack) -> None:
    """Makes the stack's folders, readable by their owner only."""
    for folder in (stack.folder, stack.home, stack.logs, stack.reports):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    make_home()
    make_remote(stack)


def make_home() -> None:
    """Makes the folders in the home folder that programs make when they need them: by then they would be closed.

    A task could write in them, pretrained weights say, and not read it again, see `sandbox`.
    """
    for name in MADE:
        with suppress(OSError):  # where nobody may write, tasks do not either
            (Path.home() / name).mkdir(mode=0o700, parents=True, exist_ok=True)


def make_remote(stack: Stack) -> None:
    """Makes the folder that the first release would make: by then it would be closed to tasks, see `sandbox`.

    Later ones need it to be there: one that is missing then is a disk that is not mounted.
    """
    remote = read_section(ReleaseParams, "release", stack.root / "params.yaml").remote
    if "://" not in remote and not Git(stack.root).tags():
        (stack.root / remote).mkdir(parents=True, exist_ok=True)


def warn_of_git(stack: Stack, say: Say) -> None:
    """Says what would keep the DAGs from committing releases and runs, before the first of them fails."""
    try:
        Git(stack.root).check_ready()
    except UserError as error:
        say(f"warning: Airflow can make no release here: {error}")


def make_key(stack: Stack, say: Say) -> bool:
    """Makes the promoter's key where nobody has made one yet.

    Returns:
        Whether the key is here, so that the promoter can do its work on this machine.

    Raises:
        UserError: It lies where it cannot be kept from tasks, or is not the one that the project trusts.
    """
    params = read_section(RegistryParams, "registry", stack.root / "params.yaml")
    public, private = stack.root / params.promoter, key_path().absolute()
    _refuse_place(stack, private)
    if public.exists() and not private.exists():
        say(f"no promoter here: {params.promoter} is committed, and its private half is not at {private}")
        return False
    if not (public.exists() and private.exists()):
        init(public, dry_run=False)
    if private.stat().st_nlink > 1:
        raise UserError(f"The key {private} has another name elsewhere (a hard link), by which tasks could read it.")
    return True


def _refuse_place(stack: Stack, private: Path) -> None:
    """What is made later directly in a folder on the way to a denied one cannot be read: see `sandbox`."""
    folder, temporary = private.parent, Path(tempfile.gettempdir()).resolve()
    remedy = f"Move it to a folder of its own elsewhere, and name it by {KEY_VARIABLE}."
    if stack.root.is_relative_to(folder) or folder.is_relative_to(stack.root):
        raise UserError(
            f"The promoter's key {private} and the project {stack.root} lie in one another: keeping tasks from the key "
            f"would keep them from the project. {remedy}"
        )
    if folder.is_relative_to(temporary):
        raise UserError(
            f"The promoter's key {private} lies below {temporary}, where tasks have their temporary files: they could "
            f"not read those. {remedy} Or set TMPDIR."
        )


def make_stores(stack: Stack, secrets: Secrets, environment: Mapping[str, str], say: Say) -> None:
    """Makes the databases of Airflow and MLflow, or brings Airflow's up to date.

    Raises:
        UserError: Postgres has no driver or no rights.
        OutageError: It is away, or Airflow's migration fails.
    """
    if stack.postgres is not None:
        made = make_databases(stack.postgres)
        if made:
            say(f"made the databases {', '.join(made)}")
    migration = None if _is_migrated(stack) else _start_migration(stack, secrets, environment)
    if stack.postgres is None:
        for noisy in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        make_database(stack.root / "mlflow.db")
    if migration is not None:
        say("bringing Airflow's database up to date")
        _finish_migration(stack, secrets, migration)


def _start_migration(stack: Stack, secrets: Secrets, environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        cwd=stack.root,
        env=env.airflow(stack, secrets, environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _finish_migration(stack: Stack, secrets: Secrets, migration: "subprocess.Popen[str]") -> None:
    said, _ = migration.communicate()
    text = struck(said, hidden(stack, secrets))
    log = stack.logs / "migrate.log"
    write_atomic(log, text)
    if migration.returncode:
        raise OutageError(f"`airflow db migrate` failed with code {migration.returncode}; see {log}:\n{text[-SAID:]}")
    write_atomic(_stamp(stack), _state_of_database(stack))


def hidden(stack: Stack, secrets: Secrets) -> list[str]:
    """Everything that no log may show."""
    password = urlsplit(stack.postgres).password if stack.postgres else None
    return [*secrets.values(), *([password, unquote(password)] if password else [])]


def _is_migrated(stack: Stack) -> bool:
    """Whether this very database was brought to this version of Airflow before: asking Airflow takes ten seconds."""
    there = stack.postgres is None and (stack.home / "airflow.db").exists()
    return there and _stamp(stack).exists() and _stamp(stack).read_text(encoding="utf-8") == _state_of_database(stack)


def _stamp(stack: Stack) -> Path:
    return stack.home / "migrated"


def _state_of_database(stack: Stack) -> str:
    return digest_json([version("apache-airflow"), stack.database("airflow")]) + "\n"
