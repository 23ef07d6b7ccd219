"""The averaged weights are those that torch's own average gives; the record of epochs has the energy of each."""

import copy
import json
from pathlib import Path

import pytest
import torch
import yaml
from tile_folder import write_tiles
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.callbacks import EpochRecord, PairedAverage
from training.fit import build_task, build_trainer, quiet
from training.sampling import TileFeed
from training.settings import FitSettings
from training.tiles import TileFolder

ROOT = Path(__file__).resolve().parent.parent.parent


def moved(network: nn.Module) -> None:
    """Change every weight and every statistic in place, as a training step does."""
    network(torch.randn(4, 3))
    with torch.no_grad():
        for each in network.parameters():
            each.add_(torch.randn_like(each))


def test_average_equals_that_of_torch() -> None:
    """Over many steps, with the state reloaded in between, weights, statistics and counters agree with the parent's."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    ours, peer = (
        kind(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)  # type: ignore[no-untyped-call]
        for kind in (PairedAverage, AveragedModel)
    )
    for _ in range(5):
        moved(network)
        ours.update_parameters(network)
        peer.update_parameters(network)
        ours.load_state_dict(copy.deepcopy(ours.state_dict()))
    assert ours.n_averaged == 5
    for name, value in peer.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=0)


def record(root: Path, powercap: Path) -> list[dict[str, float]]:
    """The lines of two epochs on a machine whose one processor uses 2 J an epoch."""

    def spend(_: object) -> None:
        counter = powercap / "intel-rapl:0" / "energy_uj"
        if counter.exists():
            counter.write_text(str(int(counter.read_text()) + 2_000_000))

    folder = TileFolder.read(write_tiles(root / "tiles"))
    section = yaml.safe_load((ROOT / "params.yaml").read_text())["train"]
    del section["pictures"]
    settings = FitSettings.model_validate(section | {"accelerator": "cpu", "max_epochs": 2, "precision": "32"})
    lines = EpochRecord(root / "metrics.jsonl", [spend], powercap)
    with quiet():
        trainer = build_trainer(settings, root / "store", lines, progress_bar=False)
        trainer.fit(build_task(folder, settings, [0.5] * 3, [0.25] * 3), TileFeed(folder, settings, seed=0))
    return [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]


def test_each_epoch_has_its_own_energy(tmp_path: Path) -> None:
    """What the processor used since the epoch before stands in the line; on a CPU no GPU is part of it."""
    zone = tmp_path / "powercap" / "intel-rapl:0"
    zone.mkdir(parents=True)
    for name, content in (("name", "package-0"), ("max_energy_range_uj", "10000000"), ("energy_uj", "9000000")):
        (zone / name).write_text(content)
    lines = record(tmp_path, tmp_path / "powercap")
    assert [line["system/energy_j"] for line in lines] == [0.0, pytest.approx(2.0)]
    assert "system/gpu_energy_j" not in lines[0]


def test_without_counters_an_epoch_says_nothing_of_energy(tmp_path: Path) -> None:
    """No figure stands where none is known."""
    assert not any("energy" in name for line in record(tmp_path, tmp_path / "none") for name in line)
