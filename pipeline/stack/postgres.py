"""Makes the stack's databases on a Postgres server."""

from pipeline.errors import OutageError, UserError
from pipeline.stack.settings import DATABASES, POSTGRES_VARIABLE, postgres_url

MAINTENANCE = "postgres"  # the database that every server has
ANSWER_TIMEOUT_S = 10


def make_databases(server: str) -> list[str]:
    """Makes those of the stack's databases that the server lacks.

    Args:
        server: As the environment's SEGLOOP_POSTGRES has it.

    Returns:
        The names of what was made.

    Raises:
        UserError: The driver is missing, or the account may not make databases.
        OutageError: The server does not answer, or refuses the account.
    """
    import sqlalchemy
    from sqlalchemy.exc import OperationalError, ProgrammingError

    try:
        engine = sqlalchemy.create_engine(
            postgres_url(server, MAINTENANCE),
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": ANSWER_TIMEOUT_S},
        )
    except ModuleNotFoundError:
        raise UserError(
            f'{POSTGRES_VARIABLE} is set, but the driver is missing: pip install "psycopg[binary]".'
        ) from None
    try:
        with engine.connect() as connection:
            there = set(connection.scalars(sqlalchemy.text("SELECT datname FROM pg_database")))
            missing = [name for name in DATABASES if name not in there]
            for name in missing:
                connection.execute(sqlalchemy.text(f'CREATE DATABASE "{name}"'))
    except OperationalError as error:
        raise OutageError(
            f"Postgres at {engine.url.host}:{engine.url.port} ({POSTGRES_VARIABLE}) lets nobody in: {error.orig}"
        ) from None
    except ProgrammingError as error:
        raise UserError(
            f"The databases {', '.join(DATABASES)} cannot be made: {error.orig}. Let an administrator make them, "
            f"owned by {engine.url.username}."
        ) from None
    finally:
        engine.dispose()
    return missing
