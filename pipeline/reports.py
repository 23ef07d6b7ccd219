"""Action: serves the reports to people, read-only, on this machine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from pipeline.command import run
from pipeline.errors import UserError
from pipeline.params import read_section
from pipeline.stack.settings import HOST, REPORTS_VARIABLE, StackParams

if TYPE_CHECKING:
    from starlette.applications import Starlette

FOLDER = Path(".segloop/reports")
# Reports are whole in themselves: nothing of them comes from elsewhere, and nothing is sent anywhere.
POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; script-src 'self' "
    "'unsafe-inline'; font-src 'self' data:; media-src 'self' data:; connect-src 'none'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def main(
    host: Annotated[str, typer.Option(help="Address to listen on; another only within a container.")] = HOST,
    port: Annotated[int | None, typer.Option(help="Port; the params' when left out.")] = None,
    folder: Annotated[Path | None, typer.Option(help="The reports; .segloop/reports of the project.")] = None,
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Serve the reports of all runs as web pages, on this machine unless told otherwise.

    Example: segloop reports --port 8091
    """
    import uvicorn

    place = folder or FOLDER
    if place.exists() and not place.is_dir():
        raise UserError(f"{place} is no folder: name the one that holds the reports.")
    place.mkdir(parents=True, exist_ok=True)
    number = port or read_section(StackParams, "stack", params).reports_port
    uvicorn.run(application(place), host=host, port=number, log_level="warning", server_header=False)


def application(folder: Path) -> "Starlette":
    """The server's application.

    Args:
        folder: What it shows; it must exist.
    """
    from starlette.applications import Starlette
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import JSONResponse
    from starlette.routing import Mount, Route

    from pipeline.stack.static_files import Reports

    async def health(_: object) -> JSONResponse:
        return JSONResponse({"status": "healthy"})

    served = Starlette(routes=[Route("/healthz", health), Mount("/", Reports(folder, POLICY))])
    # A page of the web whose name is made to point here could read the reports otherwise.
    known = urlsplit(os.environ.get(REPORTS_VARIABLE, "")).hostname  # another one than these behind a reverse proxy
    served.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost", *([known] if known else [])])
    return served


if __name__ == "__main__":
    run(main)
