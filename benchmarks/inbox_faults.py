"""Puts faults between `segloop inbox` and a real S3 server, and writes what became of each; then measures its memory.

Each row is a fresh workspace with three batches, of which the fault hits the middle one; the command runs as a process,
once with the fault and once more without it. Run from the project's root:

    PYTHONPATH=tests python -m benchmarks.inbox_faults docs/inbox_faults.md
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from inbox_case import INBOX, items, verdicts, write_batch, write_manifest, write_workspace
from ingest_source import PARAMS, names
from PIL import Image
from s3_server import BUCKET, S3, Fault, s3_server

ROOT = Path(__file__).resolve().parent.parent
IMAGE = r"b/images/g1_0\.png"
STORAGE = INBOX["storage"] | {"read_timeout_s": 3}
KILLED = -9
MB = 10**6
WHAT_HAPPENS = {
    "nothing": None,
    "one answer never comes": Fault("silence", IMAGE, times=1),
    "no answer ever comes": Fault("silence", IMAGE),
    "503 SlowDown twice": Fault("slow_down", IMAGE, times=2),
    "503 SlowDown for ever": Fault("slow_down", IMAGE),
    "503 SlowDown for every listing": Fault("slow_down", "list-type=2"),
    "403 for one object": Fault("denied", IMAGE),
    "connection reset in the midst of a body, once": Fault("reset", IMAGE, times=1),
    "connection reset in the midst, always": Fault("reset", IMAGE),
    "body ends early, once": Fault("truncated", IMAGE, times=1),
    "body and length short, once": Fault("short", IMAGE, times=1),
    "the range is not heeded after a reset": Fault("no_range", IMAGE, times=2),
    "one byte garbled, once": Fault("garbled", IMAGE, times=1),
    "one byte garbled, always": Fault("garbled", IMAGE),
    "the body drips": Fault("slow", IMAGE, times=1),
    "412: another object by now": Fault("changed", IMAGE, times=1),
    "503 at the copy to done/, twice": Fault("slow_down", "done/b-", "PUT", times=2),
    "503 at the deletion, for ever": Fault("slow_down", "outbox/b/", "DELETE"),
}
KILLS = {
    "killed in the midst of a file": Fault("stall", IMAGE, times=1),
    "killed at the first copy, after ingestion and ledger": Fault("silence", "done/b-", "PUT", times=1),
    "killed at the first deletion": Fault("silence", "outbox/b/", "DELETE", times=1),
    "killed at the deletion of the manifest": Fault("silence", r"outbox/b/manifest\.json", "DELETE", times=1),
}


@dataclass
class Bench:
    """A server, and fresh workspaces for one command after the other."""

    s3: S3
    folder: Path
    count: int = 0

    def workspace(self, **storage: float) -> tuple[Path, Path]:
        """A workspace and its inbox, both empty."""
        self.count += 1
        self.s3.faults.clear()
        root = self.folder / f"w{self.count}"
        root.mkdir()
        write_workspace(root, url=f"s3://{BUCKET}/{root.name}/outbox/", storage=STORAGE | storage)
        return root, self.s3.bucket / root.name / "outbox"

    def run(self, root: Path, watch: Callable[["subprocess.Popen[bytes]"], None] | None = None) -> tuple[int, int, str]:
        """Runs the command; gives exit code, peak memory in bytes, and what it printed."""
        self.s3.settle()
        environment = {**os.environ, **self.s3.environment, "PYTHONPATH": str(ROOT), "COLUMNS": "250"}
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.inbox"], cwd=root, env=environment, stdout=said, stderr=said
            )
            if watch:
                watch(process)
            peak = _peak_until_end(process)
            said.seek(0)
            return process.returncode, peak, said.read().decode()


def _peak_until_end(process: "subprocess.Popen[bytes]") -> int:
    """Waits for a process; gives the highest resident memory that it has had, in bytes.

    The kernel's own account at the end (`ru_maxrss`) counts what this process held when it started the other.
    """
    peak, status = 0, Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        peak = max(peak, int(found[1]) * 1024 if found else 0)
        time.sleep(0.01)
    return peak


def main() -> None:
    """Writes the tables to the file named on the command line."""
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder) / "buckets") as s3:
        bench = Bench(s3, Path(folder))
        lines = [
            "# What `segloop inbox` does when storage fails",
            "",
            "Made by `PYTHONPATH=tests python -m benchmarks.inbox_faults docs/inbox_faults.md`, with the S3",
            "server of rclone behind a proxy that makes the faults. Batches `a`, `b`, `c` of two items; it hits `b`.",
            f"Attempts: {STORAGE['attempts']}, longest silence: {STORAGE['read_timeout_s']} s.",
            "",
            "| what happens | exit | fate of `b` | `a` and `c` | second run, without the fault | items twice or lost |",
            "|---|---|---|---|---|---|",
            *(_fault(bench, what, fault) for what, fault in WHAT_HAPPENS.items()),
            *(_kill(bench, what, fault) for what, fault in KILLS.items()),
            "",
            "## Memory",
            "",
            "Peak resident memory of the whole process.",
            "",
            "| batch | MB | peak, MB |",
            "|---|---|---|",
            *_memory(bench),
        ]
    text = "\n".join(lines) + "\n"
    Path(sys.argv[1]).write_text(text)
    print(text)


def _batches(inbox: Path) -> None:
    for batch, group in (("a", "g0"), ("b", "g1"), ("c", "g2")):
        write_batch(inbox, batch, names(group))


def _fault(bench: Bench, what: str, fault: Fault | None) -> str:
    root, inbox = bench.workspace()
    _batches(inbox)
    bench.s3.faults += [fault] if fault else []
    if fault and fault.kind == "no_range":
        bench.s3.faults.insert(0, Fault("reset", IMAGE, times=1))
    code, _, said = bench.run(root)
    return _row(bench, root, what, code, _fate(said))


def _kill(bench: Bench, what: str, fault: Fault) -> str:
    root, inbox = bench.workspace()
    _batches(inbox)
    bench.s3.faults.append(fault)

    def kill(process: "subprocess.Popen[bytes]") -> None:
        fault.before = process.kill

    code, _, said = bench.run(root, kill)
    assert code == KILLED, said
    return _row(bench, root, what, code, "killed")


def _row(bench: Bench, root: Path, what: str, code: int, fate: str) -> str:
    beside = {name[:2] for name in items(root)} & {"g0", "g2"}
    bench.s3.faults.clear()
    again, _, said = bench.run(root)
    rejected = verdicts(root).get("b") == ["rejected"]
    expected = names("g0", "g2") if rejected else names("g0", "g1", "g2")
    whole = "none" if items(root) == expected else f"**{items(root)}**"
    second = "nothing left to do" if "No batch" in said else f"exit {again}, `b` {_fate(said)}"
    taken = {2: "taken", 1: "`a` taken", 0: "untouched"}[len(beside)]
    return f"| {what} | {'SIGKILL' if code == KILLED else code} | {fate} | {taken} | {second} | {whole} |"


def _fate(said: str) -> str:
    found = re.search(r"^b +(\w+)", said, flags=re.MULTILINE)
    return found[1] if found else "not reached"


def _memory(bench: Bench) -> list[str]:
    rows = []
    for what, sizes in (
        ("2 tiny items", []),
        ("the same and 3 files of 10 MB beside them", [10 * MB] * 3),
        ("the same and 3 files of 100 MB beside them", [100 * MB] * 3),
    ):
        root, inbox = bench.workspace(read_timeout_s=300)
        folder = write_batch(inbox, "may", names("g1"))
        for number, size in enumerate(sizes):
            (folder / f"{number}.bin").write_bytes(os.urandom(size))
        rows.append(_measured(bench, root, folder, what))
    for count in (3, 30):
        root, inbox = bench.workspace(read_timeout_s=300)
        folder = inbox / "may"
        _write_images(folder, count)
        rows.append(_measured(bench, root, folder, f"{count} images of 10 MB that are ingested"))
    return rows


def _measured(bench: Bench, root: Path, folder: Path, what: str) -> str:
    params = (root / "params.yaml").read_text()
    limit = PARAMS["limits"]["max_bytes"]  # type: ignore[index]
    params = params.replace(f"max_bytes: {limit}\n", f"max_bytes: {100 * MB}\n")
    params = params.replace("max_pixels: 1000000\n", f"max_pixels: {100 * MB}\n").replace("100000000", "1000000000")
    (root / "params.yaml").write_text(params)
    write_manifest(folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    code, peak, said = bench.run(root)
    assert code == 0, said
    return f"| {what} | {size / MB:.0f} | {peak / MB:.0f} |"


def _write_images(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(count):
        for kind, pixels in (("images", rng.integers(0, 256, (1800, 1850, 3))), ("masks", np.zeros((1800, 1850)))):
            file = folder / kind / f"g1_{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(file, compress_level=1)


if __name__ == "__main__":
    main()
