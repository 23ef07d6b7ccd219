"""A stand-in for the API of Kubernetes over HTTP: refuses what Kubernetes would refuse, and runs pods as processes.

It speaks the part that Airflow's KubernetesPodOperator, its trigger and its pod manager use: pods are made, listed by
labels, read, patched and deleted; logs are read and followed; events are listed and watched. It knows nothing of this
project. What it cannot show: scheduling, images, volumes, users, networks, quotas and rights.
"""

import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from kubernetes_node import Pod, now
from kubernetes_rules import chosen, merged, problems

PODS = re.compile(r"/api/v1/namespaces/([^/]+)/(pods|events)(?:/([^/]+))?(/log)?")


class RefusedError(Exception):
    """What the API answers instead of a result: a code, a reason in a word, and a sentence."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.answer = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code} | {
            "reason": reason,
            "message": message,
        }


class Cluster:
    """A cluster of one node.

    Attributes:
        namespace: The only one.
        account: The only service account.
        secrets: What the namespace's Secrets hold, by their names.
        pods: Those that exist, by name.
        made: Every pod that was ever made, in order.
        received: The bodies of all requests, as they came.
        asked: Method and path of each request.
    """

    def __init__(self, folder: Path, namespace: str, account: str, secrets: dict[str, dict[str, str]]) -> None:
        self.folder, self.namespace, self.account, self.secrets = folder, namespace, account, secrets
        self.pods: dict[str, Pod] = {}
        self.made: list[Pod] = []
        self.received: list[str] = []
        self.asked: list[str] = []
        self.events: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._server = _Server(self)

    @contextmanager
    def running(self) -> Iterator["Cluster"]:
        """Answers until the end, and then ends what its pods run."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()
            for pod in self.made:
                pod.stop(0)

    def kubeconfig(self) -> Path:
        """A file that leads clients here."""
        place = {"cluster": "here", "user": "nobody", "namespace": self.namespace}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "here", "context": place}],
            "current-context": "here",
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "kubeconfig"
        file.write_text(yaml.safe_dump(content))
        return file

    def evict(self, pod: Pod) -> None:
        """The node runs out of something: the pod is killed, and stays as one that failed."""
        pod.stop(0, "Evicted")

    def lose(self, pod: Pod) -> None:
        """The node is gone: so is the pod, without a word."""
        pod.stop(0)
        self.pods.pop(pod.name, None)

    def make(self, body: dict[str, Any]) -> dict[str, Any]:
        """Makes a pod and starts it."""
        self._check(body)
        metadata = body["metadata"]
        with self._lock:
            name = metadata.setdefault("name", f"{metadata.get('generateName')}{uuid.uuid4().hex[:5]}")
            if name in self.pods:
                raise RefusedError(409, "AlreadyExists", f'pods "{name}" already exists')
            metadata |= {"uid": str(uuid.uuid4()), "resourceVersion": "1", "creationTimestamp": now()}
            pod = Pod(body, self.folder / "pods" / name, self.secrets)
            self.pods[name] = pod
            self.made.append(pod)
        self._tell(pod, "Scheduled", f"Successfully assigned {name} to here")
        threading.Timer(0.2, self._start, [pod]).start()
        return pod.as_json()

    def find(self, name: str) -> Pod:
        """A pod by its name."""
        if name not in self.pods:
            raise RefusedError(404, "NotFound", f'pods "{name}" not found')
        return self.pods[name]

    def choose(self, selector: str) -> list[dict[str, Any]]:
        """Pods by their labels."""
        return [pod.as_json() for pod in self.pods.values() if chosen(selector, pod.body["metadata"].get("labels", {}))]

    def delete(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        """Ends a pod; it is gone when its process is."""
        pod = self.find(name)
        patience = options.get("gracePeriodSeconds")
        patience = pod.body["spec"].get("terminationGracePeriodSeconds", 30) if patience is None else patience
        pod.body["metadata"]["deletionTimestamp"] = now()

        def end() -> None:
            pod.stop(patience)
            self.pods.pop(name, None)

        threading.Thread(target=end).start()
        return pod.as_json()

    def _start(self, pod: Pod) -> None:
        if pod.name in self.pods:
            pod.start()
            self._tell(pod, "Started", f"Started container {pod.container['name']}")

    def _tell(self, pod: Pod, reason: str, message: str) -> None:
        number = str(len(self.events) + 1)
        about = {"kind": "Pod", "name": pod.name, "namespace": self.namespace, "fieldPath": "spec.containers{base}"}
        metadata = {"name": f"{pod.name}.{number}", "namespace": self.namespace, "uid": number}
        event = {"metadata": metadata | {"resourceVersion": number}, "involvedObject": about, "type": "Normal"}
        self.events.append(event | {"reason": reason, "message": message})

    def _check(self, body: dict[str, Any]) -> None:
        """What the schema says, and what the server checks beside it."""
        invalid = problems(body)
        if invalid:
            raise RefusedError(422, "Invalid", f'Pod "" is invalid: {"; ".join(invalid)}')
        if body["metadata"].get("namespace", self.namespace) != self.namespace:
            raise RefusedError(400, "BadRequest", "the namespace of the object does not match that of the request")
        account = body["spec"].get("serviceAccountName", "default")
        if account != self.account:
            raise RefusedError(403, "Forbidden", f'error looking up service account: "{account}" not found')


class _Handler(BaseHTTPRequestHandler):
    """Answers one request, and ends the connection with it."""

    server: "_Server"

    def do_GET(self) -> None:
        """Reads."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Makes."""
        self._answer(lambda _path, _query, body: self.server.cluster.make(body), 201)

    def do_PATCH(self) -> None:
        """Changes."""
        self._answer(self._patch)

    def do_DELETE(self) -> None:
        """Ends."""
        self._answer(lambda path, query, body: self.server.cluster.delete(path[2], body | _numbers(query)))

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _answer(self, act: Callable[..., Any], code: int = 200) -> None:
        address = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(address.query).items()}
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.server.cluster.asked.append(f"{self.command} {address.path}")
        self.server.cluster.received.append(text)
        try:
            path = _path(address.path, self.server.cluster.namespace)
            answer = act(path, query, json.loads(text) if text else {})
        except RefusedError as refused:
            code, answer = refused.code, refused.answer
        pieces = answer if isinstance(answer, Iterator) else iter([json.dumps(answer)])
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if address.path.endswith("/log") else "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for piece in pieces:
                self.wfile.write(piece.encode())
                self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            return  # whoever asked has heard enough

    def _get(self, path: tuple[str, ...], query: dict[str, str], _: object) -> Any:
        _, kind, name, log = path
        if kind == "events":
            return _events(self.server.cluster, query)
        if not name:
            return _list("PodList", self.server.cluster.choose(query.get("labelSelector", "")))
        pod = self.server.cluster.find(name)
        return _log(pod, query) if log else pod.as_json()

    def _patch(self, path: tuple[str, ...], _: object, body: dict[str, Any]) -> Any:
        pod = self.server.cluster.find(path[2])
        pod.body = merged(pod.body, body)
        return pod.as_json()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cluster = cluster


