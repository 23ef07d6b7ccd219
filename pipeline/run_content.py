"""What an MLflow run holds: compared with what it shall hold, completed, and read back."""

import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.command import progress
from pipeline.errors import OutageError
from pipeline.files import digest_json, sha256_file
from pipeline.tracking import client, log_points, outage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mlflow.entities import DatasetInput, FileInfo, Metric

COMPLETE_TAG = "segloop.complete"
FILES_TAG = "segloop.files"
PER_BATCH = 100  # the server's own limit for params and tags


@dataclass(frozen=True)
class Content:
    """What a run holds or lacks. Results are figures of which only the newest counts."""

    params: dict[str, str]
    points: "list[Metric]"
    results: dict[str, float]
    datasets: "list[DatasetInput]"
    files: dict[str, Path]
    tags: dict[str, str]

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return any(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        """The counts of what is in it, for people."""
        counts = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing"


def complete(run_id: str, wanted: Content, tags: dict[str, str]) -> Content:
    """Pushes what a run lacks, then reads the run back.

    Args:
        run_id: The run.
        wanted: What it shall hold.
        tags: The tags it shall bear; they go last, with the one that says that the run is complete.

    Returns:
        What had to be pushed, the tags aside.

    Raises:
        OutageError: The store is away, or something pushed is not there afterwards.
    """
    from mlflow.entities import RunTag

    with outage("completing the run"):
        lacking = missing(run_id, wanted)
        push(run_id, lacking)
        lost = missing(run_id, wanted, trust_files=True)
        if lost:
            raise OutageError(f"MLflow took everything for run {run_id} but lacks {lost}. Run the command again.")
        tags = {**tags, FILES_TAG: _manifest(wanted.files), COMPLETE_TAG: "true"}
        present = client().get_run(run_id).data.tags
        fresh = [RunTag(key, value) for key, value in tags.items() if present.get(key) != value]
        client().log_batch(run_id, tags=fresh, synchronous=True)
        if client().get_run(run_id).info.status != "FINISHED":
            client().set_terminated(run_id, "FINISHED")
    return lacking


def missing(run_id: str, wanted: Content, *, trust_files: bool = False) -> Content:
    """Reads the run and says what of the wanted content it lacks.

    A param that is there with another value is not lacking: MLflow cannot change it, and the file params.yaml among
    the artifacts has the present one. A point counts by metric, epoch and value, whenever it was logged.

    Args:
        run_id: The run.
        wanted: What it shall hold.
        trust_files: Whether a file of the right name and size is taken for the right one; otherwise they are only
            when the run's tag says that these very files were pushed.
    """
    held = client().get_run(run_id)
    there = _points(run_id, {point.key for point in wanted.points})
    datasets = {
        (each.dataset.name, each.dataset.digest) for each in (held.inputs.dataset_inputs if held.inputs else [])
    }
    trusted = trust_files or held.data.tags.get(FILES_TAG) == _manifest(wanted.files)
    stored = _sizes(run_id) if trusted else {}
    return Content(
        params={key: value for key, value in wanted.params.items() if key not in held.data.params},
        points=[each for each in wanted.points if (each.key, each.step, each.value) not in there],
        results={key: value for key, value in wanted.results.items() if held.data.metrics.get(key) != value},
        datasets=[d for d in wanted.datasets if (d.dataset.name, d.dataset.digest) not in datasets],
        files={name: file for name, file in wanted.files.items() if stored.get(name) != file.stat().st_size},
        tags={},
    )


def push(run_id: str, content: Content) -> None:
    """Logs content to the run, in batches and synchronously."""
    from mlflow.entities import Metric, Param

    store = client()
    entries = [Param(key, value) for key, value in content.params.items()]
    for start in range(0, len(entries), PER_BATCH):
        store.log_batch(run_id, params=entries[start : start + PER_BATCH], synchronous=True)
    now_ms = time.time_ns() // 1_000_000
    log_points(run_id, content.points)
    log_points(run_id, [Metric(key, value, now_ms, 0) for key, value in content.results.items()])
    if content.datasets:
        store.log_inputs(run_id, content.datasets)
    for name, file in progress(content.files.items(), total=len(content.files), label="files to MLflow"):
        folder, _, _ = name.rpartition("/")
        store.log_artifact(run_id, str(file), folder or None)


def sizes(entries: "Iterable[FileInfo]", inside: "Callable[[str], Iterable[FileInfo]]") -> dict[str, int]:
    """The size of every stored file by its path.

    Args:
        entries: A folder's entries.
        inside: Lists a folder by its path.
    """
    found: dict[str, int] = {}
    for entry in entries:
        found |= sizes(inside(entry.path), inside) if entry.is_dir else {entry.path: int(entry.file_size or 0)}
    return found


def _points(run_id: str, keys: set[str]) -> set[tuple[str, int, float]]:
    return {(key, each.step, each.value) for key in keys for each in client().get_metric_history(run_id, key)}


def _sizes(run_id: str) -> dict[str, int]:
    store = client()
    return sizes(store.list_artifacts(run_id), lambda folder: store.list_artifacts(run_id, folder))


def _manifest(files: dict[str, Path]) -> str:
    return digest_json({name: sha256_file(file) for name, file in files.items()})
