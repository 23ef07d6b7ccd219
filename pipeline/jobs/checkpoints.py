"""Keeps a job's checkpoints on the DVC remote, so that another machine goes on where this one was taken away."""

import sys
import tarfile
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pipeline.errors import OutageError
from pipeline.jobs.remote_files import RemoteFiles

STORE = Path(".segloop/training")  # where the stage `train` keeps them
NAME = "checkpoints.tar"
LAST = "last.ckpt"  # as the training calls it, whose own modules take seconds to import


@dataclass
class Keeper:
    """Sends the checkpoints of a workspace to the remote from a thread of its own, when they have changed.

    Attributes:
        workspace: The job's.
        remote: The DVC remote.
        folder: The job's on the remote.
        every_s: Between two looks.
    """

    workspace: Path
    remote: RemoteFiles
    folder: str
    every_s: float
    _sent: object = None
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Starts to look."""
        self._sent = self._state()
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Sends what is new since the last look; after success there is nothing."""
        self._end.set()
        assert self._thread is not None
        self._thread.join()
        self._try()

    def restore(self) -> bool:
        """Fetches what an earlier attempt kept, where this machine has none.

        Returns:
            Whether there was any.

        Raises:
            OutageError: The remote does not answer.
        """
        path = f"{self.folder}/{NAME}"
        store = self.workspace / STORE
        if store.exists() or not self.remote.has(path):
            return False
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / NAME
            self.remote.get(path, file)
            with tarfile.open(file) as archive:
                archive.extractall(store, filter="data")
        return True

    def send(self) -> None:
        """Sends them if they have changed, and are whole: each file is renamed into place, so a look before and after.

        The best is written before the last, and without the last nothing could be resumed.

        Raises:
            OutageError: The remote does not answer.
        """
        state = self._state()
        if not any(path.endswith(f"/{LAST}") for path, _, _ in state) or state == self._sent:
            return
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / NAME
            try:
                with tarfile.open(file, "w") as archive:
                    archive.add(self.workspace / STORE, ".", filter=_without_parts)
            except FileNotFoundError:  # renamed or removed meanwhile
                return
            if self._state() != state:
                return  # the next look finds it at rest
            self.remote.put(file, f"{self.folder}/{NAME}")
        self._sent = state

    def _work(self) -> None:
        while not self._end.wait(self.every_s):
            self._try()

    def _try(self) -> None:
        try:
            self.send()
        except OutageError as error:
            print(f"warning: the checkpoints stay on this machine for now. {error}", file=sys.stderr)

    def _state(self) -> tuple[tuple[str, int, int], ...]:
        found = []
        for file in sorted((self.workspace / STORE).rglob("*.ckpt")):
            try:
                facts = file.stat()
            except FileNotFoundError:
                continue
            found.append((file.as_posix(), facts.st_mtime_ns, facts.st_size))
        return tuple(found)


def _without_parts(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if entry.name.endswith(".part") else entry
