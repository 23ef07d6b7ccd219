"""The user's own check: one Python file with one function, run on each item that can be read."""

import linecache
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import UserError

NAME = "check"
RAISED = " raised "
EXPECTED = "None where nothing is wrong, or a sentence that says what is"
LONGEST = 1000  # characters of a reason: it stands in tables, and in the quarantine of every item
Pixels = npt.NDArray[np.uint8]
Function = Callable[[dict[str, Any], Pixels, Pixels], object]


@dataclass(frozen=True)
class CustomCheck:
    """The file as it was read: every process runs this very text, and what it found is kept under it.

    Attributes:
        path: Names the file in messages.
        source: Its text.
    """

    path: str
    source: str

    def reason(self, item: dict[str, Any], image: Pixels, mask: Pixels) -> str | None:
        """What the user's function has against an item; None when nothing.

        Args:
            item: What the dataset and the catalogue say of it, by column.
            image: Shape (H, W, 3), uint8 RGB.
            mask: Shape (H', W'), uint8; its size may differ from the image's.

        Returns:
            The reason. An exception is one too: it says nothing of the other items, and must not let this one pass.

        Raises:
            UserError: It returned what is no answer. That is no fault of the item, and to take it for a reason, or for
                none, would quarantine, or pass, whatever it is asked about.
        """
        name = item.get("item_id")  # before the function may change it
        try:
            said = loaded(self)(item, image, mask)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything
            return _writable(f"{self.path}{RAISED}{type(error).__name__}: {_words(error)}")
        problem = _problem(said)
        if problem:
            raise UserError(
                f"`{NAME}` of {self.path}, which `catalog.custom` names, returned {problem} for item '{name}'. "
                f"It returns {EXPECTED}, of at most {LONGEST} characters."
            )
        return str(said).strip() or None if said is not None else None


def read_custom(path: Path) -> CustomCheck:
    """Reads the file and tries whether it can be run.

    Raises:
        UserError: It is missing, is no Python, or has no function of the name.
    """
    try:
        custom = CustomCheck(path.as_posix(), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"`catalog.custom` names {path}, which cannot be read: {error}. Set it to null for no check."
        ) from None
    try:
        loaded(custom)
    except (Exception, SystemExit) as error:
        raise UserError(
            f"{path}, which `catalog.custom` names, does not run: {type(error).__name__}: {error}."
        ) from error
    return custom


def refuse_broken(custom: CustomCheck, reasons: Sequence[str | None]) -> None:
    """Stops where the function raised on every item: then the mistake is in the file, and not in the data.

    Args:
        custom: The file.
        reasons: What it had against each item that it was asked of; None for nothing.

    Raises:
        UserError: It never came to an answer.
    """
    blamed = custom.path + RAISED
    if reasons and all(each is not None and each.startswith(blamed) for each in reasons):
        said = str(reasons[0]).removeprefix(blamed)
        raise UserError(
            f"`{NAME}` of {custom.path}, which `catalog.custom` names, raised on each of {len(reasons)} items, "
            f"first {said}. Mend it: it is called as `{NAME}(item, image, mask)`; or set `catalog.custom` to null."
        )


def _problem(said: object) -> str:
    """What is wrong with an answer, with the answer; empty where it is one."""
    if said is None:
        return ""
    if not isinstance(said, str):
        return f"{reprlib.repr(said)} (of type {type(said).__name__})"
    if len(said) > LONGEST:
        return f"a text of {len(said)} characters, {reprlib.repr(said)}"
    return "" if said == _writable(said) else f"{reprlib.repr(said)}, which is no text that a file can hold,"


def _words(error: BaseException) -> str:
    """What an exception says of itself, whose own code may fail at that."""
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001 - the user's code may raise anything
        return f"(says nothing: {type(second).__name__})"


def _writable(text: str) -> str:
    """A reason that files can hold: of bounded length, without halves of characters."""
    return text[:LONGEST].encode(errors="replace").decode()


@lru_cache(maxsize=4)
def loaded(custom: CustomCheck) -> Function:
    """The function of the file, which is run once in a process.

    Raises:
        TypeError: The file has no such function.
        Exception: Whatever running the file raises.
    """
    # So that a traceback shows the lines that were run, whatever the file says by now.
    linecache.cache[custom.path] = (len(custom.source), None, custom.source.splitlines(keepends=True), custom.path)
    namespace: dict[str, Any] = {"__name__": Path(custom.path).stem, "__file__": custom.path}
    exec(compile(custom.source, custom.path, "exec"), namespace)  # noqa: S102 - what the user asked for
    function = namespace.get(NAME)
    if not callable(function):
        raise TypeError(f"it has no function `{NAME}(item, image, mask)`")
    return function  # type: ignore[no-any-return]
