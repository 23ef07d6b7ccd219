"""Launcher `kubernetes`: the pod that computes a job. Airflow, or `kubectl create`, makes it and follows it."""

import os
from typing import Any

from pipeline.jobs.params import KubernetesParams
from pipeline.jobs.spec import Spec

CONTAINER = "base"  # as Airflow's operator calls the one that counts
USER = 10001
WORK = "/work"
GRACE_S = 60


def pod_of(spec: Spec, params: KubernetesParams) -> dict[str, Any]:
    """A job's pod, as Kubernetes reads it; it holds no secret, only the name of one.

    Args:
        spec: The job.
        params: The cluster.
    """
    labels = {
        "app.kubernetes.io/name": "segloop",
        "app.kubernetes.io/component": "training",
        "segloop/job": spec.name,
        "segloop/stage": spec.stage,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"segloop-{spec.stage.replace('_', '-')}-{spec.name[:8]}-",
            "namespace": params.namespace,
            "labels": labels,
            "annotations": {"segloop/release": spec.release or "", "segloop/commit": spec.commit},
        },
        "spec": {
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
        },
    }


def _container(spec: Spec, params: KubernetesParams) -> dict[str, Any]:
    gpus = {"nvidia.com/gpu": str(params.gpus)} if params.gpus else {}
    said = spec.model_dump_json(exclude_none=True)
    return {
        "name": CONTAINER,
        "image": params.image,
        "command": ["python", "-u", "-m", "pipeline.job_run"],
        "args": [said, "--work", f"{WORK}/{spec.name}"],
        "workingDir": WORK,
        "env": [
            {"name": "HOME", "value": WORK},  # the only place, beside TMPDIR, that may be written
            {"name": "TMPDIR", "value": WORK},
            {"name": "DVC_SITE_CACHE_DIR", "value": f"{WORK}/.dvc-site"},
            *({"name": name, "value": os.environ[name]} for name in params.env if name in os.environ),
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
