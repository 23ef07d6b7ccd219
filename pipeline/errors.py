"""Errors that a person can act on, each with the exit code that tells its kind."""

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
