"""Action: runs the promoter, which turns answers given in Airflow into reviews and promotions."""

import logging
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from pipeline.approval import reports_url
from pipeline.command import run
from pipeline.dossier import Places
from pipeline.errors import UserError
from pipeline.params import read_section
from pipeline.promotions.airflow import Airflow, read_password
from pipeline.promotions.answers import Answers
from pipeline.promotions.settings import PromoterParams
from pipeline.provenance import without_secrets
from pipeline.register import RegisterParams
from pipeline.registry_access import RegistryParams, open_registry
from pipeline.tracking import configure

FINISH_S = 60  # what is being decided when the promoter is told to stop gets this long to end
MOST_AT_ONCE = 32
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def main(
    host: Annotated[str, typer.Option(help="Address to listen on. Default: of the parameters.")] = "",
    port: Annotated[int, typer.Option(help="Port. Default: of the parameters.")] = 0,
    data: Annotated[Path, typer.Option(help="The folder of the stages' outputs, for today's holdout.")] = Path("data"),
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Run the promoter, which turns answers given in Airflow into reviews and promotions.

    The one process that needs the promoter's private key. `POST /v1/answers/RUN_ID` names a run of the DAG that asks;
    the promoter reads the answer from Airflow's REST API by an account of its own, and promotes by all that `segloop
    promote` checks. It takes no word from whoever calls, so there is no password between them. GET /healthz is its sign
    of life. Ends on SIGTERM, after what it is deciding.

    Example: segloop promoter --port 8090
    """
    settings = read_section(PromoterParams, "promoter", params)
    registry = open_registry(read_section(RegistryParams, "registry", params), as_promoter=True)
    name = read_section(RegisterParams, "register", params).model_name
    read_password(settings.password_file)  # or the first answer would tell that it is missing
    warn_of_clear_text(settings.airflow_url)
    configure()
    places = Places(data=data, taxonomy=taxonomy, params=params)
    answers = Answers(registry, Airflow(settings), settings, name, places, reports_url())
    serve(answers, settings, host or settings.host, port or settings.port)


def warn_of_clear_text(url: str) -> None:
    """Says when the account's password, and the answers that are believed, go through a network unprotected."""
    address = urlsplit(url)
    if address.scheme == "http" and address.hostname not in LOOPBACK:
        print(
            f"warning: {without_secrets(url)} is reached without TLS: who can write to that network can read the "
            "account's password and forge answers. Use https, or a network of your own.",
            file=sys.stderr,
        )


def serve(answers: Answers, settings: PromoterParams, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT."""
    import uvicorn

    from pipeline.promotions.app import make_app

    logging.getLogger("segloop.promoter").setLevel(logging.INFO)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    config = uvicorn.Config(
        make_app(answers, settings.requests_per_minute),
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        limit_concurrency=MOST_AT_ONCE,
        timeout_graceful_shutdown=FINISH_S,
    )
    listening = listen(host, port)
    signal.signal(signal.SIGTERM, lambda *_: None)  # the server raises it again once it has ended, in order
    print(f"promoter: http://{host}:{port}, answers of DAG '{settings.dag}' at {settings.airflow_url}", flush=True)
    uvicorn.Server(config).run([listening])


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UserError: The port is taken, or the address is not of this machine.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UserError(
            f"The promoter cannot listen on {host}:{port}: {error.strerror or error}. Name others by --host and --port."
        ) from None


if __name__ == "__main__":
    run(main)
