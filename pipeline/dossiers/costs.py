"""What the trainings took: time, and energy where counters told."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.dossiers.facts import Fact, beside
from pipeline.dossiers.sides import Evidence
from pipeline.dossiers.wording import UNKNOWN, at_commit, counted, duration, moment_of
from pipeline.errors import UserError

JOULES_PER_KWH = 3.6e6
MIB = 1 << 20
ENERGY, OF_GPUS = "system/energy_j", "system/gpu_energy_j"
MEASURED = (
    "Energy is what the counters of the machine's processor packages, and of the GPUs that trained, went up by: "
    "whatever else ran on them is in it; memory, disks and power supplies are not."
)
UNMEASURED = "Energy is unknown where the machine's counters could not be read, or an older release kept no epochs."

Epochs = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Cost:
    """What both trainings took, and what the figures cover."""

    facts: list[Fact]
    about: str


def cost(candidate: Evidence, champion: Evidence | None) -> Cost:
    """What the trainings took.

    Raises:
        UserError: The record of epochs is damaged.
    """
    ours, theirs = (_epochs(side) if side else [] for side in (candidate, champion))
    facts = beside(_facts(candidate, ours), _facts(champion, theirs) if champion else None)
    known = [any(ENERGY in line for line in epochs) for epochs in ((ours, theirs) if champion else (ours,))]
    return Cost(facts, " ".join([MEASURED] * any(known) + [UNMEASURED] * (not all(known))))


def energy(epochs: Epochs) -> str:
    """The energy of a training in words.

    Args:
        epochs: Lines of metrics.jsonl; `system/energy_j` is what an epoch took, `system/gpu_energy_j` the GPUs' part.
    """
    known = [line for line in epochs if line.get(ENERGY) is not None]
    if not known:
        return UNKNOWN
    total, gpus = sum(line[ENERGY] for line in known), sum(line.get(OF_GPUS) or 0.0 for line in known)
    whole = f"{_kwh(total)} kWh"
    if len(known) < len(epochs):
        whole = f"at least {whole} (known of {len(known)} of {counted(len(epochs), 'epoch')})"
    if not gpus:
        return f"{whole}, processors only"
    return f"{whole}, GPUs only" if gpus == total else f"{whole}, of which GPUs {_kwh(gpus)} kWh"


def _facts(side: Evidence, epochs: Epochs) -> dict[str, str]:
    trained, size = side.trained, side.exported.get("bytes")
    seconds, run, best = (trained.get(name) for name in ("seconds", "epochs_run", "best_epoch"))
    return {
        "commit": at_commit(side.side.run.commit, dirty=side.side.run.dirty),
        "trained": _span(epochs),
        "wall time of its epochs": UNKNOWN if seconds is None else duration(seconds),
        "epochs": UNKNOWN if run is None else f"{run}" + ("" if best is None else f", the best is number {best + 1}"),
        "device": str(trained.get("device", UNKNOWN)),
        "energy": energy(epochs),
        "size of the graph": UNKNOWN if size is None else f"{size / MIB:.1f} MiB",
    }


def _span(epochs: Epochs) -> str:
    """From the start of the first epoch to the end of the last one, interruptions included."""
    if not epochs or not {"time", "seconds"} <= epochs[0].keys():
        return UNKNOWN
    return f"{moment_of(epochs[0]['time'] - epochs[0]['seconds'])} to {moment_of(epochs[-1]['time'])}"


def _epochs(side: Evidence) -> Epochs:
    """The lines of metrics.jsonl; none where the version does not keep it."""
    file: Path = side.side.artifacts / "metrics.jsonl"
    if not file.exists():
        return []
    try:
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except ValueError as error:
        raise UserError(f"{file} is damaged ({error}): register {side.title} anew.") from None
    return [line for line in lines if isinstance(line, dict)]


def _kwh(joules: float) -> str:
    """Three digits that count, since a training takes anything from a thousandth of a kilowatt-hour to many."""
    return np.format_float_positional(joules / JOULES_PER_KWH, precision=3, fractional=False, trim="-")
