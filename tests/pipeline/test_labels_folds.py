"""`segloop labels folds`: networks of which each judges masks that it never saw, killed and run again."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tiny import tiny_items

from pipeline import labels_check
from pipeline.errors import UserError
from pipeline.files import sha256_bytes, write_json
from pipeline.inference import Segmenter
from pipeline.label_qa.folds import assign_folds, judged_split
from pipeline.labels_folds import FoldParams, _key, _sections, _write_case, main
from pipeline.part_writer import write_batch
from pipeline.parts import read_index, read_items
from pipeline.prepare import accepted_items

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
SPLITS = {"g0": "train", "g1": "val", "g2": "test", "g3": "train", "g4": "train", "g5": "val"}
SMALL: dict[str, dict[str, object]] = {
    "dataset": {"path": "data/dataset"},
    "prepare": {"tile_px": 32, "overlap_px": 8, "scale": 1.0, "workers": 1},
    "train": {
        "max_epochs": 3,
        "batch_size": 4,
        "pictures": 1,
        "accelerator": "cpu",
        "network": {
            "architecture": "Unet",
            "encoder": "mobilenet_v2",
            "encoder_weights": None,
            "options": {"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
        },
    },
    "export": {"threads": 1, "temperature_tiles": 4, "parity_tiles": 4, "samples": 2},
    "label_folds": {"folds": 2, "max_epochs": 1},
    "labels": {"workers": 1, "decisions": "data/label_decisions.csv"},
}


def write_workspace(root: Path) -> None:
    """Writes a tiny dataset with its catalogue, verdicts, taxonomy and params."""
    data = root / "data"
    write_batch(data / "dataset", "first", list(tiny_items()), ["camera"])
    index = read_index(data / "dataset")
    masks = {row["item_id"]: sha256_bytes(mask) for row, _, mask in read_items(data / "dataset", index)}
    index.assign(width=64, height=48, mask_sha256=index["item_id"].map(masks)).to_parquet(data / "catalog.parquet")
    verdicts = index[["item_id", "revision"]].assign(split=index["group"].map(SPLITS), accepted=True)
    (data / "validation").mkdir()
    verdicts.to_parquet(data / "validation" / "items.parquet")
    write_json(data / "validation" / "verdict.json", {"acknowledged": []})
    (data / "taxonomy.yaml").write_bytes((ROOT / "data" / "taxonomy.yaml").read_bytes())
    sections = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, keys in SMALL.items():
        sections[section] |= keys
    (root / "params.yaml").write_text(yaml.safe_dump(sections))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of one's own, as the working folder."""
    write_workspace(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass(frozen=True)
class Made:
    """What a run left that was killed after its first fold, and run again.

    Attributes:
        root: The workspace.
        taught: The items that the first network learnt from, by its own list.
        first: When the first network was exported.
        half_done: Whether there was an output when it was killed.
        said: What the second run printed.
    """

    root: Path
    taught: set[str]
    first: int
    half_done: bool
    said: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Trains two tiny networks, killed between the folds, in an environment that names an MLflow store."""
    root = tmp_path_factory.mktemp("folds")
    write_workspace(root)
    command = [sys.executable, "-m", "pipeline.labels_folds"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db"}
    with subprocess.Popen(command, cwd=root, env=environment, start_new_session=True) as process:
        deadline = time.monotonic() + 400
        while not list(root.glob(".segloop/label_folds/*/1")):
            assert process.poll() is None, "it ended before the second fold"
            assert time.monotonic() < deadline, "no first fold in time"
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    (work,) = root.glob(".segloop/label_folds/*")
    taught = set(pd.read_parquet(work / "0" / "tiles" / "items.parquet")["item_id"])
    first = (work / "0" / "export" / "model.onnx").stat().st_mtime_ns
    half_done = (root / "data" / "label_folds").exists()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Made(root, taught, first, half_done, done.stdout)


def folds_of(root: Path) -> pd.DataFrame:
    """The list of who judges what."""
    return pd.read_parquet(root / "data" / "label_folds" / "items.parquet")


def test_a_network_never_learnt_from_what_it_judges(made: Made) -> None:
    """The first one's own list of what taught it holds every item of the other fold, and none of its own."""
    items = folds_of(made.root).set_index("item_id")["fold"]
    assert made.taught == set(items[items != 0].index)


def test_every_item_that_teaches_is_judged(made: Made) -> None:
    """Each once; the holdout's items are not among them."""
    items = folds_of(made.root)
    assert items["item_id"].is_unique
    assert set(items["group"]) == {group for group, split in SPLITS.items() if split != "test"}
    assert set(items["fold"]) == {0, 1}


def test_a_killed_run_leaves_no_half_output_and_goes_on(made: Made) -> None:
    """The first network is the one that was trained before the kill; only the second was trained anew."""
    assert not made.half_done
    assert (made.root / "data" / "label_folds" / "0" / "model.onnx").stat().st_mtime_ns == made.first
    assert made.said.count("prepared") == 1


def test_the_networks_are_whole_graphs_and_their_work_is_gone(made: Made) -> None:
    """Each proves itself on its samples and has the classes; tiles and checkpoints take no room any more."""
    for number in range(2):
        segmenter = Segmenter(made.root / "data" / "label_folds" / str(number), threads=1)
        segmenter.self_test()
        assert segmenter.num_classes == 5
    assert list((made.root / ".segloop" / "label_folds").iterdir()) == []


def test_mlflow_gets_no_run(made: Made) -> None:
    """Though the environment names a store, nothing is written to it."""
    assert not (made.root / "mlflow.db").exists()
    assert not (made.root / "mlruns").exists()


def test_a_second_run_does_nothing(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the same items and params the networks stay as they are."""
    monkeypatch.chdir(made.root)
    main()
    assert "nothing to do" in capsys.readouterr().out
    assert (made.root / "data" / "label_folds" / "0" / "model.onnx").stat().st_mtime_ns == made.first


def test_the_check_takes_the_folds(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without being told, `labels check` judges every item by both networks, and the holdout by one."""
    monkeypatch.chdir(made.root)
    labels_check.main()
    assert "judged by 2 model(s)" in capsys.readouterr().out
    assert pd.read_parquet(made.root / "data" / "labels" / "scores.parquet")["disputed"].notna().all()


def test_a_folds_case_is_what_prepare_reads(workspace: Path) -> None:
    """In each fold's catalogue and verdicts its own items are the holdout, and the project's holdout is not there."""
    items = accepted_items(Path("data/catalog.parquet"), Path("data/validation"))
    taught = items[items["split"] != "test"].reset_index(drop=True)
    fold, _ = assign_folds(taught, 2)
    for number in range(2):
        folder = workspace / str(number)
        _write_case(folder, Path("data/catalog.parquet"), taught.assign(split=judged_split(taught, fold, number)))
        case = accepted_items(folder / "catalog.parquet", folder / "validation")
        assert set(case["item_id"]) == set(taught["item_id"])
        assert set(case.loc[case["split"] == "test", "item_id"]) == set(taught["item_id"][fold == number])


def test_a_change_of_what_teaches_is_another_key(workspace: Path) -> None:
    """Another mask, another cut, other params, another taxonomy: the networks are made anew."""
    taxonomy = Path("data/taxonomy.yaml")
    taught = accepted_items(Path("data/catalog.parquet"), Path("data/validation"))
    fold, _ = assign_folds(taught, 2)
    keys = [
        _key(taught, fold, {}, taxonomy),
        _key(taught.assign(mask_sha256="other"), fold, {}, taxonomy),
        _key(taught, 1 - fold, {}, taxonomy),
        _key(taught, fold, {"train": {"seed": 1}}, taxonomy),
        _key(taught, fold, {}, workspace / "params.yaml"),
    ]
    assert len(set(keys)) == 5
    assert keys[0] == _key(taught, fold, {}, taxonomy)


@pytest.mark.parametrize(("epochs", "expected"), [(1, 1), (None, 3)])
def test_the_folds_may_be_trained_for_fewer_epochs(workspace: Path, epochs: int | None, expected: int) -> None:
    """Null takes what the section `train` says; params.yaml itself is not changed."""
    before = (workspace / "params.yaml").read_bytes()
    sections = _sections(workspace / "params.yaml", FoldParams(folds=2, max_epochs=epochs))
    assert sections["train"]["max_epochs"] == expected
    assert sections.keys() == {"limits", "prepare", "train", "export"}
    assert (workspace / "params.yaml").read_bytes() == before


def test_a_stage_that_fails_is_told_and_leaves_no_output(workspace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A damaged dataset stops the fold: the stage says why, and no folder of networks appears."""
    next(Path("data/dataset").rglob("*.parquet")).write_bytes(b"damaged")
    with pytest.raises(UserError, match="prepare` failed in a fold"):
        main()
    assert not (workspace / "data" / "label_folds").exists()
    assert capfd.readouterr().err
