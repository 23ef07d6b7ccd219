"""The pod of a job: valid for Kubernetes, without secrets or rights, and the same as the template beside it."""

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from job_case import JOBS
from workspace import ROOT

from pipeline.errors import UserError
from pipeline.jobs.kubernetes_pod import pod_of
from pipeline.jobs.params import JobsParams, KubernetesParams
from pipeline.jobs.spec import Remote, Source, Spec
from pipeline.params import parse

VERSIONS = ("1.33", "1.35", "1.37")  # of Kubernetes, whose OpenAPI schemas the package brings along
TEMPLATE = ROOT / "ops/kubernetes/training-pod.yaml"


def spec(**changes: Any) -> Spec:
    """A job, always the same."""
    source = Source(bundle="segloop/jobs/x/y.bundle", ref="refs/segloop/jobs/x")
    remote = Remote(name="storage", options={"url": "s3://bucket/prefix", "verify": True})
    facts: dict[str, Any] = {"key": "ab" * 32, "stage": "train", "commit": "cd" * 20, "source": source}
    return Spec.model_validate({**facts, "remote": remote, "release": "data/v3", **changes})


def params(**changes: Any) -> KubernetesParams:
    """A cluster."""
    section = JOBS["kubernetes"]
    assert isinstance(section, dict)
    return KubernetesParams.model_validate(section | changes)


@pytest.fixture(autouse=True)
def tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that travels by name."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.segloop:5000")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("gpus", [0, 2])
def test_the_pod_is_valid_for_kubernetes(version: str, gpus: int) -> None:
    """The strict schema of each version, which forbids unknown fields, accepts it with and without GPUs."""
    pod = pod_of(spec(), params(gpus=gpus, node_selector={"gpu": "h100"}))
    kubernetes_validate.validate(pod, version, strict=True)


def test_the_schema_would_find_a_mistake() -> None:
    """A field that Kubernetes does not know, or a wrong type, is an error."""
    pod = pod_of(spec(), params())
    pod["spec"]["restartPolicies"] = "Never"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)
    pod = pod_of(spec(), params())
    pod["spec"]["activeDeadlineSeconds"] = "soon"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)


def test_the_client_reads_the_pod_as_it_is() -> None:
    """Kubernetes' own client, through which Airflow makes the pod, keeps every field."""
    from kubernetes.client import ApiClient

    pod = pod_of(spec(), params())

    class Answer:
        data = json.dumps(pod)

    client = ApiClient()
    assert client.sanitize_for_serialization(client.deserialize(Answer(), "V1Pod")) == pod


def test_gpus_are_a_limit_and_shared_memory_is_a_volume() -> None:
    """GPUs are asked for as Kubernetes wants them, and processes can share batches."""
    pod = pod_of(spec(), params(gpus=2))
    container = pod["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "nvidia.com/gpu" not in pod_of(spec(), params(gpus=0))["spec"]["containers"][0]["resources"]["limits"]
    assert {each["mountPath"]: each["name"] for each in container["volumeMounts"]}["/dev/shm"] == "shared-memory"  # noqa: S108


def test_the_pod_has_no_more_rights_than_it_needs() -> None:
    """No root, no escalation, no capability, no token of the cluster, nothing writable but its volumes."""
    pod = pod_of(spec(), params())
    inside = pod["spec"]["containers"][0]["securityContext"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert (inside["readOnlyRootFilesystem"], inside["allowPrivilegeEscalation"]) == (True, False)
    assert inside["capabilities"] == {"drop": ["ALL"]}


def test_secrets_are_named_and_not_held() -> None:
    """Credentials come from a Secret; a variable that may hold one is refused in params.yaml."""
    pod = pod_of(spec(), params())
    assert pod["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "segloop-remote"}}]
    section = JOBS["kubernetes"]
    assert isinstance(section, dict)
    with pytest.raises(UserError, match="AWS_SECRET_ACCESS_KEY"):
        parse(JobsParams, JOBS | {"kubernetes": section | {"env": ["AWS_SECRET_ACCESS_KEY"]}}, "params.yaml")


@pytest.mark.parametrize("image", ["trainer", "trainer:latest", "registry:5000/trainer"])
def test_an_image_without_a_version_is_refused(image: str) -> None:
    """What runs must be what was tested; a port is no tag."""
    with pytest.raises(ValueError, match="tag other than 'latest'"):
        params(image=image)
    assert params(image=f"registry:5000/trainer@sha256:{'0' * 64}").image


def test_the_pod_carries_the_whole_job() -> None:
    """Its one argument is the spec itself, and its labels find it by the job."""
    pod = pod_of(spec(), params())
    container = pod["spec"]["containers"][0]
    assert Spec.model_validate_json(container["args"][0]) == spec()
    assert pod["metadata"]["labels"]["segloop/job"] == spec().name
    assert all(len(value) <= 63 for value in pod["metadata"]["labels"].values())


def test_the_example_beside_the_runbooks_is_what_is_made() -> None:
    """ops/kubernetes/training-pod.yaml is the pod of the tests' job, for people and linters to look at."""
    assert yaml.safe_load(TEMPLATE.read_text()) == pod_of(spec(), params())


def test_a_spec_names_one_source_and_one_place_for_results() -> None:
    """Neither, or both, is refused."""
    with pytest.raises(ValueError, match="either url or bundle"):
        Source(ref="refs/segloop/jobs/x")
    with pytest.raises(ValueError, match="results have one place"):
        spec(cache="/cache")
    with pytest.raises(ValueError, match="results have one place"):
        spec(remote=None)
    assert Path(spec().folder).parent == Path("segloop/jobs")
