"""Runs a command that ends with whoever started it, even one that is killed: `python tether.py WORDS`.

Whoever starts it holds the other end of the pipe on stdin, and the system closes that however its holder ends. Then, or
on SIGTERM, the command's process group is asked to end, and killed when its grace is over. A process that took a
session of its own, as a local job does, is not in that group. Run by its path: it needs Python 3.11, and nothing else.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

GRACE_S = 3.0  # between SIGTERM and SIGKILL; Airflow gives a task 5 s between the two
LOOK_S = 0.05
STDIN = 0
SIGNALLED = 128


def main(words: Sequence[str]) -> int:
    """Runs the command.

    Returns:
        Its exit code; 128 and the signal's number where a signal ended it.
    """
    rings, ring = os.pipe()
    os.set_blocking(ring, False)
    signal.set_wakeup_fd(ring)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # not ignored, which the command would inherit
    command = subprocess.Popen(words, stdin=subprocess.DEVNULL, process_group=0)
    while command.poll() is None:
        ready, _, _ = select.select([STDIN, rings], [], [])
        rung = os.read(rings, 1024) if rings in ready else b""
        if STDIN in ready or {signal.SIGTERM, signal.SIGINT} & set(rung):
            end(command)
    return command.returncode if command.returncode >= 0 else SIGNALLED - command.returncode


def end(command: "subprocess.Popen[bytes]") -> None:
    """Ends every process of the command's group: asks them, and kills those that are there when the grace is over."""
    last = time.monotonic() + GRACE_S
    _signal(command.pid, signal.SIGTERM)
    while (command.poll() is None or _signal(command.pid, 0)) and time.monotonic() < last:
        time.sleep(LOOK_S)
    _signal(command.pid, signal.SIGKILL)
    command.wait()


def _signal(group: int, number: int) -> bool:
    """Whether there was anybody to send the signal to."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # the latter on macOS, of one that has ended
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
