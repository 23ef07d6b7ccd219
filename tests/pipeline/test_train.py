"""Tests of the stage `train`: what it writes, what it refuses, and that a kill loses at most an epoch."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tile_folder import write_tiles

from pipeline.command import exit_code
from pipeline.train import TrainParams, main
from training.network import NetworkSettings, build_network

ROOT = Path(__file__).resolve().parents[2]
OUTS = ["curves.png", "metrics.jsonl", "model.json", "model.safetensors", "predictions.png", "training.json"]
SMALL = {
    "max_epochs": 3,
    "batch_size": 4,
    "pictures": 3,
    "accelerator": "cpu",
    "network": {
        "architecture": "Unet",
        "encoder": "mobilenet_v2",
        "encoder_weights": None,
        "options": {"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
    },
}


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """The project's section `train` with a small network."""
    section = yaml.safe_load((ROOT / "params.yaml").read_text())["train"] | SMALL
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump({"train": section}))
    return file


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """Twelve training tiles."""
    return write_tiles(tmp_path / "tiles")


def change(params: Path, **keys: object) -> None:
    """Replaces keys of the section."""
    section = yaml.safe_load(params.read_text())["train"] | keys
    params.write_text(yaml.safe_dump({"train": section}))


def test_the_stage_writes_plain_files(tmp_path: Path, tiles: Path, params: Path) -> None:
    """Weights, facts, metrics and pictures are all there; nothing else is, and the checkpoints are gone."""
    main(tiles, tmp_path / "out", tmp_path / "store", params)
    out = tmp_path / "out"
    assert sorted(file.name for file in out.iterdir()) == OUTS
    assert list((tmp_path / "store").iterdir()) == []
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    assert {"step", "time", "train_loss", "val_iou/human", "learning_rate", "system/rss_mib"} <= set(lines[0])
    training = json.loads((out / "training.json").read_text())
    assert training["val_miou"] == max(line["val_miou"] for line in lines)
    assert training["epochs_run"] == 3
    assert (out / "curves.png").read_bytes()[1:4] == b"PNG"


def test_the_weights_fit_the_network_that_the_facts_name(tmp_path: Path, tiles: Path, params: Path) -> None:
    """From model.json and model.safetensors alone the network can be built again."""
    main(tiles, tmp_path / "out", tmp_path / "store", params)
    facts = json.loads((tmp_path / "out" / "model.json").read_text())
    named = {key: facts[key] for key in ("architecture", "encoder", "options")}
    network = build_network(NetworkSettings(**named, encoder_weights=None), facts["num_classes"])
    network.load_state_dict(load_file(tmp_path / "out" / "model.safetensors"))
    assert facts["tile_px"] == 32
    assert [each["name"] for each in facts["classes"]] == ["background", "floor", "human"]


