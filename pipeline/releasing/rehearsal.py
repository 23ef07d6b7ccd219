"""A folder in which stages run as they would in the workspace, which stays as it is to the byte.

What git keeps is copied; what stages read and make, and what they remember, is there as links to single files: a stage
that writes anew puts a file of its own in the place of a link.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.releasing.git import Git
from pipeline.releasing.storage import open_repo

MEMORY = Path(".segloop/catalog")  # facts of parts that were catalogued before


@contextmanager
def rehearsal(root: Path, stage: str) -> Iterator[Path]:
    """Makes the folder, and removes it in the end.

    Run DVC with `--no-commit` there: what is made need not go into a cache.

    Args:
        root: The workspace.
        stage: The last stage that is to run.

    Yields:
        The folder.
    """
    with tempfile.TemporaryDirectory(prefix="segloop-rehearsal-") as name:
        folder = Path(name).resolve()
        repo = open_repo(root)
        linked = [*_paths_of_stages(repo, stage), MEMORY]
        folders = [path for path in linked if (root / path).is_dir()]
        for path in _files_of_git(root, "--cached"):
            # A dataset that git does not ignore yet is not for copying.
            if not any(path.is_relative_to(each) for each in folders):
                _put(root / path, folder / path, shutil.copy2)
        for path in _files_of_git(root, "--others"):  # somebody's photographs may be among them
            if not any(path.is_relative_to(each) for each in folders):
                _put(root / path, folder / path, _link)
        for path in linked:
            _put(root / path, folder / path, _link)
        _configure(repo, folder)
        yield folder


def _files_of_git(root: Path, which: str) -> list[Path]:
    """What git keeps (`--cached`) or would keep (`--others`), but for DVC's own: DVC records data of a `.dvc` anew."""
    listed = Git(root).do("ls-files", "-z", which, "--exclude-standard").split("\0")
    paths = [Path(name) for name in listed if name]
    return [path for path in paths if path.suffix != ".dvc" and path.parts[0] != ".dvc" and (root / path).is_file()]


def _paths_of_stages(repo: Any, stage: str) -> list[Path]:
    """What the stages up to this one read and make, relative to the workspace."""
    from dvc.exceptions import DvcException

    try:
        stages = repo.stage.collect(stage, with_deps=True)
    except DvcException:
        return []  # running it says why
    places = [entry.fs_path for each in stages for entry in (*each.deps, *each.outs) if entry.protocol == "local"]
    inside = [Path(place) for place in places if Path(place).is_relative_to(repo.root_dir)]
    return list(dict.fromkeys(path.relative_to(repo.root_dir) for path in inside))


def _put(source: Path, target: Path, put: Any) -> None:
    """Puts a file, or each file of a folder, in its place; the folders themselves are new."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=put, dirs_exist_ok=True)
    elif source.exists():
        put(source, target)


def _link(source: str | Path, target: str | Path) -> None:
    if not Path(target).exists():
        Path(target).symlink_to(source)


def _configure(repo: Any, folder: Path) -> None:
    """A DVC repository without git, that reads the workspace's cache through links."""
    from dvc.repo import Repo

    made = Repo.init(str(folder), no_scm=True)
    with made.config.edit("repo") as config:
        config["core"]["analytics"] = False
    made.close()
    _put(Path(repo.cache.local_cache_dir), folder / ".dvc" / "cache", _link)
