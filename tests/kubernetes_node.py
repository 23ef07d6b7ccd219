"""A stand-in for a node of Kubernetes: runs the container of a pod as a process of this machine, without isolation."""

import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workspace import ROOT

VARIABLE = re.compile(r"\$(\$|\(([^)]*)\))")
# What the image has, and nothing of this process's environment.
IMAGE = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
KILLED = 137


def now() -> str:
    """The time, as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Pod:
    """A pod with its one container.

    Attributes:
        body: What the API knows of it, beside the status.
        folder: Holds its volumes.
        secrets: What the namespace's Secrets hold, by their names.
        lines: What the container said, each with its time.
    """

    body: dict[str, Any]
    folder: Path
    secrets: dict[str, dict[str, str]]
    lines: list[tuple[datetime, str]] = field(default_factory=list)
    reason: str | None = None
    _state: dict[str, Any] = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    _process: subprocess.Popen[str] | None = None
    _thread: threading.Thread | None = None
    _stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])

    @property
    def container(self) -> dict[str, Any]:
        """The container, as it was asked for."""
        found: dict[str, Any] = self.body["spec"]["containers"][0]
        return found

    @property
    def phase(self) -> str:
        """Where it stands, as Kubernetes calls it."""
        if self.reason:
            return "Failed"
        if "terminated" in self._state:
            return "Failed" if self._state["terminated"]["exitCode"] else "Succeeded"
        return "Running" if "running" in self._state else "Pending"

    @property
    def number(self) -> int:
        """The container's first process, as this machine numbers it."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What the container exited with; None before."""
        ended = self._state.get("terminated")
        return ended["exitCode"] if ended else None

    @property
    def said(self) -> list[str]:
        """The lines, without times."""
        return [line for _, line in self.lines]

    def start(self) -> None:
        """Starts the container; without its Secret it waits, as the kubelet lets it."""
        with self._lock:
            if not self._stopped:
                self._start()

    def _start(self) -> None:
        wanted = [each["secretRef"]["name"] for each in self.container.get("envFrom", [])]
        missing = [name for name in wanted if name not in self.secrets]
        if missing:
            self._state = {"waiting": {"reason": "CreateContainerConfigError", "message": f'"{missing[0]}" not found'}}
            return
        command, environment, where = self._line(wanted)
        self._process = subprocess.Popen(
            command,
            cwd=where,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._state = {"running": {"startedAt": now()}}
        self._thread = threading.Thread(target=self._work, args=(self._process,), name=self.name)
        self._thread.start()

    def stop(self, grace_s: float, reason: str | None = None) -> None:
        """Ends the container: asks its first process, waits, and kills all that is left.

        Args:
            grace_s: How long it may take; 0 kills at once.
            reason: Why the pod as a whole has failed, such as Evicted.
        """
        with self._lock:
            self._stopped = True
        process = self._process
        if process and process.poll() is None:
            self.reason = reason
            if grace_s:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._kill()
        if self._thread:
            self._thread.join(30)

    def as_json(self) -> dict[str, Any]:
        """The pod, as the API gives it."""
        started = "waiting" not in self._state
        status = {
            "phase": self.phase,
            "startTime": self.body["metadata"]["creationTimestamp"],
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [
                {
                    "name": self.container["name"],
                    "image": self.container["image"],
                    "imageID": "",
                    "ready": "running" in self._state,
                    "restartCount": 0,
                    "started": started,
                    "state": self._state,
                }
            ],
        }
        return {**self.body, "status": status | ({"reason": self.reason} if self.reason else {})}

    def _line(self, secrets: list[str]) -> tuple[list[str], dict[str, str], str]:
        """Command, environment and working folder: paths into the pod's volumes become paths into its folder."""
        places = {mount["mountPath"]: self.folder / mount["name"] for mount in self.container["volumeMounts"]}
        for place in places.values():
            place.mkdir(parents=True, exist_ok=True)

        def here(text: str) -> str:
            inside = [mount for mount in places if text == mount or text.startswith(f"{mount}/")]
            return f"{places[inside[0]]}{text.removeprefix(inside[0])}" if inside else text

        known: dict[str, str] = {}
        for name in secrets:
            known |= self.secrets[name]
        for each in self.container["env"]:
            known[each["name"]] = here(expanded(each["value"], known))
        words = [here(expanded(word, known)) for word in (*self.container["command"], *self.container["args"])]
        return words, IMAGE | known, here(self.container["workingDir"])

    def _work(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append((datetime.now(UTC), line.rstrip("\n")))
        code = process.wait()
        self._kill()  # with the first process of a container all others end
        process.stdout.close()
        exit_code = code if code >= 0 else 128 - code
        ended = {"exitCode": exit_code, "reason": "Error" if code else "Completed", "finishedAt": now()}
        self._state = {"terminated": ended}

    def _kill(self) -> None:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def expanded(text: str, known: dict[str, str]) -> str:
    """Puts variables in the place of `$(NAME)`, and `$` in that of `$$`, as Kubernetes does; unknown ones stay."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[1] == "$" else known.get(match[2], match[0])

    return VARIABLE.sub(value, text)
