"""What every launcher does: start a job or find the one that runs, tell its state, stream its log, end it."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pipeline.command import BUG
from pipeline.errors import VerdictError
from pipeline.jobs.spec import Spec

# What a job exits with after a failed verdict: 1 is also what Python exits with where it cannot even begin.
VERDICT = 100


class State(StrEnum):
    """Where a job stands."""

    ABSENT = "absent"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Standing:
    """A job as its launcher knows it.

    Attributes:
        state: Of its newest attempt.
        attempt: Its number, from 1; 0 when there was none.
        code: What the attempt exited with, where it has ended and that is known.
        handle: What the launcher calls the attempt: a folder, a submission.
    """

    state: State
    attempt: int = 0
    code: int | None = None
    handle: str = ""


def meant(code: int) -> int:
    """What a command exits with where a job exited with a code."""
    return {VERDICT: VerdictError.exit_code, VerdictError.exit_code: BUG}.get(code, code)


class Launcher(Protocol):
    """A place where jobs run."""

    def standing(self, name: str) -> Standing:
        """Where the newest attempt of a job stands."""

    def start(self, spec: Spec) -> Standing:
        """Starts a new attempt; the one that runs, if there is one, is given instead."""

    def follow(self, name: str) -> Iterator[str]:
        """The log of the newest attempt in pieces of text, until the attempt ends."""

    def cancel(self, name: str) -> Standing:
        """Ends the job with all its processes."""
