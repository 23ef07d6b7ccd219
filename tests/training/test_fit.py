"""Tests of whole trainings on tiny tiles: same numbers twice, resumed as if uninterrupted, best weights kept."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tile_folder import write_tiles

from training.callbacks import BEST, LAST, Epoch, WholeCheckpoints
from training.fit import METRICS, Fitted, fit
from training.settings import FitSettings
from training.tiles import TileFolder

SETTINGS: dict[str, Any] = {
    "seed": 3,
    "max_epochs": 3,
    "patience": 10,
    "gradient_clip": 1.0,
    "ema_decay": 0.9,
    "statistics_tiles": 8,
    "channels_last": True,
    "compile": False,
    "accelerator": "cpu",
    "devices": 1,
    "strategy": "auto",
    "precision": "32",
    "batch_size": 4,
    "workers": 0,
    "rare_share": 0.8,
    "network": {
        "architecture": "Unet",
        "encoder": "mobilenet_v2",
        "encoder_weights": None,
        "options": {"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
    },
    "loss": {
        "terms": {"cross_entropy": 1.0, "dice": 0.5},
        "class_weight_power": 0.5,
        "boundary_px": 1,
        "focal_gamma": 2.0,
    },
    "optimiser": {"learning_rate": 0.01, "weight_decay": 0.01, "warmup_share": 0.1, "final_share": 0.1},
    "augment": {
        "tiles_per_draw": 2,
        "horizontal_flip": 0.5,
        "vertical_flip": 0.0,
        "rotate_deg": 5,
        "translate": 0.0,
        "zoom": [0.9, 1.1],
        "brightness": 0.2,
        "contrast": 0.0,
        "saturation": 0.0,
        "hue": 0.0,
        "blur": 0.0,
        "blur_sigma_px": [0.5, 1.0],
        "noise": 0.0,
    },
}
CLOCKS = ("time", "seconds", "system/")

Train = Callable[..., Fitted]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Trains on twelve tiles: `train("store", max_epochs=2)`."""
    folder = TileFolder.read(write_tiles(tmp_path / "tiles"))

    def call(store: str = "store", listeners: tuple[Callable[[Epoch], None], ...] = (), **changes: object) -> Fitted:
        settings = FitSettings.model_validate({**SETTINGS, **changes})
        return fit(folder, settings, tmp_path / store, listeners=listeners)

    return call


def numbers(fitted: Fitted) -> list[Epoch]:
    """The history without clocks and memory."""
    return [{key: value for key, value in epoch.items() if not key.startswith(CLOCKS)} for epoch in fitted.history]


def weights_equal(one: Fitted, other: Fitted) -> bool:
    """Whether two trainings ended with the same bits."""
    pairs = zip(one.network.state_dict().items(), other.network.state_dict().items(), strict=True)
    return all(first[0] == second[0] and torch.equal(first[1], second[1]) for first, second in pairs)


class Killed(Exception):  # noqa: N818 - it stands for a signal
    """What a test raises in place of a kill."""


def kill_after(epoch: int) -> Callable[[Epoch], None]:
    """A listener that ends the training in the midst of an epoch's end: its line is written, its checkpoint not."""

    def listen(line: Epoch) -> None:
        if line["epoch"] == epoch:
            raise Killed

    return listen


def test_the_same_inputs_give_the_same_numbers(train: Train) -> None:
    """Two trainings on a CPU agree in every metric and every bit of the weights; another seed does not."""
    first, second, other = train("a"), train("b"), train("c", seed=4)
    assert numbers(first) == numbers(second)
    assert weights_equal(first, second)
    assert numbers(first) != numbers(other)


def test_a_resumed_training_equals_an_uninterrupted_one(train: Train, tmp_path: Path) -> None:
    """Stopped in its second epoch and started again, it gives the same numbers, weights and lines."""
    whole = train("whole")
    with pytest.raises(Killed):
        train("cut", listeners=(kill_after(1),))
    told: list[Epoch] = []
    resumed = train("cut", listeners=(told.append,))
    assert [line["epoch"] for line in told] == [1, 2]
    assert numbers(resumed) == numbers(whole)
    assert weights_equal(resumed, whole)
    lines = (tmp_path / "cut" / METRICS).read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2]


