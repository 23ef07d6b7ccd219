"""Action: computes a job on the machine that a launcher chose; launchers call it, people need not."""

import os
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from pipeline.command import run
from pipeline.errors import UserError
from pipeline.files import read_json
from pipeline.jobs.running import leave_on, run_job
from pipeline.jobs.spec import Spec
from pipeline.params import parse
from pipeline.provenance import AUTHOR_VARIABLE, TRIGGER_VARIABLE


def main(
    spec: Annotated[str, typer.Argument(help="The job: a file with its JSON, or the JSON itself.")],
    work: Annotated[Path | None, typer.Option(help="Folder of this job alone, kept until it has succeeded.")] = None,
) -> None:
    """Compute a job on the machine that a launcher chose; launchers call it, people need not.

    Example: segloop job run spec.json --work /tmp/job
    """
    leave_on(signal.SIGTERM)
    job = _read(spec)
    for variable, name in ((AUTHOR_VARIABLE, job.author), (TRIGGER_VARIABLE, job.triggered_by)):
        if name:
            os.environ[variable] = name
    code = run_job(job, (work or Path(tempfile.gettempdir()) / f"segloop-{job.name}").resolve())
    if code:
        raise SystemExit(code)


def _read(spec: str) -> Spec:
    if not spec.lstrip().startswith("{"):
        return parse(Spec, read_json(Path(spec), "submit the job again"), spec)
    try:
        return Spec.model_validate_json(spec)
    except ValidationError as error:
        raise UserError(f"The job's spec is not one: {error}") from None


if __name__ == "__main__":
    run(main)
