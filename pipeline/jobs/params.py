"""Section `jobs`: which launcher, and what each one needs."""

import re
from enum import StrEnum
from pathlib import Path

from pydantic import Field, field_validator

from pipeline.params import Section, read_section
from pipeline.provenance import SECRET_NAME

PARAMS = Path("params.yaml")
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


class LauncherName(StrEnum):
    """Where a job runs."""

    LOCAL = "local"
    RAY = "ray"
    KUBERNETES = "kubernetes"


class RayParams(Section):
    """A Ray cluster.

    Attributes:
        address: Of its dashboard; the environment's RAY_ADDRESS goes first.
        cpus: Held by the job.
        gpus: Likewise.
        work: Folder on the cluster's machines that jobs work in.
        python: The interpreter there, which has the project's packages.
        env: Names of variables that travel from here, such as MLFLOW_TRACKING_URI. Never secrets: Ray shows them.
    """

    address: str
    cpus: float = Field(ge=0)
    gpus: float = Field(ge=0)
    work: str
    python: str
    env: list[str]

    @field_validator("env")
    @classmethod
    def _no_secrets(cls, names: list[str]) -> list[str]:
        return _public(names)


class KubernetesParams(Section):
    """Pods of a Kubernetes cluster.

    Attributes:
        image: The trainer's image, with a tag or digest.
        namespace: Where pods are made.
        gpus: Limit of nvidia.com/gpu; 0 asks for none.
        cpus: Requested, as Kubernetes writes quantities.
        memory: Requested and limit.
        shared_memory: Size of /dev/shm, which processes of one training share batches through.
        work: Size of the scratch volume.
        secret: Name of the Secret whose keys become the environment: credentials of the DVC remote.
        service_account: Whose rights the pod has; it needs none in the cluster.
        deadline_s: The pod is ended after this long.
        node_selector: Labels that a node must have.
        tolerations: Taints that are tolerated, as Kubernetes writes them.
        env: Names of variables that travel from here. Never secrets: they stand in the pod.
    """

    image: str
    namespace: str
    gpus: int = Field(ge=0)
    cpus: str
    memory: str
    shared_memory: str
    work: str
    secret: str
    service_account: str
    deadline_s: int = Field(ge=1)
    node_selector: dict[str, str]
    tolerations: list[dict[str, str | int]]
    env: list[str]

    @field_validator("env")
    @classmethod
    def _no_secrets(cls, names: list[str]) -> list[str]:
        return _public(names)

    @field_validator("image")
    @classmethod
    def _pinned(cls, image: str) -> str:
        tag = image.rpartition("/")[2]
        if "@" not in tag and (":" not in tag or tag.endswith(":latest")):
            raise ValueError("name a tag other than 'latest', or a digest: a job must run what was tested")
        return image

    @field_validator("cpus", "memory", "shared_memory", "work")
    @classmethod
    def _quantity(cls, value: str) -> str:
        if not QUANTITY.fullmatch(value):
            raise ValueError("a quantity of Kubernetes, such as '4', '500m' or '16Gi'")
        return value


class JobsParams(Section):
    """Section `jobs`.

    Attributes:
        launcher: Where jobs run, unless a run says otherwise.
        poll_s: Between looks at a job.
        stop_s: How long a cancelled job may take to end by itself.
        slots: How many local jobs run at a time; others wait.
        checkpoint_s: A job on another machine keeps its checkpoints on the DVC remote this often.
        max_bundle_bytes: Largest git bundle that is put onto the DVC remote.
        ray: A Ray cluster.
        kubernetes: Pods.
    """

    launcher: LauncherName
    poll_s: float = Field(gt=0)
    stop_s: float = Field(ge=0)
    slots: int = Field(ge=1)
    checkpoint_s: float = Field(gt=0)
    max_bundle_bytes: int = Field(ge=1)
    ray: RayParams
    kubernetes: KubernetesParams


def read_jobs_params(workspace: Path) -> JobsParams:
    """The section `jobs` of a workspace.

    Raises:
        UserError: It is missing or wrong.
    """
    return read_section(JobsParams, "jobs", workspace / PARAMS)


def _public(names: list[str]) -> list[str]:
    secret = [name for name in names if SECRET_NAME.search(name)]
    if secret:
        raise ValueError(f"{', '.join(secret)} may hold a secret: the machine that runs the job must have it by itself")
    return names
