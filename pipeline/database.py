"""The SQLite file that MLflow uses without a server: made whole or not at all, and told when it is damaged."""

import tempfile
from pathlib import Path

from pipeline.errors import UserError

SQLITE = "sqlite:///"
# What SQLite says of a file that is none of its own, is cut short, or in which MLflow's set-up was cut short.
DAMAGE = ("already exists", "duplicate column", "no such table", "not a database", "malformed")


def database_file(uri: str) -> Path | None:
    """The file of an SQLite URI; None for any other store, and for a database in memory."""
    path = uri.removeprefix(SQLITE).partition("?")[0]
    in_file = uri.startswith(SQLITE) and path and path != ":memory:" and not path.startswith("file:")
    return Path(path).absolute() if in_file else None


def make_database(file: Path) -> None:
    """Sets MLflow's tables up in a new file, which appears when it is whole; an existing file stays as it is.

    MLflow's own set-up takes seconds and many steps, and a kill amid them leaves a file that no later one mends.

    Raises:
        UserError: The folder cannot be written to.
    """
    if file.exists() or not file.parent.is_dir():
        return
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    try:
        with tempfile.TemporaryDirectory(prefix=f"{file.name}.", dir=file.parent) as folder:
            new = Path(folder) / file.name
            store = SqlAlchemyStore(f"{SQLITE}{new}", DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)  # type: ignore[no-untyped-call]
            store.engine.dispose()
            _appear(new, file)
    except OSError as error:
        raise UserError(f"MLflow's database {file} cannot be made: {error}. Set MLFLOW_TRACKING_URI.") from None


def damage(uri: str, error: object) -> UserError | None:
    """What to tell of an error that comes from a damaged SQLite file; None when it does not."""
    file = database_file(uri)
    if file is None or not any(sign in str(error) for sign in DAMAGE):
        return None
    return UserError(
        f"{file} is damaged or half made: move it away; `segloop track` and `segloop register` rebuild what is in "
        f"data/. SQLite says: {error}"
    )


def _appear(new: Path, file: Path) -> None:
    try:
        file.hardlink_to(new)  # never over a file that another process has made meanwhile, as a rename would
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        new.replace(file)
