"""A workspace of its own for a release: a git worktree with the release's dataset, splits and taxonomy in place.

It shares cache and remotes with the workspace that it comes from, so that what a stage has made of the same inputs
before is taken from there. Run again, each step finds what is done.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UserError, near_names
from pipeline.files import write_atomic, write_json
from pipeline.params import read_yaml
from pipeline.releasing.git import Git
from pipeline.releasing.making import DECISIONS, PARAMS, TAXONOMY
from pipeline.releasing.pointer import Pointer
from pipeline.releasing.reader import Release, open_release
from pipeline.releasing.storage import open_repo, open_storage

MARKER = Path(".segloop/workspace.json")
# What is none of a single run's business, with the reason.
KEPT = {
    "dataset": "the release says where its dataset and its split ledger lie",
    "catalog.custom": "a file of one's own that a stage runs is part of the code: commit it",
    "register": "candidate and champion are of the same name, or nothing compares and reviews them",
    "registry": "there is one decision log, with its reviewers and its promoter",
}


class Code(StrEnum):
    """Whose code and params: today's commit, or the release's own."""

    NOW = "now"
    THEN = "then"


@dataclass(frozen=True)
class Begun:
    """What a workspace was made for; its marker.

    Attributes:
        release: The commit of the release.
        code: Whose code.
        commit: The commit that is checked out.
        overrides: Params that differ from that commit's, by `section.key`.
    """

    release: str
    code: str
    commit: str
    overrides: dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """A workspace that is wanted.

    Attributes:
        root: The workspace that it comes from.
        release: The release's tag, or any revision with a dataset.
        into: Its folder.
        code: Whose code and params.
        overrides: Params by `section.key`.
        say: Takes a line for the terminal.
    """

    root: Path
    release: str
    into: Path
    code: Code = Code.NOW
    overrides: Mapping[str, Any] = field(default_factory=dict)
    say: Callable[[str], None] = print


def make_workspace(wanted: Wanted) -> Release:
    """Makes the workspace, or finishes it: code, params, data.

    Returns:
        The release whose dataset lies in it.

    Raises:
        UserError: There is no such release, the folder holds something else, or a param is unknown.
        OutageError: The DVC remote does not answer.
    """
    release = open_release(wanted.root, wanted.release)
    _checkout(wanted, release)
    _lay_over(wanted, release)
    _share(wanted)
    _fetch(wanted, release)
    return release


def check_wanted(wanted: Wanted, until: str | None) -> None:
    """Refuses what could never be made, before anything is.

    Args:
        wanted: The workspace.
        until: The last stage to run; None for all.

    Raises:
        UserError: There is no such revision, param or stage, or a param cannot be set for one run.
    """
    git = Git(wanted.root)
    if git.commit_of(wanted.release) is None:
        raise UserError(
            f"There is no release {wanted.release!r} here. `segloop releases` lists them; `git fetch --tags`."
        )
    revision = wanted.release if wanted.code is Code.THEN else "HEAD"
    params, stages = (yaml.safe_load(git.show(revision, Path(file)) or "") or {} for file in (PARAMS, "dvc.yaml"))
    for name in wanted.overrides:
        _refuse_unknown_param(params, name)
        _refuse_kept_param(name)
    known = stages.get("stages", {})
    if until is not None and until not in known:
        raise UserError(f"There is no stage '{until}' in {revision}. Stages: {', '.join(known)}.")


def _refuse_unknown_param(params: Mapping[str, Any], name: str) -> None:
    section, *keys = name.split(".")
    place: Any = params.get(section)
    for key in keys[:-1]:
        place = place.get(key) if isinstance(place, dict) else None
    if not isinstance(place, dict) or keys[-1] not in place:
        near = (
            near_names([keys[-1]], map(str, place))
            if isinstance(place, dict)
            else near_names([section], map(str, params))
        )
        raise UserError(f"params.yaml has no '{name}'.{near} Sections: {', '.join(map(str, params))}.")


def _refuse_kept_param(name: str) -> None:
    """Refuses a param by which a run named by a release would read something else, or decide for others."""
    for kept, why in KEPT.items():
        if f"{name}.".startswith(f"{kept}."):
            raise UserError(f"'{name}' cannot be set for one run: {why}. For all, change params.yaml.")


def run_stages(workspace: Path, targets: tuple[str, ...] = ()) -> None:
    """Runs `dvc repro` in a workspace, with this environment and that code.

    Args:
        workspace: The workspace.
        targets: Stages; all when empty.

    Raises:
        UserError: A stage failed, and has said why.
    """
    if _dvc(workspace, "repro", *targets):
        raise UserError(f"`dvc repro` failed in {workspace}, and says above why. The same command again goes on.")


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """Params from `section.key=value`, the value as YAML.

    Raises:
        UserError: A word has another form, or a value that JSON does not have, such as a date.
    """
    found = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or "." not in name:
            raise UserError(
                f"A param is set by SECTION.KEY=VALUE, received {word!r}. Example: --set train.max_epochs=2"
            )
        found[name] = _value(word, value)
    return found


def _value(word: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
        json.dumps(value, allow_nan=False)
    # YAML's own errors, numbers and dates that are none, what JSON lacks, what is nested too deep.
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"The value in {word!r} is no number, text, list or mapping of YAML: {why}") from None
    return value


def _checkout(wanted: Wanted, release: Release) -> None:
    """Adds the worktree; one that was added by halves is made anew."""
    git, into = Git(wanted.root), wanted.into
    marker = into / MARKER
    overrides = dict(wanted.overrides)
    if marker.exists():
        there = Begun(**json.loads(marker.read_text(encoding="utf-8")))
        if there != Begun(release.commit, wanted.code.value, there.commit, overrides):
            raise UserError(
                f"{into} is a workspace for something else ({there}). Name another folder by --into, or remove it: "
                f"git worktree remove --force {into}"
            )
        wanted.say(f"{into}: going on with commit {there.commit[:10]}")
        return
    git.do("worktree", "prune")
    if f"worktree {into}" in git.do("worktree", "list", "--porcelain").splitlines():
        git.do("worktree", "remove", "--force", "--force", str(into))
    if into.exists() and any(into.iterdir()):
        raise UserError(f"{into} holds something that is not such a workspace. Name another folder by --into.")
    commit = release.commit if wanted.code is Code.THEN else git.head()
    git.do("worktree", "add", "--detach", str(into), commit)
    _set_params(into, release, overrides)
    write_json(marker, asdict(Begun(release.commit, wanted.code.value, commit, overrides)))
    wanted.say(f"{into}: code of commit {commit[:10]}, data of {release.name}")


def _set_params(into: Path, release: Release, overrides: Mapping[str, Any]) -> None:
    """Params of the commit, with the dataset's place as the release has it, and the overrides."""
    sections: dict[str, Any] = read_yaml(into / PARAMS)
    changed = {"dataset": {"path": release.dataset, "splits": release.splits}}
    for name, value in overrides.items():
        _refuse_unknown_param(sections, name)
        section, *keys = name.split(".")
        place = sections[section]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        changed[section] = sections[section]
    if any(read_yaml(into / PARAMS).get(section) != content for section, content in changed.items()):
        write_atomic(into / PARAMS, yaml.safe_dump({**sections, **changed}, sort_keys=False, allow_unicode=True))


