"""Errors that a person can act on, each with the exit code that tells its kind."""

from collections.abc import Iterable
from typing import ClassVar


class SegloopError(Exception):
    """An error whose message says what, where, the value received and the remedy."""

    exit_code: ClassVar[int] = 2


class VerdictError(SegloopError):
    """A check ran and its verdict is no."""

    exit_code = 1


class UserError(SegloopError):
    """The input or the settings are wrong; running again without a change cannot help."""

    exit_code = 2


class OutageError(SegloopError):
    """Something outside is away (a server, a disk, a network); running again later may help."""

    exit_code = 3


def near_names(missing: Iterable[str], names: Iterable[str]) -> str:
    """A sentence that names what a misspelt name may mean, with a blank before it; empty where nothing is near."""
    from difflib import get_close_matches

    known = sorted(set(names))
    near = dict.fromkeys(name for each in missing for name in get_close_matches(each, known))
    return f" Did you mean {', '.join(map(repr, near))}?" if near else ""
