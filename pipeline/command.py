"""Runs a `main` as a command line, with the project's exit codes and progress bars."""

import errno
import functools
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import typer

from pipeline.errors import OutageError, SegloopError, UserError, VerdictError
from pipeline.outcome import tell

Element = TypeVar("Element")

# A full disk, a quota reached, a limit on the size of files.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
WRONG_PATH = (FileNotFoundError, IsADirectoryError, NotADirectoryError, FileExistsError, PermissionError)
SIGNALLED = 128  # as shells say it: this, and the signal's number
INTERRUPTED = SIGNALLED + signal.SIGINT
UNREAD = SIGNALLED + signal.SIGPIPE
BUG = 70  # EX_SOFTWARE of sysexits.h


def run(main: Callable[..., None], argv: list[str] | None = None, *, name: str | None = None) -> None:
    """Runs `main` with command-line arguments and exits with the code its outcome calls for.

    Args:
        main: A function with typer annotations; its docstring is the help.
        argv: The arguments, without the program's name; those of the process when None.
        name: How the help and the errors call the program; the module's name when None.

    Raises:
        SystemExit: Always. 0 success, 1 a failed verdict, 2 the user's mistake, 3 an outage, 70 a bug, 128 and more
            the signal that ended it.
    """

    @functools.wraps(main)
    def guarded(*arguments: Any, **options: Any) -> None:
        code = exit_code(lambda: main(*arguments, **options))
        if code:
            raise typer.Exit(code)

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(guarded)
    app(args=argv, prog_name=name)


def exit_code(call: Callable[[], object]) -> int:
    """Calls a command and turns its outcome into an exit code, printing what went wrong to stderr.

    Whoever called the command learns by a fact that exit code 1 was meant: it is also Python's own for a crash, and
    that of a library that gives up.
    """
    code = _exit_code(call)
    if code == VerdictError.exit_code:
        tell(ended="verdict")
    return code


def _exit_code(call: Callable[[], object]) -> int:
    try:
        assert_workspace_code()
        call()
        sys.stdout.flush()  # a short text meets its closed pipe here, where it can be told from a bug
    except SegloopError as error:
        return _say(error)
    except WRONG_PATH as error:
        return _say(UserError(f"{error.filename}: {error.strerror}. Check the path and its permissions."))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as end:
        # So rich ends, with the code of a failed verdict, when nobody reads what it prints.
        if isinstance(end.__context__, BrokenPipeError):
            return UNREAD
        raise
    except Exception as error:  # noqa: BLE001 - the last frame: a bug must not exit 1, which says "failed verdict"
        return _unforeseen(error)
    return 0


def assert_workspace_code() -> None:
    """Refuses to run another checkout's code as a stage of this workspace.

    DVC names the workspace in DVC_ROOT. An editable install of another checkout would otherwise run
    silently, and DVC would cache its results under this checkout's name.

    Raises:
        UserError: The imported package lies outside the workspace that DVC runs.
    """
    workspace = os.environ.get("DVC_ROOT")
    code = Path(__file__).resolve().parent.parent
    if workspace and Path(workspace).resolve() != code:
        raise UserError(
            f"The stage would run the code of {code}, but DVC runs the workspace {workspace}. "
            "Run stages as `python -m pipeline.NAME` from the workspace's root.",
        )


def progress(elements: Iterable[Element], *, total: int | None = None, label: str) -> Iterator[Element]:
    """Yields the elements behind a progress bar on stderr, which is silent where no terminal looks on."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(elements, description=label, total=total, console=console, disable=not console.is_terminal)


def in_processes(
    call: Callable[..., Element], *arguments: Sequence[Any], workers: int, section: str
) -> Iterator[Element]:
    """Calls a function of a module in several processes, and yields the results in order.

    Args:
        call: The function.
        arguments: One sequence an argument, of equal length.
        workers: Processes; 0 takes every core.
        section: Of the parameters, whose `workers` it is.

    Raises:
        OutageError: A process ended before its work was done; the message says by what, where that can be known.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing.process import BaseProcess

    # Forked from a process that has only imported: threads, OpenCV's among them, do not outlive a fork; their locks do.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([call.__module__])
    earlier, started = set(multiprocessing.active_children()), set[BaseProcess]()
    try:
        with ProcessPoolExecutor(workers or len(os.sched_getaffinity(0)), mp_context=context) as pool:
            results = pool.map(call, *arguments)  # hands all work out, and so has started every process
            started = set(multiprocessing.active_children()) - earlier
            yield from results
    except BrokenProcessPool:
        raise OutageError(process_ended([each.exitcode for each in started], f"{section}.workers")) from None


def process_ended(codes: Iterable[int | None], setting: str) -> str:
    """Why a pool of processes broke, as far as their exit codes tell, and what to do.

    Args:
        codes: As `multiprocessing` has them: negative for signals, None where nobody knows.
        setting: The parameter that says how many processes there are.
    """
    known = [code for code in codes if code]
    # The pool itself ends the others by SIGTERM, once one has ended.
    code = next((each for each in known if each != -signal.SIGTERM), next(iter(known), None))
    if code == -signal.SIGKILL:
        return f"A process was killed (SIGKILL), as systems do when memory runs out. Free some, or lower `{setting}`."
    how = "ended, and left no exit code" if code is None else f"ended with exit code {code}"
    if code is not None and code < 0:
        how = f"was ended by {_signal_name(-code)}"
    return (
        f"A process {how}. Run the command again; should it end so again, look into the system's log: it is a fault of "
        "a library or of your own code, or somebody ended it."
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # real-time signals have no names of their own
        return f"signal {number}"


def _unforeseen(error: Exception) -> int:
    if isinstance(error, BrokenPipeError) and _nobody_reads():
        return UNREAD
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return _say(OutageError(f"The disk is full: {error}. Free some space and run the command again."))
    traceback.print_exception(error)
    return BUG


def _nobody_reads() -> bool:
    """Whether stdout is a closed pipe, as after `| head`; if so, what is left of it goes nowhere."""
    try:
        stdout = sys.stdout.fileno()
    except OSError:
        return False
    poll = select.poll()
    poll.register(stdout, 0)  # errors are told though nothing is asked for
    if not any(events & select.POLLERR for _, events in poll.poll(0)):
        return False
    # Python flushes once more at its end: docs.python.org/3/library/signal.html#note-on-sigpipe
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout)
    return True


def _say(error: SegloopError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code
