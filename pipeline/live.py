"""Shows a training in MLflow while it runs: best effort, in a thread of its own."""

import os
import queue
import sys
import threading
from typing import Any

from pipeline.errors import SegloopError

PATIENCE_S = 5  # how long the end of a training waits for the last lines


class LiveLog:
    """Sends the epochs' lines to the run of this training, without a word from the training's own thread.

    Nothing hangs on it: a server that is away costs one warning, lines wait for the next try, and `segloop track`
    completes the run from the files. Without MLFLOW_TRACKING_URI in the environment nothing is sent.

    Args:
        digest: Digest of the training, which finds or names its run.
    """

    def __init__(self, digest: str) -> None:
        self._digest = digest
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._warned = False

    def __call__(self, line: dict[str, Any]) -> None:
        """Take a line, and return at once."""
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._send_all, name="mlflow", daemon=True)
            self._thread.start()
        self._lines.put(line)

    def close(self) -> None:
        """Give the last lines a few seconds."""
        if self._thread is not None:
            self._lines.put(None)
            self._thread.join(PATIENCE_S)

    def _send_all(self) -> None:
        waiting: list[dict[str, Any]] = []
        while (line := self._lines.get()) is not None:
            waiting.append(line)
            if self._send(waiting):
                waiting.clear()

    def _send(self, lines: list[dict[str, Any]]) -> bool:
        from pipeline.tracked_run import run_for
        from pipeline.tracking import configure, log_points, points

        try:
            configure()
            run = run_for(self._digest, name=f"train-{self._digest[:8]}")
            log_points(run, [point for line in lines for point in points(line)])
        except SegloopError as error:
            if not self._warned:
                print(f"warning: no live logging, training goes on. {error}", file=sys.stderr)
            self._warned = True
            return False
        return True
