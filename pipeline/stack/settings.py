"""What a stack is made of on this machine: its folders, ports and databases."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit

from pydantic import Field

from pipeline.errors import UserError
from pipeline.params import Section

HOST = "127.0.0.1"
OFFSET_VARIABLE, POSTGRES_VARIABLE = "SEGLOOP_PORT_OFFSET", "SEGLOOP_POSTGRES"
REPORTS_VARIABLE = "SEGLOOP_REPORTS_URL"  # where people reach the reports
MARKER = "SEGLOOP_STACK"  # in the environment of every process of a stack: the root that it belongs to
HIGHEST_PORT = 65535
DATABASES = ("airflow", "mlflow", "segloop")


class StackParams(Section):
    """Section `stack`.

    Attributes:
        airflow_port: Of Airflow's UI and API.
        mlflow_port: Of MLflow's.
        promoter_port: Of the promoter's API.
        reports_port: Of the reports.
        parallelism: Tasks that Airflow runs at a time.
        restarts: How often a process that ends is started again before it is given up; ten minutes without an end
            wipe the slate clean.
        start_timeout_s: How long `up` waits for every process to be healthy.
        stop_timeout_s: How long `down` waits for a process to end by itself before it is killed.
        log_bytes: A log that grows larger is put aside as `NAME.log.1`, which takes the place of the one before.
    """

    airflow_port: int = Field(ge=1, le=HIGHEST_PORT)
    mlflow_port: int = Field(ge=1, le=HIGHEST_PORT)
    promoter_port: int = Field(ge=1, le=HIGHEST_PORT)
    reports_port: int = Field(ge=1, le=HIGHEST_PORT)
    parallelism: int = Field(ge=1)
    restarts: int = Field(ge=0)
    start_timeout_s: float = Field(gt=0)
    stop_timeout_s: float = Field(gt=0)
    log_bytes: int = Field(ge=1000)


@dataclass(frozen=True)
class Stack:
    """One stack: everything that its processes are started from, but for the secrets.

    Attributes:
        root: The project's checkout; absolute.
        params: Section `stack`.
        offset: Added to every port.
        postgres: The server that holds the databases, as `postgresql://user@host:port`; None for SQLite.
        without: Names of processes that are left out.
    """

    root: Path
    params: StackParams
    offset: int = 0
    postgres: str | None = None
    without: frozenset[str] = frozenset()

    @property
    def home(self) -> Path:
        """Airflow's folder."""
        return self.root / ".segloop" / "airflow"

    @property
    def folder(self) -> Path:
        """The stack's own: what runs, and logs."""
        return self.root / ".segloop" / "stack"

    @property
    def logs(self) -> Path:
        """A file for each process."""
        return self.folder / "logs"

    @property
    def reports(self) -> Path:
        """What the reports' server shows."""
        return self.root / ".segloop" / "reports"

    def port(self, name: str) -> int:
        """The port of `airflow`, `mlflow`, `promoter` or `reports`."""
        return int(getattr(self.params, f"{name}_port")) + self.offset

    def url(self, name: str) -> str:
        """The address of `airflow`, `mlflow`, `promoter` or `reports`."""
        return f"http://{HOST}:{self.port(name)}"

    def database(self, name: str) -> str:
        """SQLAlchemy's URL of the database of `airflow`, `mlflow` or `segloop` (the decisions)."""
        if self.postgres is not None:
            return postgres_url(self.postgres, name)
        files = {"airflow": self.home / "airflow.db", "mlflow": self.root / "mlflow.db"}
        return f"sqlite:///{files.get(name, self.root / 'decisions.db')}"


def make_stack(
    root: Path,
    params: StackParams,
    environment: Mapping[str, str],
    *,
    offset: int | None = None,
    without: frozenset[str] = frozenset(),
) -> Stack:
    """The stack of a checkout.

    Args:
        root: The checkout.
        params: Section `stack`.
        environment: Of the process; it names the offset of the ports and Postgres.
        offset: Of the ports; None takes the environment's.
        without: Processes that are left out.

    Raises:
        UserError: The offset or the address of Postgres cannot be used, or two ports are the same.
    """
    shift = _offset(environment.get(OFFSET_VARIABLE) or "0") if offset is None else offset
    postgres = environment.get(POSTGRES_VARIABLE) or None
    if postgres is not None:
        _check_postgres(postgres)
    stack = Stack(root.resolve(), params, shift, postgres, without)
    _check_ports(stack)
    return stack


def postgres_url(server: str, database: str) -> str:
    """SQLAlchemy's URL of a database on a Postgres server, by psycopg 3.

    Args:
        server: `postgresql://user:password@host:port`, with options such as `?host=/run/postgresql` if need be.
        database: Its name.
    """
    parts = urlsplit(server)
    return SplitResult("postgresql+psycopg", parts.netloc, f"/{quote(database)}", parts.query, "").geturl()


def _offset(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{OFFSET_VARIABLE} must be a whole number, received {text!r}.") from None


def _check_postgres(server: str) -> None:
    """Refuses what is no server's address; the text may hold a password and is not repeated."""
    remedy = "Write postgresql://user:password@host:port, without a database: they are airflow, mlflow and segloop."
    try:
        parts = urlsplit(server)
        port_is_sound = parts.port is None or parts.port > 0
    except ValueError:
        raise UserError(f"{POSTGRES_VARIABLE} has a port that is no number. {remedy}") from None
    if parts.scheme not in {"postgresql", "postgres"} or not port_is_sound:
        raise UserError(f"{POSTGRES_VARIABLE} begins with {parts.scheme!r} instead of 'postgresql'. {remedy}")
    if parts.path.strip("/"):
        raise UserError(f"{POSTGRES_VARIABLE} names the database {parts.path.strip('/')!r}. {remedy}")


def _check_ports(stack: Stack) -> None:
    names = ("airflow", "mlflow", "promoter", "reports")
    ports = {name: stack.port(name) for name in names}
    for name, port in ports.items():
        if not 0 < port <= HIGHEST_PORT:
            raise UserError(
                f"The port of {name} would be {port} ({port - stack.offset} and the offset {stack.offset}); ports go "
                f"from 1 to {HIGHEST_PORT}. Change --port-offset or {OFFSET_VARIABLE}."
            )
        same = [other for other in names if ports[other] == port]
        if len(same) > 1:
            raise UserError(f"params.yaml, section 'stack': {' and '.join(same)} have the same port {port}.")
