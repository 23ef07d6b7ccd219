"""The verdict that a release rests on: given on today's bytes, by the stages that give it anywhere else."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline.errors import UserError, VerdictError
from pipeline.files import read_json
from pipeline.parts import refuse_absent
from pipeline.releasing.content import REMEDY, VALIDATION
from pipeline.releasing.making import Making
from pipeline.splits import check_appended, parse_ledger, read_ledger


def validate(making: Making) -> None:
    """Brings catalogue and verdict in line with today's bytes.

    Raises:
        VerdictError: The dataset fails.
        UserError: It is not in the workspace, could not be judged, or the split ledger was rewritten since the last
            release.
    """
    refuse_absent(making.root / making.paths.path)
    making.judged = making.digests()
    _check_ledger(making)
    verdict = making.stages / VALIDATION / "verdict.json"
    before = _stamp(verdict)
    done = _repro(making.stages, rehearsed=making.rehearsed)
    if done and _stamp(verdict) != before and not read_json(verdict, REMEDY)["passed"]:
        pages = f"see {VALIDATION}/docs/index.html"
        raise VerdictError(
            "The dataset fails its validation, so there is no release: "
            f"{f'{REMEDY}, then {pages}' if making.rehearsed else pages}."
        )
    if done:
        raise UserError("`dvc repro validate` failed, and says above why: there is no release without a verdict.")


def _repro(folder: Path, *, rehearsed: bool) -> int:
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # stages are `python -m ...`
    environment = os.environ | {"PATH": here}
    words = ["repro", "validate"]
    if rehearsed:
        # Elsewhere DVC would remember the folder of the rehearsal, and put what it makes into the cache.
        environment |= {"DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "site")}
        words.append("--no-commit")
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def _check_ledger(making: Making) -> None:
    """What models learnt from must not become holdout by an edit: rows are only added to what the last release had."""
    ledger = making.paths.splits
    before = making.git.show(making.last, ledger) if making.last else None
    if making.last and before is not None:
        check_appended(
            parse_ledger(f"{before}\n", f"{ledger} of {making.last}"), read_ledger(making.root / ledger), making.last
        )


def _stamp(file: Path) -> tuple[int, int] | None:
    """Changes whenever a file is written anew."""
    if not file.exists():
        return None
    facts = file.stat()
    return facts.st_mtime_ns, facts.st_ino
