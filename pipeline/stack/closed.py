"""Tells which files of people's tools a stack's tasks cannot read any more, since they were written anew.

The sandbox opens what lies directly in the home folder when a process starts; a file that is replaced there later is
another one. Git, for one, refuses every command when it cannot read its settings.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline.stack.sandbox import beside

# Of the home folder: where programs keep caches and settings of their own; made before anything is closed.
MADE = (
    ".cache",
    ".local",
    ".nv",
    ".triton",
    ".config/dvc",
    ".config/git",
    ".config/iterative",
    ".config/matplotlib",
)
# And what git, boto3, curl and pip read.
WATCHED = (*MADE, ".gitconfig", ".netrc", ".aws", ".ssh", ".config/pip")


def snapshot(denied: Sequence[Path]) -> dict[str, int]:
    """The watched files and folders that a sandboxed process opens one by one, with their inodes.

    Args:
        denied: What the sandbox denies.
    """
    listed = {path for path in beside(Path("/"), [each.resolve() for each in denied]) if path in _watched()}
    return {str(path): path.stat().st_ino for path in sorted(listed)}


def closed_since(before: dict[str, int], denied: Sequence[Path]) -> list[str]:
    """What has been made or replaced since a snapshot, and so is closed to what was started then."""
    return [path for path, inode in snapshot(denied).items() if before.get(path) != inode]


def _watched() -> set[Path]:
    return {Path.home().resolve() / name for name in WATCHED}