def test_a_finished_training_is_not_trained_again(train: Train) -> None:
    """Started again on its own store, it gives the same result and no further epoch."""
    first = train()
    told: list[Epoch] = []
    again = train(listeners=(told.append,))
    assert told == []
    assert numbers(again) == numbers(first)
    assert weights_equal(again, first)


def test_every_epoch_leaves_a_checkpoint(train: Train, tmp_path: Path) -> None:
    """An epoch that is not better than the one before can be resumed from as well."""
    still = {"learning_rate": 1e-9, "weight_decay": 0.0, "warmup_share": 0.0, "final_share": 1.0}
    train(optimiser=still, max_epochs=5, patience=5, ema_decay=0.0)
    best, last = (torch.load(tmp_path / "store" / name, weights_only=True)["epoch"] for name in (BEST, LAST))
    assert best < last == 4


def test_training_learns_and_keeps_its_best_weights(train: Train) -> None:
    """On an easy task mIoU gets high, and the weights given are those of the best epoch."""
    fitted = train(max_epochs=25, ema_decay=0.8)
    scores = [epoch["val_miou"] or 0.0 for epoch in fitted.history]
    assert max(scores) == scores[fitted.best_epoch]
    assert max(scores) > 0.6
    assert not fitted.network.training


def test_training_stops_early_and_stays_stopped(train: Train) -> None:
    """Without a better epoch for the patience it stops; resumed, it does not go on."""
    still = {"learning_rate": 1e-9, "weight_decay": 0.0, "warmup_share": 0.0, "final_share": 1.0}
    options: dict[str, Any] = {"optimiser": still, "patience": 2, "max_epochs": 30, "ema_decay": 0.0}
    first = train(**options)
    assert len(first.history) < 30
    assert len(train(**options).history) == len(first.history)


def test_a_diverged_training_says_so(train: Train) -> None:
    """A loss that is no number ends the training with the epoch and remedies."""
    wild = {"learning_rate": 1e30, "weight_decay": 0.0, "warmup_share": 0.0, "final_share": 1.0}
    with pytest.raises(ValueError, match="diverged"):
        train(optimiser=wild, gradient_clip=0.0)


def test_a_tile_that_the_network_cannot_take_is_refused(tmp_path: Path) -> None:
    """The error names the tile size and sizes that would do."""
    folder = TileFolder.read(write_tiles(tmp_path / "tiles", side=40))
    network = {"architecture": "FPN", "encoder": "resnet18", "encoder_weights": None, "options": {}}
    with pytest.raises(ValueError, match="tile_px is 40"):
        fit(folder, FitSettings.model_validate({**SETTINGS, "network": network}), tmp_path / "store")


def test_a_failed_write_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full a checkpoint is the old one, whole, and no partial file stays."""
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 1}, path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        WholeCheckpoints().save_checkpoint({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


SCRIPT = """
import json, sys
from pathlib import Path
from training.fit import fit
from training.settings import FitSettings
from training.tiles import TileFolder
tiles, store, settings = sys.argv[1:]
fitted = fit(TileFolder.read(Path(tiles)), FitSettings.model_validate_json(settings), Path(store))
print("leads" if fitted.leading else "follows", len(fitted.history))
"""


@pytest.mark.e2e
def test_two_processes_train_together(tmp_path: Path) -> None:
    """With Lightning's own settings for two processes one leads, and all validation tiles count once."""
    tiles = write_tiles(tmp_path / "tiles")
    (tmp_path / "train.py").write_text(SCRIPT)
    whole = {"architecture": "FPN", "encoder": "mobilenet_v2", "encoder_weights": None, "options": {}}
    settings = json.dumps({**SETTINGS, "network": whole, "devices": 2, "strategy": "ddp", "max_epochs": 2})
    command = [sys.executable, "-W", "error", str(tmp_path / "train.py"), str(tiles), str(tmp_path / "store"), settings]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "leads 2" in done.stdout
    lines = (tmp_path / "store" / METRICS).read_text().splitlines()
    assert len(lines) == 2


def test_mixed_precision_trains(train: Train) -> None:
    """The half precision that a GPU would use trains with clipped gradients."""
    fitted = train(max_epochs=1, precision="bf16-mixed", gradient_clip=1.0)
    assert len(fitted.history) == 1
