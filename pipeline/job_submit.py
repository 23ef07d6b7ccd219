"""Action: submits a stage of the workspace as a job, or attaches to the one that computes the same."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from pipeline.command import run
from pipeline.files import write_atomic
from pipeline.jobs.kubernetes_pod import pod_of
from pipeline.jobs.launcher import State
from pipeline.jobs.params import LauncherName, read_jobs_params
from pipeline.jobs.submission import RECORDS, Jobs, Submitted
from pipeline.outcome import tell


def main(
    stage: Annotated[str, typer.Argument(help="The stage of dvc.yaml, such as train.")],
    launcher: Annotated[
        LauncherName | None, typer.Option(help="Where it runs; as params.yaml says if not given.")
    ] = None,
) -> None:
    """Submit a stage of the workspace as a job, or attach to the one that computes the same.

    The job outlives this command. What is computed of the same code, params and inputs runs once, whoever submits it;
    a failed one is submitted anew, and goes on from its last checkpoint.

    Example: segloop job submit train --launcher local
    """
    workspace = Path.cwd()
    jobs = Jobs(workspace)
    submitted = jobs.submit(stage, launcher)
    record, standing = submitted.record, submitted.standing
    facts = {"stage": stage, "launcher": str(record.launcher), "job": record.name, "key": record.key}
    told = {"state": standing.state, "attempt": standing.attempt, "handle": standing.handle}
    tell(**facts, **told, finished=standing.state is State.SUCCEEDED, **_pod(workspace, submitted))
    print(f"{stage} ({record.launcher}, {record.name[:12]}): {submitted.said}")


def _pod(workspace: Path, submitted: Submitted) -> dict[str, object]:
    """The pod that is to be made, as a file and as a fact."""
    if submitted.spec is None or submitted.record.launcher is not LauncherName.KUBERNETES:
        return {}
    pod = pod_of(submitted.spec, read_jobs_params(workspace).kubernetes)
    file = workspace / RECORDS / f"{submitted.record.stage}-pod.yaml"
    write_atomic(file, yaml.safe_dump(pod, sort_keys=False))
    print(f"{file}: kubectl create -f makes the pod; Airflow does it by itself")
    return {"pod": pod, "pod_file": str(file)}


if __name__ == "__main__":
    run(main)
