"""Energy by the counters of Linux's RAPL, as its folder looks; GPUs are not there to be asked."""

from pathlib import Path

import pynvml
import pytest

from training.energy import EnergyMeter, gpu_counters, package_counters

RANGE_UJ = 262_143_328_850
ZONES = {
    "intel-rapl:0": "package-0",
    "intel-rapl:0:0": "core",
    "intel-rapl:1": "package-1",
    "intel-rapl:2": "psys",
    "intel-rapl-mmio:0": "package-0",
}


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """The folder of a machine with two packages, at 1 J each."""
    for zone, name in ZONES.items():
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "name").write_text(f"{name}\n")
        (tmp_path / zone / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        count(tmp_path, zone, 1_000_000)
    return tmp_path


def count(powercap: Path, zone: str, microjoules: int) -> None:
    """Sets a counter."""
    (powercap / zone / "energy_uj").write_text(f"{microjoules}\n")


def test_packages_add_up_and_nothing_counts_twice(powercap: Path) -> None:
    """Both packages are counted since the last time; their parts, the whole platform and the second way in are not."""
    meter = EnergyMeter(package_counters(powercap))
    for zone in ZONES:
        count(powercap, zone, 3_500_000)
    energy = meter.take()
    assert energy.packages_j == pytest.approx(5.0)
    assert energy.known_j == energy.packages_j
    assert meter.take().packages_j == 0


def test_a_counter_that_starts_anew_is_followed(powercap: Path) -> None:
    """A counter below its last reading has gone through the end of its range."""
    count(powercap, "intel-rapl:0", RANGE_UJ - 1_000_000)
    meter = EnergyMeter(package_counters(powercap))
    count(powercap, "intel-rapl:0", 2_000_000)
    assert meter.take().packages_j == pytest.approx(3.0)


def test_what_could_not_be_read_comes_with_the_next_reading(powercap: Path) -> None:
    """While one of two packages cannot be read nothing is known; later all of it is."""
    meter = EnergyMeter(package_counters(powercap))
    count(powercap, "intel-rapl:0", 2_000_000)
    (powercap / "intel-rapl:1" / "energy_uj").rename(powercap / "away")
    assert meter.take().known_j is None
    count(powercap, "intel-rapl:1", 4_000_000)
    assert meter.take().known_j == pytest.approx(4.0)


@pytest.mark.parametrize("damage", ["missing", "garbled", "unreadable"])
def test_a_machine_without_counters_knows_nothing(powercap: Path, damage: str) -> None:
    """No folder, a counter that is no number, one that may not be read: the energy is unknown, and no error."""
    counter = powercap / "intel-rapl:1" / "energy_uj"
    if damage == "garbled":
        counter.write_text("no number")
    elif damage == "unreadable":
        counter.unlink()
        counter.mkdir()  # a file without the right to read it is readable to root
    meter = EnergyMeter(package_counters(powercap / "none" if damage == "missing" else powercap))
    assert meter.take().known_j is None


def test_a_gpu_that_is_not_there_has_no_counter() -> None:
    """Without the driver, or with it and another GPU, there is nothing to read and no error."""
    assert gpu_counters(["GPU-00000000-0000-0000-0000-000000000000"]) == []


def test_the_management_library_has_what_is_asked_of_it() -> None:
    """The functions and the error that the counters rely on are there, since no GPU proves it here."""
    names = ("nvmlInit", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetTotalEnergyConsumption")
    assert all(callable(getattr(pynvml, name)) for name in names)
    assert issubclass(pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError)
