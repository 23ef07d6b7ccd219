"""Guards what an ingestion writes: against stages that would delete it, other ingestions, and what killed ones left."""

import fcntl
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.errors import UserError
from pipeline.params import read_yaml
from pipeline.part_writer import BATCH_NAME

# How `tempfile.mkdtemp` ends the name of the folder that a whole-or-absent write makes.
RANDOM = r"\.[a-z0-9_]{8}"
OUT_KINDS = ("outs", "metrics", "plots")


def refuse_stage_outs(places: list[Path], workspace: Path) -> None:
    """Refuses to write where a stage of the workspace writes: running it deletes whatever lies there.

    Args:
        places: What is about to be written.
        workspace: The folder whose dvc.yaml names the stages; without one there are no stages.

    Raises:
        UserError: A place lies inside an out of a stage.
    """
    if not (workspace / "dvc.yaml").is_file():
        return
    stages = read_yaml(workspace / "dvc.yaml").get("stages")
    outs = list(_outs(stages, workspace)) if isinstance(stages, dict) else []
    for place in places:
        for stage, out in outs:
            if place.resolve().is_relative_to(out):
                raise UserError(
                    f"{place} would lie in what is made by stage {stage}, which would delete it; "
                    "set dataset.path: data/dataset and dataset.splits: data/splits.csv in params.yaml, or run "
                    "`segloop use` with a folder whose params say so, or name another --dataset and --splits.",
                )


@contextmanager
def locked(*places: Path) -> Iterator[None]:
    """Holds the folders of these places against other ingestions; waits while another one holds any of them.

    The folders themselves are locked, so that no file is left behind; the lock ends with the process.
    """
    with ExitStack() as stack:
        # Sorted, so that two ingestions never wait for each other.
        for folder in sorted({place.resolve().parent for place in places}):
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            _lock(handle, folder)
        yield


def sweep(dataset: Path, ledger: Path) -> None:
    """Removes the temporary folders that killed runs left, which DVC or git would track; call under the lock."""
    for folder, name in ((dataset, BATCH_NAME.pattern), (ledger.parent, re.escape(ledger.name))):
        for path in folder.glob(".*"):
            if re.fullmatch(rf"\.{name}{RANDOM}", path.name) and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)


def _outs(stages: dict[str, object], workspace: Path) -> Iterator[tuple[str, Path]]:
    for name, stage in stages.items():
        body = stage.get("do", stage) if isinstance(stage, dict) else {}
        folder = workspace / str(body.get("wdir", "."))
        for out in (each for kind in OUT_KINDS for each in body.get(kind) or []):
            # An out with options is a mapping of one key, its path.
            path = next(iter(out)) if isinstance(out, dict) else out
            yield str(name), (folder / str(path)).resolve()


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"waiting for another ingestion into {folder}", file=sys.stderr)
        fcntl.flock(handle, fcntl.LOCK_EX)
