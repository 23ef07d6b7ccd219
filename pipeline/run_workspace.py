"""The workspace of a training run: named by what it trains, finished once, recorded on a branch of its own."""

import fcntl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import yaml
from pydantic import Field

from pipeline.errors import OutageError, UserError
from pipeline.files import read_json, sha256_file, write_atomic
from pipeline.jobs.processes import members
from pipeline.jobs.snapshot import Plumbing
from pipeline.jobs.source import files_of
from pipeline.params import Section, parse, read_yaml
from pipeline.releasing.git import PATTERN, Git
from pipeline.run_key import code_digest, key_of
from pipeline.workspaces import MARKER, Wanted, check_wanted, make_workspace

FOLDER = Path(".segloop/workspaces")
RECORD = "run.json"
SETTLE_S = 10.0


class WorkspaceParams(Section):
    """Section `workspace`.

    Attributes:
        max_report_bytes: Largest file that is committed beside lock and params.
    """

    max_report_bytes: int = Field(ge=1)


class RunRecord(Section):
    """What a run ended in, as its branch says.

    Attributes:
        schema_version: Of this form.
        key: The run's.
        release: As it was asked for.
        release_commit: The commit that the release is.
        commit: Code and params.
        overrides: Params by `section.key`.
        state: A finished run is not run again; a failed one may be.
        version: That it registered.
        verdict: Of the gate.
        note: In words.
        reports: Digests of the reports that were committed, by path.
    """

    schema_version: Literal[1] = 1
    key: str
    release: str
    release_commit: str
    commit: str
    overrides: dict[str, Any]
    state: Literal["finished", "failed"]
    version: str | None = None
    verdict: str | None = None
    note: str = ""
    reports: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """A run's workspace.

    Attributes:
        folder: Where it is.
        key: The run's.
        commit: Code and params; of a finished run those that it was made of.
        record: What the run ended in, where it has; the workspace need not be there then.
        held_by: Another owner, for whose sake it was left alone.
    """

    folder: Path
    key: str
    commit: str
    record: RunRecord | None
    held_by: str | None = None

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.record is not None and self.record.state == "finished"


@dataclass(frozen=True)
class Ended:
    """What is to be recorded of a run.

    Attributes:
        state: How it ended.
        version: That it registered.
        verdict: Of the gate.
        note: In words.
    """

    state: Literal["finished", "failed"]
    version: str | None = None
    verdict: str | None = None
    note: str = ""


def branch_of(key: str) -> str:
    """The branch of a run."""
    return f"runs/{key}"


def record_of(root: Path, key: str) -> RunRecord | None:
    """What a run ended in; None where it has not."""
    text = Git(root).ask("show", f"refs/heads/{branch_of(key)}:{RECORD}")
    return parse(RunRecord, yaml.safe_load(text), f"{branch_of(key)}:{RECORD}") if text else None


def make_run(
    root: Path,
    release: str,
    overrides: Mapping[str, Any],
    say: Callable[[str], None] = print,
    *,
    owner: str | None = None,
    instead_of: str | None = None,
) -> Made:
    """Makes a run's workspace, or finishes it; one whose run has finished is not made.

    The run is named by the release, by params, and by the content of HEAD but for what releases and decisions commit:
    they change nothing of a run on another release.

    Args:
        root: The project's checkout; its HEAD is the run's code.
        release: A tag, or any revision with a dataset.
        overrides: Params by `section.key`.
        say: Takes a line for the terminal.
        owner: Who works in it from now; a workspace of another owner is left alone. None asks nobody.
        instead_of: An owner whose work is over.

    Raises:
        UserError: There is no such release or param.
        OutageError: The DVC remote does not answer, or HEAD moved meanwhile.
    """
    git = Git(root)
    commit = git.head()
    key = key_of(git, release, commit, overrides)
    folder = (root / FOLDER / key).resolve()
    wanted = Wanted(root, release, folder, overrides=overrides, say=say)
    check_wanted(wanted, None)
    record = record_of(root, key)
    if record and record.state == "finished":
        return Made(folder, key, record.commit, record)
    with alone(root, key):
        if holder := _holder(root, key, owner, instead_of):
            return Made(folder, key, commit, record, held_by=holder)
        make_workspace(wanted)
    there = read_json(folder / MARKER, "make it again")["commit"]
    if there != commit and code_digest(git, there) != code_digest(git, commit):
        raise OutageError(f"HEAD of {root} moved from {commit[:10]} to {there[:10]} meanwhile. The same command again.")
    return Made(folder, key, there, record)


def _holder(root: Path, key: str, owner: str | None, instead_of: str | None) -> str | None:
    """The owner of a workspace when it is another one; else it is taken."""
    if owner is None:
        return None
    file = root / FOLDER / f".{key}.owner"
    holder = file.read_text(encoding="utf-8") if file.exists() else owner
    if holder not in {owner, instead_of}:
        return holder
    write_atomic(file, owner)
    return None


