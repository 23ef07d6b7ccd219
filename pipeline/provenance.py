"""Where results come from: the commit, the dataset's hash, and settings without what must not leave the machine."""

import getpass
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.params import read_yaml

AUTHOR_VARIABLE = "SEGLOOP_AUTHOR"  # whoever submitted the job that this process computes
TRIGGER_VARIABLE = "SEGLOOP_TRIGGERED_BY"  # the account in Airflow of whoever started the run by hand
USERINFO = re.compile(r"(?<=://)[^/@\s]+@")

SECRET_NAME = re.compile(r"password|passwd|secret|token|credential|api_?key", re.IGNORECASE)
HIDDEN = "(hidden)"
WITHOUT_LOCK = ("--", ".", ":(exclude)dvc.lock")


@dataclass(frozen=True)
class Commit:
    """A git commit, and whether tracked files differed from it; dvc.lock records results and does not count."""

    sha: str
    dirty: bool


def git_commit(root: Path) -> Commit | None:
    """The commit that a folder is checked out at; None outside a repository, or before its first commit."""
    sha = _git(root, "rev-parse", "HEAD")
    if sha is None:
        return None
    return Commit(sha.strip(), dirty=bool(_git(root, "status", "--porcelain", "--untracked-files=no", *WITHOUT_LOCK)))


def author(root: Path) -> str:
    """Who works here: git's `user.name`, or else the name of the account."""
    named = (_git(root, "config", "user.name") or "").strip()
    return named or getpass.getuser()


def trainer(root: Path) -> str:
    """Who trains here: whoever submitted the job, since its own machine and clone know nobody, or else `author`."""
    return os.environ.get(AUTHOR_VARIABLE) or author(root)


def dvc_hash(lock: Path, path: str) -> str | None:
    """What DVC says a path's content is, as the last run of a stage that reads or writes it recorded.

    Args:
        lock: The file dvc.lock.
        path: The path as `dvc.yaml` names it.

    Returns:
        For example `3f2a….dir` for a folder; None when no lock exists or no stage names the path.
    """
    stages = read_yaml(lock).get("stages", {}) if lock.exists() else {}
    assert isinstance(stages, dict)
    for stage in stages.values():
        for entry in [*stage.get("deps", []), *stage.get("outs", [])]:
            if PurePosixPath(entry["path"]) == PurePosixPath(path):
                return str(entry["md5"]) if "md5" in entry else None
    return None


def has_changed(lock: Path, stage: str, path: Path) -> bool:
    """Whether a folder has another size or number of files than when a stage last read it.

    This reads no byte of them, so it can be asked every time; `dvc status` knows for certain.

    Args:
        lock: The file dvc.lock.
        stage: The stage's name.
        path: The folder as `dvc.yaml` names it, from the working folder.

    Returns:
        False also where there is nothing to compare: no lock, stage or folder.
    """
    stages = read_yaml(lock).get("stages", {}) if lock.exists() else {}
    assert isinstance(stages, dict)
    deps = stages.get(stage, {}).get("deps", [])
    entry = next((each for each in deps if PurePosixPath(each["path"]) == PurePosixPath(path)), None)
    if entry is None or "nfiles" not in entry or not path.is_dir():
        return False
    sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
    return (len(sizes), sum(sizes)) != (entry["nfiles"], entry["size"])


def without_secrets(text: str) -> str:
    """The text with user names and passwords taken out of its URLs."""
    return USERINFO.sub("", text)


def shareable(value: Any) -> Any:
    """Settings as they may be logged: without credentials, and of absolute paths only the last name."""
    if isinstance(value, dict):
        return {str(key): HIDDEN if _secret(key, each) else shareable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shareable(each) for each in value]
    if isinstance(value, str):
        clean = without_secrets(value)
        return PurePosixPath(clean).name if clean.startswith(("/", "~")) else clean
    return value


def _secret(key: object, value: object) -> bool:
    return isinstance(value, str) and SECRET_NAME.search(str(key)) is not None


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except FileNotFoundError:
        return None  # no git on this machine
    return done.stdout if done.returncode == 0 else None
