"""Makes the stack's databases on a Postgres server."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.errors import OutageError, UserError
from pipeline.stack.settings import DATABASES, POSTGRES_VARIABLE, postgres_url

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

MAINTENANCE = "postgres"  # the database that every server has
ANSWER_TIMEOUT_S = 10
REFUSED = re.compile("authentication failed|pg_hba.conf|no password supplied|role .* does not exist")


def make_databases(server: str) -> list[str]:
    """Makes those of the stack's databases that the server lacks.

    Args:
        server: As the environment's SEGLOOP_POSTGRES has it.

    Returns:
        The names of what was made.

    Raises:
        UserError: The driver is missing, or the account is refused or may not make databases.
        OutageError: The server does not answer.
    """
    import sqlalchemy

    engine = _engine(server)
    try:
        with _refusals(engine.url), engine.connect() as connection:
            there = set(connection.scalars(sqlalchemy.text("SELECT datname FROM pg_database")))
            missing = [name for name in DATABASES if name not in there]
            for name in missing:
                connection.execute(sqlalchemy.text(f'CREATE DATABASE "{name}"'))
    finally:
        engine.dispose()
    return missing


def _engine(server: str) -> "Engine":
    import sqlalchemy

    try:
        return sqlalchemy.create_engine(
            postgres_url(server, MAINTENANCE),
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": ANSWER_TIMEOUT_S},
        )
    except ModuleNotFoundError:
        raise UserError(
            f'{POSTGRES_VARIABLE} is set, but the driver is missing: pip install "psycopg[binary]".'
        ) from None


@contextmanager
def _refusals(url: "URL") -> Iterator[None]:
    """Says what a server that does not do as told needs."""
    from sqlalchemy.exc import OperationalError, ProgrammingError

    try:
        yield
    except OperationalError as error:
        if REFUSED.search(str(error.orig)):
            raise UserError(
                f"Postgres at {url.host}:{url.port} does not let '{url.username}' in: {error.orig}. Mend user and "
                f"password in {POSTGRES_VARIABLE}, or the server's pg_hba.conf."
            ) from None
        raise OutageError(
            f"Postgres at {url.host}:{url.port} ({POSTGRES_VARIABLE}) lets nobody in: {error.orig}"
        ) from None
    except ProgrammingError as error:
        raise UserError(
            f"The databases {', '.join(DATABASES)} cannot be made: {error.orig}. Let an administrator make them, "
            f"owned by {url.username}."
        ) from None
