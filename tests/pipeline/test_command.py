"""Tests of the command line's shell: exit codes and the workspace's code."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.command import exit_code, in_processes, process_ended, run
from pipeline.errors import OutageError, SegloopError, UserError, VerdictError


@pytest.mark.parametrize(("error", "code"), [(VerdictError, 1), (UserError, 2), (OutageError, 3)])
def test_each_kind_of_error_has_its_exit_code(
    error: type[SegloopError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message goes to stderr, without a traceback."""

    def main() -> None:
        raise error("what happened")

    with pytest.raises(SystemExit) as stop:
        run(main, [])
    assert stop.value.code == code
    assert capsys.readouterr().err == "error: what happened\n"


def test_a_full_disk_is_an_outage(capsys: pytest.CaptureFixture[str]) -> None:
    """Running again after freeing space may help, and the message says so."""

    def main() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "data/x")

    with pytest.raises(SystemExit) as stop:
        run(main, [])
    assert stop.value.code == 3
    assert "disk is full" in capsys.readouterr().err


def test_a_bug_is_not_dressed_up_as_a_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody foresaw keeps its traceback and has a code of its own, also an end of file."""
    assert exit_code(lambda: 1 / 0) == 70
    assert "ZeroDivisionError" in capsys.readouterr().err

    def main() -> None:
        raise EOFError

    with pytest.raises(SystemExit) as stop:
        run(main, [])
    assert stop.value.code == 70


def test_a_path_that_is_not_there_is_the_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the path."""
    assert exit_code((tmp_path / "gone").read_text) == 2
    assert "gone: No such file" in capsys.readouterr().err


def test_a_wrong_option_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Misuse of the command line is the user's mistake."""

    def main(size: int) -> None:
        print(size)

    with pytest.raises(SystemExit) as stop:
        run(main, ["--speed", "3"])
    assert stop.value.code == 2
    assert "No such option" in capsys.readouterr().err


def test_another_checkouts_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stage that DVC runs in one workspace never runs the code of another."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert exit_code(lambda: None) == 2
    assert f"DVC runs the workspace {tmp_path}" in capsys.readouterr().err


PRINTS = {
    "much": "print('x' * 100, *range(100_000), sep='\\n')",
    "little": "print('x')",
    "rich": "from rich.console import Console; [Console().print('x') for _ in range(100_000)]",
}


@pytest.mark.parametrize("printed", PRINTS)
def test_a_reader_that_goes_away_ends_the_command_quietly(printed: str) -> None:
    """After `| head` neither a traceback nor the code of a failed verdict is left, whatever was printed how."""
    body = f"def main():\n    sys.stdin.read()\n    {PRINTS[printed]}\n"  # it waits until nobody reads
    code = f"import sys\nfrom pipeline.command import run\n{body}run(main, [])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin
        assert running.stdout
        assert running.stderr
        running.stdout.close()
        running.stdin.close()
        said = running.stderr.read()
    assert (running.returncode, said) == (141, "")


def test_another_broken_pipe_is_a_bug(capsys: pytest.CaptureFixture[str]) -> None:
    """A connection that a server closes is not taken for a reader that went away."""

    def main() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    assert exit_code(main) == 70
    assert "BrokenPipeError" in capsys.readouterr().err


def end(how: str) -> str:
    """Ends its process, or returns what it was given."""
    if how == "exit 3":
        time.sleep(0.5)
        os._exit(3)
    if how.startswith("SIG"):
        time.sleep(0.5)
        os.kill(os.getpid(), signal.Signals[how])
    return how


def test_results_of_processes_come_in_order() -> None:
    """Whichever process is done first."""
    assert list(in_processes(end, ["a", "b", "c", "d"], workers=2, section="labels")) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("SIGKILL", "was killed (SIGKILL), as systems do when memory runs out. Free some, or lower `labels.workers`"),
        ("SIGSEGV", "was ended by SIGSEGV"),
        ("SIGTERM", "was ended by SIGTERM"),
        ("exit 3", "ended with exit code 3"),
    ],
)
def test_what_ended_a_process_is_said(how: str, words: str) -> None:
    """Memory is blamed for what the system does when it runs out, and for nothing else."""
    with pytest.raises(OutageError) as outage:
        list(in_processes(end, ["a", how, "b"], workers=2, section="labels"))
    assert words in str(outage.value)
    assert ("memory" in str(outage.value)) == (how == "SIGKILL")


@pytest.mark.parametrize(
    ("codes", "words"), [([None, 0], "left no exit code"), ([-15, -40], "signal 40"), ([], "left no exit code")]
)
def test_what_nobody_knows_is_not_guessed(codes: list[int | None], words: str) -> None:
    """Without an exit code none is named; a signal without a name has its number."""
    told = process_ended(codes, "labels.workers")
    assert words in told
    assert "memory" not in told
