"""The tables of the decision log, and its database: made when first written to, and told apart when away or damaged."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.database import DAMAGE, database_file
from pipeline.errors import OutageError, SegloopError, UserError
from pipeline.provenance import without_secrets

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

ANSWER_TIMEOUT_S = 5
LOCK_TIMEOUT_S = 30  # how long a writer of SQLite waits for another
SQLITE_DIALECT = "sqlite"


class Database:
    """The database behind a decision log.

    In Postgres, grant the roles that write no more than SELECT and INSERT: the log is never updated.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def title(self) -> str:
        """Its URL without a password."""
        return without_secrets(self._url)

    @contextmanager
    def reading(self) -> "Iterator[Connection | None]":
        """A connection on which all that is read is of one moment; None while there is no log to read.

        Raises:
            OutageError: The database is away.
            UserError: Its URL, its driver or its file is at fault.
        """
        with self._told("read"):
            file = database_file(self._url)
            if file is not None and not file.parent.is_dir():
                text = f"The decision log {self._url} has no folder {file.parent} to lie in. Mount it, or mend the URL."
                raise OutageError(text)
            if file is not None and not file.exists():  # SQLite would make it
                yield None
                return
            with self._engine.connect() as connection:
                yield self._snapshot(connection) if self._made else None

    @contextmanager
    def writing(self) -> "Iterator[Connection]":
        """A connection whose writes are kept as one when the block ends well.

        Raises:
            OutageError: The database is away.
            UserError: Its URL, its driver or its file is at fault, or it refuses.
        """
        with self._told("written to"):
            if not self._made:
                self._make()
            with self._engine.begin() as connection:
                yield connection

    @functools.cached_property
    def _engine(self) -> "Engine":
        import sqlalchemy

        options = {"timeout": LOCK_TIMEOUT_S} if self._is_sqlite else {"connect_timeout": ANSWER_TIMEOUT_S}
        return sqlalchemy.create_engine(self._url, poolclass=sqlalchemy.NullPool, connect_args=options)

    @property
    def _is_sqlite(self) -> bool:
        return self._url.startswith(SQLITE_DIALECT)

    @property
    def _made(self) -> bool:
        import sqlalchemy

        names = set(sqlalchemy.inspect(self._engine).get_table_names())
        return {decisions().name, heads().name} <= names

    def _make(self) -> None:
        """Makes the tables; another process may be doing so at this moment."""
        from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
        from sqlalchemy.schema import CreateTable

        try:
            with self._engine.begin() as connection:
                for table in (decisions(), heads()):
                    connection.execute(CreateTable(table, if_not_exists=True))
        except (IntegrityError, OperationalError, ProgrammingError):
            if not self._made:
                raise

    def _snapshot(self, connection: "Connection") -> "Connection":
        if self._is_sqlite:
            connection.exec_driver_sql("BEGIN")  # Python's driver begins nothing for a SELECT
            return connection
        return connection.execution_options(isolation_level="REPEATABLE READ")

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, InterfaceError, OperationalError

        try:
            yield
        except IntegrityError:
            raise  # the log's own matter: the number was taken
        except (ArgumentError, ModuleNotFoundError, ValueError) as error:  # a port that is no number is the last
            remedy = "Mend the URL or install the database's driver."
            raise UserError(
                without_secrets(f"The decision log {self._url} cannot be used: {error}. {remedy}")
            ) from None
        except DBAPIError as error:
            away = isinstance(error, OperationalError | InterfaceError)
            raise self._problem(doing, str(error.orig), away=away) from None

    def _problem(self, doing: str, said: str, *, away: bool) -> SegloopError:
        start = f"The decision log {self._url} cannot be {doing}: {said.strip()}."
        if any(sign in said for sign in DAMAGE):
            return UserError(without_secrets(f"{start} It is damaged: restore it from a backup."))
        if away:
            remedy = "Run the command again when it answers: it goes by what the log then holds."
            return OutageError(without_secrets(f"{start} {remedy}"))
        return UserError(without_secrets(f"{start} Check the rights of its user, and that it is a decision log."))


@functools.cache
def decisions() -> "Table":
    """The table of entries; its columns are `Entry`'s fields."""
    from sqlalchemy import Boolean, Column, Integer, MetaData, Table, Text

    return Table(
        "decisions",
        MetaData(),
        Column("sequence", Integer, primary_key=True, autoincrement=False),
        *(Column(name, Text, nullable=False) for name in ("at", "kind", "model_name")),
        Column("version", Integer, nullable=False),
        *(Column(name, Text, nullable=False) for name in ("model_digest", "gate_digest", "actor", "note")),
        Column("override", Boolean, nullable=False),
        Column("payload_json", Text, nullable=False),
        *(Column(name, Text, nullable=False) for name in ("previous_hash", "hash")),
    )


@functools.cache
def heads() -> "Table":
    """The table of signed heads; its columns are `Head`'s fields."""
    from sqlalchemy import Column, Integer, Table, Text

    return Table(
        "heads",
        decisions().metadata,
        Column("sequence", Integer, primary_key=True, autoincrement=False),
        *(Column(name, Text, nullable=False) for name in ("hash", "at", "key_id", "signature")),
    )