def test_the_same_stage_twice_gives_the_same_weights(tmp_path: Path, tiles: Path, params: Path) -> None:
    """Weights and digest agree byte by byte."""
    for name in ("a", "b"):
        main(tiles, tmp_path / name, tmp_path / "store", params)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b"))
    assert first == second


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"network": {**SMALL["network"], "encoder": "resnet19"}}, "resnet19"),  # type: ignore[dict-item]
        ({"loss": {"terms": {"hinge": 1.0}, "class_weight_power": 0, "boundary_px": 1, "focal_gamma": 2}}, "hinge"),
        ({"learning_rate": 1}, "learning_rate"),
        ({"precision": "64"}, "precision"),
    ],
)
def test_wrong_params_are_the_users_mistake(
    tmp_path: Path, tiles: Path, params: Path, capsys: pytest.CaptureFixture[str], keys: dict[str, object], said: str
) -> None:
    """They end with exit code 2 and a message that names what was wrong, and no output."""
    change(params, **keys)
    assert exit_code(lambda: main(tiles, tmp_path / "out", tmp_path / "store", params)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_tiles_are_the_users_mistake(tmp_path: Path, params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without tiles ends with exit code 2 and names the file."""
    assert exit_code(lambda: main(tmp_path, tmp_path / "out", tmp_path / "store", params)) == 2
    assert "tiles.json" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_the_users_mistake(
    tmp_path: Path, tiles: Path, params: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with exit code 2 and names the key and the value."""
    change(params, accelerator="gpu")
    assert exit_code(lambda: main(tiles, tmp_path / "out", tmp_path / "store", params)) == 2
    assert "train.accelerator 'gpu'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_damaged_checkpoint_is_dropped(
    tmp_path: Path,
    tiles: Path,
    params: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    """Cut short by half, either checkpoint costs a warning and the epochs so far, not the training for ever."""
    store = tmp_path / "store"
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", lambda *_, **__: None)  # keep the checkpoints of a finished training
        main(tiles, tmp_path / "whole", store, params)
    (file,) = store.glob(f"*/{name}")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    main(tiles, tmp_path / "out", store, params)
    told = capsys.readouterr()
    assert f"{name} is missing or damaged" in told.err
    assert told.out.count("epoch 1 of 3") == 2
    whole, again = ((tmp_path / each / "model.safetensors").read_bytes() for each in ("whole", "out"))
    assert whole == again


def test_a_server_away_is_said_once_and_training_goes_on(
    tmp_path: Path, tiles: Path, params: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Live logging to a dead address costs one warning and no output."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    main(tiles, tmp_path / "out", tmp_path / "store", params)
    assert capsys.readouterr().err.count("no live logging") <= 1
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == OUTS


def test_epochs_show_up_in_mlflow_while_it_trains(
    tmp_path: Path, tiles: Path, params: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a tracking store the run of this digest has every epoch's metrics."""
    from pipeline.tracked_run import find_run
    from pipeline.tracking import client

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr("pipeline.live.PATIENCE_S", 120)
    main(tiles, tmp_path / "out", tmp_path / "store", params)
    run = find_run(json.loads((tmp_path / "out" / "training.json").read_text())["digest"])
    assert run is not None
    assert [point.step for point in client().get_metric_history(run, "val_miou")] == [0, 1, 2]


def test_the_proposed_defaults_are_valid() -> None:
    """The project's own section `train` has every key and no other."""
    TrainParams.model_validate(yaml.safe_load((ROOT / "params.yaml").read_text())["train"])


def stage(tmp_path: Path, tiles: Path, params: Path) -> list[str]:
    """The stage's command line, which writes to out/ and store/."""
    command = [sys.executable, "-m", "pipeline.train", "--tiles", str(tiles), "--params", str(params)]
    return [*command, "--out", str(tmp_path / "out"), "--store", str(tmp_path / "store")]


def ended_by(number: signal.Signals, command: list[str], store: Path) -> tuple[int, str]:
    """Runs the stage and sends a signal once an epoch is kept; its exit code and what it said on stderr."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 200
        while not list(store.glob("*/last.ckpt")):
            assert process.poll() is None, "the stage ended before it wrote a checkpoint"
            assert time.monotonic() < deadline, "no checkpoint in time"
            time.sleep(0.01)
        process.send_signal(number)
        _, said = process.communicate()
    return process.returncode, said


@pytest.mark.e2e
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_stage_says_so_and_resumes(
    tmp_path: Path, tiles: Path, params: Path, number: signal.Signals, code: int
) -> None:
    """A polite signal is no success: exit code and a line tell, and resumed it gives an uninterrupted one's bits."""
    change(params, max_epochs=40)
    main(tiles, tmp_path / "whole", tmp_path / "other", params)
    command = stage(tmp_path, tiles, params)
    ended, said = ended_by(number, command, tmp_path / "store")
    assert ended == code
    told = re.fullmatch(r"stopped after epoch (\d+); run it again to resume\n", said)
    assert told is not None, said
    assert not (tmp_path / "out").exists()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"epoch {int(told[1]) + 1} of 40" in again.stdout
    assert f"epoch {told[1]} of 40" not in again.stdout.splitlines()[1]
    whole, resumed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "out"))
    assert whole == resumed


@pytest.mark.e2e
def test_a_killed_stage_resumes_and_ends_the_same(tmp_path: Path, tiles: Path, params: Path) -> None:
    """After SIGKILL there is no output; run again it trains the other epochs and gives an uninterrupted one's bits."""
    change(params, max_epochs=6)
    main(tiles, tmp_path / "whole", tmp_path / "other", params)
    command = stage(tmp_path, tiles, params)
    ended, _ = ended_by(signal.SIGKILL, command, tmp_path / "store")
    assert ended == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ})
    assert again.stderr == ""
    assert "resuming" in again.stdout
    assert len(re.findall(r"^epoch ", again.stdout, re.MULTILINE)) < 6
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(6))
    whole, resumed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "out"))
    assert whole == resumed
