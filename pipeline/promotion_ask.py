"""Action: asks the promoter to take the answer of a run of Airflow."""

from http import HTTPStatus
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer
from pydantic import ValidationError

from pipeline.command import run
from pipeline.errors import OutageError, VerdictError
from pipeline.outcome import tell
from pipeline.params import read_section
from pipeline.promotions.answer import Answer
from pipeline.promotions.settings import PromoterParams
from pipeline.provenance import without_secrets

DECIDED = {HTTPStatus.OK, HTTPStatus.CONFLICT}


def main(
    dag_run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="The run of the DAG that asked.")],
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Ask the promoter to take the answer of a run of Airflow.

    Exits 0 when it is promoted, when the rejection is on the record, or when either was done before; 1 when it is
    refused; 3 when the promoter, or something that it needs, is away. SEGLOOP_PROMOTER_URL names the promoter.

    Example: segloop promotion ask manual__2026-03-01T12:00:00+00:00
    """
    settings = read_section(PromoterParams, "promoter", params)
    answer = ask(settings, dag_run_id)
    tell(**answer.model_dump())
    if answer.outcome == "refused":
        raise VerdictError(f"The promoter refuses: {answer.reason}")
    print(f"{answer.outcome}: {answer.reason}")


def ask(settings: PromoterParams, dag_run_id: str) -> Answer:
    """What becomes of the answer of a run.

    Raises:
        OutageError: The promoter is away, or something that it needs.
    """
    import requests

    url, title = settings.promoter_url, without_secrets(settings.promoter_url)
    session = requests.Session()
    session.trust_env = False
    try:
        with session:
            said = session.post(f"{url}/v1/answers/{quote(dag_run_id, safe='')}", timeout=settings.ask_timeout_s)
        if said.status_code in DECIDED:
            return Answer.model_validate_json(said.content)
        reason = _reason(said.content)
    except requests.RequestException as error:
        raise OutageError(
            f"The promoter at {title} does not answer ({type(error).__name__}). Start it: `segloop promoter`."
        ) from None
    except ValidationError:
        raise OutageError(f"What answers at {title} is no promoter. Mend SEGLOOP_PROMOTER_URL.") from None
    raise OutageError(f"The promoter at {title} cannot answer now (status {said.status_code}): {reason}")


def _reason(content: bytes) -> str:
    import json

    try:
        return str(json.loads(content)["reason"])
    except (ValueError, KeyError, TypeError):
        return "it does not say why; look into its log"


if __name__ == "__main__":
    run(main)