def _path(path: str, namespace: str) -> tuple[str, ...]:
    found = PODS.fullmatch(path)
    if not found or found[1] != namespace:
        raise RefusedError(404, "NotFound", f"the server could not find the requested resource: {path}")
    return tuple(part or "" for part in found.groups())


def _said(query: dict[str, str], what: str) -> bool:
    return query.get(what, "").lower() in {"true", "1"}


def _numbers(query: dict[str, str]) -> dict[str, Any]:
    return {key: int(value) for key, value in query.items() if value.isdigit()}


def _list(kind: str, items: list[dict[str, Any]], version: int = 1) -> dict[str, Any]:
    return {"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}, "items": items}


def _events(cluster: Cluster, query: dict[str, str]) -> Any:
    name = query.get("fieldSelector", "").partition("involvedObject.name=")[2]

    def after(version: int) -> list[dict[str, Any]]:
        return [
            each
            for each in cluster.events
            if each["involvedObject"]["name"] == name and int(each["metadata"]["resourceVersion"]) > version
        ]

    def watch() -> Iterator[str]:
        seen, end = int(query.get("resourceVersion") or 0), time.monotonic() + float(query.get("timeoutSeconds", 5))
        while time.monotonic() < end:
            for each in after(seen):
                seen = int(each["metadata"]["resourceVersion"])
                yield json.dumps({"type": "ADDED", "object": each}) + "\n"
            time.sleep(0.05)

    if _said(query, "watch"):
        return watch()
    return _list("EventList", after(-1), len(cluster.events))


def _log(pod: Pod, query: dict[str, str]) -> Iterator[str]:
    if pod.phase == "Pending":
        raise RefusedError(400, "BadRequest", f'container "base" in pod "{pod.name}" is waiting to start')
    if query.get("container") not in {None, pod.container["name"]}:
        raise RefusedError(400, "BadRequest", f"container {query['container']} is not valid for pod {pod.name}")
    since = datetime.now(UTC) - timedelta(seconds=int(query.get("sinceSeconds", 10**9)))

    def lines() -> Iterator[str]:
        told = 0
        while True:
            ended = pod.phase != "Running"
            for at, line in pod.lines[told:]:
                told += 1
                if at >= since:
                    yield f"{at:%Y-%m-%dT%H:%M:%S.%f}Z {line}\n" if _said(query, "timestamps") else f"{line}\n"
            if ended or not _said(query, "follow"):
                return
            time.sleep(0.05)

    return lines()