def commit_run(root: Path, folder: Path, ended: Ended, reports: list[Path], max_bytes: int) -> str | None:
    """Commits what a run decided and measured to its branch, without a checkout of it.

    Args:
        root: The project's checkout.
        folder: The run's workspace.
        ended: What it ended in.
        reports: Further files of the workspace, relative to it.
        max_bytes: Largest of them.

    Returns:
        The commit; None when the branch says all of it already.

    Raises:
        UserError: A report is too large or lies elsewhere, or this is no run's workspace.
    """
    begun = read_json(folder / MARKER, "make it by segloop workspace make RELEASE")
    files = _reports(folder, reports, max_bytes)
    record = RunRecord(
        key=folder.name,
        release=_release_name(root, begun["release"]),
        release_commit=begun["release"],
        commit=begun["commit"],
        overrides=begun["overrides"],
        reports={file.as_posix(): sha256_file(folder / file) for file in files},
        **vars(ended),
    )
    with alone(root, folder.name):
        return _commit(folder, record, files)


def _commit(folder: Path, record: RunRecord, files: list[Path]) -> str | None:
    git, ref = Plumbing(folder), f"refs/heads/{branch_of(record.key)}"
    said = record.model_dump_json(indent=2, exclude_none=True) + "\n"
    tree = git.tree(record.commit, [*files_of(folder), *files], {RECORD: said})
    tip = git.resolve(ref)
    if tip and git.resolve(f"{tip}^{{tree}}") == tree:
        return None
    subject = f"Run {record.key} on {record.release}: {record.state}"
    told = [f"{name}: {value}" for name, value in (("version", record.version), ("gate", record.verdict)) if value]
    message = "\n".join([subject, "", *told, *([record.note] if record.note else [])]).rstrip() + "\n"
    commit = git.commit(tree, tip or record.commit, message)
    git.git("update-ref", ref, commit, tip or "0" * len(commit))
    return commit


def _reports(folder: Path, named: list[Path], max_bytes: int) -> list[Path]:
    """The metrics files of dvc.yaml that are there, and those that were named."""
    listed = read_yaml(folder / "dvc.yaml").get("metrics", [])
    assert isinstance(listed, list)
    metrics = [Path(each) for each in listed if isinstance(each, str) and (folder / each).is_file()]
    for file in named:
        if not (folder / file).resolve().is_relative_to(folder.resolve()) or not (folder / file).is_file():
            raise UserError(f"{file} is no file of the workspace {folder}.")
    files = sorted({Path(file) for file in (*metrics, *named)})
    for file in files:
        size = (folder / file).stat().st_size
        if size > max_bytes:
            raise UserError(
                f"{file} has {size} bytes, more than workspace.max_report_bytes ({max_bytes}): git keeps it for ever. "
                "Leave it to DVC, or raise the limit."
            )
    return files


def _release_name(root: Path, commit: str) -> str:
    """The release's tag, or the commit where it has none."""
    return (Git(root).ask("tag", "--points-at", commit, "--list", PATTERN) or commit).splitlines()[0]


def find_workspace(root: Path, name: str) -> Path:
    """A workspace under the project's folder of workspaces, by its name.

    Raises:
        UserError: There is none.
    """
    folder = root / FOLDER / name
    if Path(name).name != name or not (folder / MARKER).exists():
        there = sorted(each.parent.parent.name for each in (root / FOLDER).glob(f"*/{MARKER}"))
        raise UserError(f"There is no workspace {name!r} in {root / FOLDER}. There: {', '.join(there) or 'none'}.")
    return folder.resolve()


def remove_workspace(root: Path, folder: Path, *, unfinished: bool) -> None:
    """Removes a workspace; what its run recorded stays on the branch, what it computed in DVC's cache.

    Args:
        root: The project's checkout.
        folder: The workspace.
        unfinished: Also one whose run has no finished record.

    Raises:
        UserError: Something works in it, or its run has not finished.
    """
    with alone(root, folder.name):
        at_work = _at_work(folder)
        if at_work:
            raise UserError(f"{folder} is at work: process {', '.join(str(each.pid) for each in at_work)}.")
        record = record_of(root, folder.name)
        if not unfinished and not (record and record.state == "finished"):
            raise UserError(f"The run of {folder} has no finished record. Remove it all the same by --unfinished.")
        git = Git(root)
        git.do("worktree", "remove", "--force", "--force", str(folder))
        git.do("worktree", "prune")


def _at_work(folder: Path) -> list[psutil.Process]:
    """Processes that work in a folder; DVC leaves some behind that end by themselves."""
    deadline = time.monotonic() + SETTLE_S
    while (found := members(None, folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


@contextmanager
def alone(root: Path, key: str) -> Iterator[None]:
    """Lets one at a time make, commit or remove a run's workspace."""
    file = root / FOLDER / f".{key}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
