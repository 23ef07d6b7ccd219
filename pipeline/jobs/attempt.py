"""The leader of a local attempt: waits for a slot and the job, ends what it leaves behind, records the exit code."""

import signal
import subprocess
import sys
from pathlib import Path

from pipeline.command import SIGNALLED
from pipeline.jobs.launcher import meant
from pipeline.jobs.local import SPEC, write_end, write_leader
from pipeline.jobs.processes import end, members, myself
from pipeline.jobs.running import CODE, LEFTOVER_S
from pipeline.jobs.slots import take_slot


def main(folder: Path, attempt: int, slots: Path, count: int) -> None:
    """Runs the job of a folder.

    Args:
        folder: The job's.
        attempt: Its number.
        slots: Folder of the slots' locks.
        count: How many jobs of this machine run at a time.
    """
    told: list[int] = []
    # The whole session gets the signal that ends a job; the leader outlives it, to tell how the job ended.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: told.append(received))
    leader = myself()
    write_leader(folder, attempt, leader)
    slot = take_slot(slots, count, lambda: bool(told))
    if slot is None:
        write_end(folder, attempt, SIGNALLED + told[0])
        return
    with slot:
        command = [sys.executable, "-u", "-m", "pipeline.job_run", str(folder / SPEC), "--work", str(folder)]
        # The job holds the slot as well, should its leader be killed.
        code = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, pass_fds=(slot.fileno(),)).returncode
        end(members(leader, folder / CODE), LEFTOVER_S)
    write_end(folder, attempt, SIGNALLED - code if code < 0 else meant(code))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
