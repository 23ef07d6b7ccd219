"""The leader of a local attempt: waits for the job, ends what it leaves behind, and records the exit code."""

import signal
import subprocess
import sys
from pathlib import Path

from pipeline.command import SIGNALLED
from pipeline.jobs.local import SPEC, write_end, write_leader
from pipeline.jobs.processes import end, members, myself
from pipeline.jobs.running import CODE, LEFTOVER_S


def main(folder: Path, attempt: int) -> None:
    """Runs the job of a folder.

    Args:
        folder: The job's.
        attempt: Its number.
    """
    # The whole session gets the signal that ends a job; the leader outlives it, to tell how the job ended.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    leader = myself()
    write_leader(folder, attempt, leader)
    command = [sys.executable, "-u", "-m", "pipeline.job_run", str(folder / SPEC), "--work", str(folder)]
    code = subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode
    end(members(leader, folder / CODE), LEFTOVER_S)
    write_end(folder, attempt, SIGNALLED - code if code < 0 else code)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
