"""The MLflow run that belongs to a training: found by its digest, or created, one whoever asks."""

import os
import time
from pathlib import Path

from pipeline.provenance import TRIGGER_VARIABLE, git_commit, trainer
from pipeline.tracking import AUTHOR_TAG, COMMIT_TAG, DIGEST_TAG, DIRTY_TAG, TRIGGER_TAG, client, experiment, outage

TICKET_TAG = "segloop.ticket"
DOORWAY_S = 15.0  # whoever has not drawn a ticket by then was killed
LOOK_S = 0.05


def run_for(digest: str, *, name: str) -> str:
    """Finds the run of a training, or creates it.

    MLflow has no name that only one run can bear, so that those who create at once draw tickets: Lamport's bakery
    ("A New Solution of Dijkstra's Concurrent Programming Problem", 1974), with a run as the place in the queue. Who
    comes first by the clock of a client is no rule: its run may become visible after another's has won.

    Args:
        digest: The digest of `training.json`; it is the run's tag `segloop.digest`.
        name: The name that a new run gets.

    Returns:
        The run's id: the same one for the same digest, whoever asks, also when two ask at once.

    Raises:
        OutageError: The store is away.
    """
    with outage("creating the run"):
        return _first(digest) or _enter(digest, name)


def find_run(digest: str) -> str | None:
    """The id of the run of a training, None when there is none.

    Raises:
        OutageError: The store is away.
    """
    with outage("looking for the run"):
        return _first(digest)


def _enter(digest: str, name: str) -> str:
    """Creates a run, and gives it up where another is first."""
    mine = str(client().create_run(experiment(), run_name=name, tags=_birth_tags(digest)).info.run_id)
    last = max((ticket or 0 for ticket, _ in _queue(digest).values()), default=0)
    client().set_tag(mine, TICKET_TAG, str(last + 1))
    first = _first(digest)
    if first != mine:
        client().delete_run(mine)
    return first or mine


def _first(digest: str) -> str | None:
    """The run with the lowest ticket, once all who were there have drawn one.

    A run that has none for long was made by an earlier version, or by somebody who was killed: it is the first.
    """
    deadline = time.monotonic() + DOORWAY_S
    while True:
        queue, now_ms = _queue(digest), time.time() * 1000
        young = [ticket is None and now_ms - born_ms < DOORWAY_S * 1000 for ticket, born_ms in queue.values()]
        if not any(young) or time.monotonic() > deadline:
            return min(queue, key=lambda run: (queue[run][0] or 0, run), default=None)
        time.sleep(LOOK_S)


def _queue(digest: str) -> dict[str, tuple[int | None, int]]:
    """By run: its ticket, None as long as it has none, and when it was made, in milliseconds since 1970."""
    found = client().search_runs([experiment()], f"tags.`{DIGEST_TAG}` = '{digest}'")
    return {run.info.run_id: (_ticket(run.data.tags), int(run.info.start_time)) for run in found}


def _ticket(tags: dict[str, str]) -> int | None:
    return int(tags[TICKET_TAG]) if TICKET_TAG in tags else None


def _birth_tags(digest: str) -> dict[str, str]:
    """A run's tags from its creation on: the code is the one of that moment, whenever the run is completed."""
    tags = {DIGEST_TAG: digest, "mlflow.source.name": "pipeline.train", "mlflow.source.type": "LOCAL"}
    tags[AUTHOR_TAG] = trainer(Path())
    if by_hand := os.environ.get(TRIGGER_VARIABLE):
        tags[TRIGGER_TAG] = by_hand
    commit = git_commit(Path())
    if commit is None:
        return tags
    return {**tags, COMMIT_TAG: commit.sha, DIRTY_TAG: str(commit.dirty).lower()}