def _lay_over(wanted: Wanted, release: Release) -> None:
    """Puts the release's pointer, ledger, taxonomy and decisions into the workspace."""
    git = Git(wanted.root)
    pointer = Pointer(Path(release.dataset), by_stage=False)
    if git.show(release.commit, pointer.file) is None:
        if wanted.code is Code.NOW:
            raise UserError(
                f"A stage makes the dataset of {release.name}, and code of today would make it anew: --code then."
            )
        return
    for file in (*pointer.files, Path(release.splits), TAXONOMY, DECISIONS):
        if git.show(release.commit, file) is None:
            (wanted.into / file).unlink(missing_ok=True)
        else:
            Git(wanted.into).do("restore", f"--source={release.commit}", "--worktree", "--", file.as_posix())
    if release.losses.parts:
        _point_to_stand_ins(wanted, release, pointer)


def _point_to_stand_ins(wanted: Wanted, release: Release, pointer: Pointer) -> None:
    """Records the dataset with the parts that stand in for those that were purged."""
    from dvc_data.hashfile.tree import Tree

    cache = open_repo(wanted.root).cache.local
    listed = Tree.from_list([{"relpath": path, "md5": md5} for path, md5 in release.files.items()], hash_name="md5")
    listed.digest()
    cache.add(listed.path, listed.fs, listed.oid)
    file = wanted.into / pointer.file
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["outs"] = [{"md5": listed.oid, "hash": "md5", "path": pointer.dataset.name}]
    write_atomic(file, yaml.safe_dump(content, sort_keys=False))


def _share(wanted: Wanted) -> None:
    """Lets the workspace use cache, remotes and credentials of the one that it comes from."""
    repo = open_repo(wanted.root)
    private = Path(repo.dvc_dir) / "config.local"
    target = wanted.into / ".dvc" / "config.local"
    if private.exists():
        shutil.copy(private, target)
    with open_repo(wanted.into).config.edit("local") as config:
        config["cache"]["dir"] = repo.cache.local_cache_dir
        if default := repo.config["core"].get("remote"):
            config["core"]["remote"] = default
        for name, options in repo.config["remote"].items():
            config["remote"].setdefault(name, {})["url"] = str(options["url"])  # a relative one is relative to there
    target.chmod(0o600)  # credentials may stand in it


def _fetch(wanted: Wanted, release: Release) -> None:
    repo = open_repo(wanted.root)
    remote = repo.config["core"].get("remote")
    if _dvc(wanted.into, "pull" if remote else "checkout", release.dataset):
        remedy = (open_storage(repo).absent if remote else "") or (
            "Where the workspace still holds bytes that were purged since: git worktree remove --force "
            f"{wanted.into}, then the same command again."
        )
        raise UserError(
            f"The dataset of {release.name} could not be put into {wanted.into}; DVC says above why. {remedy}"
        )


def _dvc(workspace: Path, *words: str) -> int:
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # stages are `python -m ...`
    environment = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"} | {"PATH": here}
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=workspace, env=environment, check=False).returncode
