"""Launcher `kubernetes`: the pod that computes a job. Airflow, or `kubectl create`, makes it and follows it."""

import os
import re
from typing import Any

from pipeline.errors import UserError
from pipeline.jobs.params import KubernetesParams
from pipeline.jobs.spec import Spec
from pipeline.provenance import USERINFO

CONTAINER = "base"  # as Airflow's operator calls the one that counts
USER = 1000  # of the image, ops/docker/Dockerfile: DVC asks what its user is called, and ends where nobody knows
WORK = "/work"
GRACE_S = 60
LABEL_LENGTH = 63  # at most, of a label's value


def pod_of(spec: Spec, params: KubernetesParams) -> dict[str, Any]:
    """A job's pod, as Kubernetes reads it; it holds no secret, only the name of one.

    Args:
        spec: The job.
        params: The cluster.

    Raises:
        UserError: A variable that is to travel holds a password in its address.
    """
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(spec, params), "spec": _spec(spec, params)}


def _metadata(spec: Spec, params: KubernetesParams) -> dict[str, Any]:
    return {
        "generateName": f"segloop-{_plain(spec.stage, 32)}-{spec.name[:8]}-",  # Kubernetes adds to at most 58
        "namespace": params.namespace,
        "labels": {
            "app.kubernetes.io/name": "segloop",
            "app.kubernetes.io/component": "training",
            "segloop/job": spec.name,
            "segloop/stage": _plain(spec.stage, LABEL_LENGTH),
        },
        "annotations": {"segloop/release": spec.release or "", "segloop/commit": spec.commit},
    }


def _spec(spec: Spec, params: KubernetesParams) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",  # a retry is decided by the exit code
        "activeDeadlineSeconds": params.deadline_s,
        "terminationGracePeriodSeconds": GRACE_S,
        "serviceAccountName": params.service_account,
        "automountServiceAccountToken": False,
        "nodeSelector": params.node_selector,
        "tolerations": params.tolerations,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": params.shared_memory}},
            {"name": "work", "emptyDir": {"sizeLimit": params.work}},
        ],
        "containers": [_container(spec, params)],
    }


def _container(spec: Spec, params: KubernetesParams) -> dict[str, Any]:
    gpus = {"nvidia.com/gpu": str(params.gpus)} if params.gpus else {}
    said = spec.model_dump_json(exclude_none=True)
    return {
        "name": CONTAINER,
        "image": params.image,
        "command": ["python", "-u", "-m", "pipeline.job_run"],
        "args": [_literal(said), "--work", f"{WORK}/{spec.name}"],
        "workingDir": WORK,
        "env": [
            {"name": "HOME", "value": WORK},  # the only place, beside TMPDIR, that may be written
            {"name": "TMPDIR", "value": WORK},
            {"name": "DVC_SITE_CACHE_DIR", "value": f"{WORK}/.dvc-site"},
            *({"name": name, "value": _carried(name)} for name in params.env if name in os.environ),
        ],
        "envFrom": [{"secretRef": {"name": params.secret}}],
        "resources": {
            "requests": {"cpu": params.cpus, "memory": params.memory, **gpus},
            "limits": {"memory": params.memory, **gpus},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 - Linux's shared memory, this pod's own
            {"name": "work", "mountPath": WORK},
        ],
    }


def _plain(text: str, length: int) -> str:
    """What names and labels of Kubernetes allow; DVC allows more, such as `train@large`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:length].strip("-")


def _literal(text: str) -> str:
    """Text that Kubernetes takes as it is: it would put variables in the place of `$(NAME)`."""
    return text.replace("$", "$$")


def _carried(name: str) -> str:
    value = os.environ[name]
    if USERINFO.search(value):
        raise UserError(
            f"The address in {name} holds a password, which would stand in the pod for all to read. Take {name} out of "
            "`jobs.kubernetes.env` in params.yaml, and put it into the Secret that `jobs.kubernetes.secret` names."
        )
    return _literal(value)
