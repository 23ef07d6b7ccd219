"""The energy that a machine has used, by the counters of its processors and GPUs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pynvml
import torch

POWERCAP = Path("/sys/class/powercap")
MICRO, MILLI = 1e-6, 1e-3
LOOK_S = 60.0


@dataclass
class Counter:
    """A counter that only goes up, but for starting anew after its range.

    Attributes:
        read: Gives its joules; raises OSError or NVMLError where it cannot be read.
        range_j: After how many joules it starts anew; 0 where it never does.
        last: What it said last.
        gone_up: Joules since they were last taken.
        failed: Whether a reading has failed since then.
    """

    read: Callable[[], float]
    range_j: float
    last: float
    gone_up: float = 0.0
    failed: bool = False

    def look(self) -> None:
        """Adds what was used since the last look; at most one range can have passed unseen."""
        try:
            now = self.read()
        except (OSError, ValueError, pynvml.NVMLError):
            self.failed = True
            return
        step = now - self.last
        self.gone_up += step if step >= 0 else step + self.range_j
        self.last = now


@dataclass(frozen=True)
class Energy:
    """Joules; None where no counter tells.

    The counters are of whole devices: what else ran on them is in it. Memory, disks and power supplies are not.
    """

    packages_j: float | None
    gpus_j: float | None

    @property
    def known_j(self) -> float | None:
        """Of processors and GPUs together, as far as they are known."""
        known = [each for each in (self.packages_j, self.gpus_j) if each is not None]
        return sum(known) if known else None


@dataclass
class EnergyMeter:
    """Measures from its making on. It never raises: what cannot be read is not known.

    Attributes:
        packages: Counters of the processor packages.
        gpus: Counters of the GPUs.
    """

    packages: list[Counter] = field(default_factory=list)
    gpus: list[Counter] = field(default_factory=list)
    _looked: float = field(default_factory=time.monotonic)

    def keep_up(self) -> None:
        """Reads the counters if that was long ago: a busy processor's starts anew after some twenty minutes."""
        if time.monotonic() - self._looked > LOOK_S:
            self._look()

    def take(self) -> Energy:
        """What was used since the last time; where a reading failed, the next time has it."""
        self._look()
        return Energy(_taken(self.packages), _taken(self.gpus))

    def _look(self) -> None:
        self._looked = time.monotonic()
        for counter in (*self.packages, *self.gpus):
            counter.look()


def package_counters(powercap: Path = POWERCAP) -> list[Counter]:
    """The processor packages by Linux's RAPL, Intel's and AMD's alike; none where they are not readable.

    Their parts (`core`, `uncore`) are within them and the zone `psys` holds them all, so neither is counted. Many
    systems let only root read the counters.

    Args:
        powercap: The folder of sysfs.
    """
    found = []
    for zone in sorted(powercap.glob("intel-rapl:*")):
        try:
            if (zone / "name").read_text().startswith("package"):
                found.append(_package(zone))
        except (OSError, ValueError):
            return []  # one package of two would be half the truth
    return found


def gpu_counters(uuids: Sequence[str]) -> list[Counter]:
    """The GPUs by NVIDIA's management library; none where it is missing or one of them has no such counter.

    The project's tests run without a GPU: they see this answer that it knows nothing, and no more.

    Args:
        uuids: As NVML writes them, `GPU-...`.
    """
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByUUID(each) for each in uuids]
        return [_gpu(handle) for handle in handles]
    except pynvml.NVMLError:
        return []


def cuda_uuids(devices: Sequence[int]) -> list[str]:
    """NVML's names of CUDA's devices, whichever of the machine's the process may see."""
    return [f"GPU-{torch.cuda.get_device_properties(each).uuid}" for each in devices]


def _package(zone: Path) -> Counter:
    def read() -> float:
        return int((zone / "energy_uj").read_text()) * MICRO

    return Counter(read, int((zone / "max_energy_range_uj").read_text()) * MICRO, read())


def _gpu(handle: object) -> Counter:
    def read() -> float:
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) * MILLI

    return Counter(read, 0.0, read())


def _taken(counters: Sequence[Counter]) -> float | None:
    failed, joules = any(each.failed for each in counters), sum(each.gone_up for each in counters)
    for each in counters:
        each.failed = False
        each.gone_up = each.gone_up if failed else 0.0
    return None if failed or not counters else joules
