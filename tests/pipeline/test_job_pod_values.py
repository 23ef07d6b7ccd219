"""What stands in a job's pod is what Kubernetes takes, whatever the stage and the variables are called."""

import pytest
from job_case import JOBS
from kubernetes_node import expanded
from kubernetes_rules import problems
from workspace import ROOT

from pipeline.errors import UserError
from pipeline.jobs.kubernetes_pod import USER, pod_of
from pipeline.jobs.params import KubernetesParams
from pipeline.jobs.spec import Remote, Source, Spec


def spec(**changes: object) -> Spec:
    """A job."""
    remote = Remote(name="storage", options={"url": "s3://bucket/prefix"})
    source = Source(bundle="segloop/jobs/x/y.bundle", ref="refs/segloop/jobs/x")
    facts = {"key": "ab" * 32, "stage": "train", "commit": "cd" * 20, "source": source, "remote": remote}
    return Spec.model_validate(facts | changes)


def params() -> KubernetesParams:
    """A cluster."""
    return KubernetesParams.model_validate(JOBS["kubernetes"])


@pytest.mark.parametrize("stage", ["train", "train_large@Camera-1", "a" * 200, "train@" + "b" * 60 + "@"])
def test_any_name_of_a_stage_makes_a_valid_pod(stage: str) -> None:
    """Names and labels are cut and cleaned; DVC allows more than Kubernetes."""
    assert problems(pod_of(spec(stage=stage), params())) == []


def test_the_rules_find_labels_that_are_too_long() -> None:
    """The stand-in for the API refuses what the schema alone lets pass."""
    pod = pod_of(spec(), params())
    pod["metadata"]["labels"]["segloop/stage"] = "a" * 64
    assert problems(pod)


def test_the_spec_arrives_as_it_was_sent() -> None:
    """Kubernetes puts variables in the place of `$(NAME)` in arguments: here it finds none."""
    job = spec(overrides={"train.note": "$(HOME) costs $5 and $$"})
    argument = pod_of(job, params())["spec"]["containers"][0]["args"][0]
    assert Spec.model_validate_json(expanded(argument, {"HOME": "/work"})) == job


def test_an_address_with_a_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would stand in the pod for all to read; the remedy is the Secret."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:hush@mlflow.example")
    with pytest.raises(UserError, match="the Secret that") as raised:
        pod_of(spec(), params())
    assert "hush" not in str(raised.value)


def test_the_pod_runs_as_the_images_user() -> None:
    """DVC asks what its user is called, and ends where nobody knows."""
    assert f"\nUSER {USER}:{USER}\n" in (ROOT / "ops/docker/Dockerfile").read_text()
