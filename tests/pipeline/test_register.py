"""`segloop register`: one version for one model, which serves, and which a crash does not double."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from decisions import PROMOTER, gate_draft, promote
from PIL import Image
from stage_outputs import write_evaluation, write_outputs, write_store

from pipeline import register, track
from pipeline.decisions.log import DecisionLog
from pipeline.errors import UserError
from pipeline.images import encode_image
from pipeline.outputs import Outputs
from pipeline.tracking import client

# MLflow's own: its queries use what SQLAlchemy 2.1 deprecates, and it warns of its own type hints when imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]
ROOT = Path(__file__).resolve().parents[2]
REGISTRY = """registry:
  decisions: sqlite:///decisions.db
  head: data/decisions.head
  reviewers: data/reviewers.yaml
  promoter: data/promoter.pub
  four_eyes: true
"""


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outputs:
    """A workspace with every stage's outputs and a complete run, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    for variable in ("MLFLOW_TRACKING_URI", "SEGLOOP_DECISIONS", "SEGLOOP_ROOT", "SEGLOOP_PROMOTER_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SEGLOOP_OUTCOME", str(tmp_path / "told.json"))
    write_store(tmp_path)
    outputs = Outputs(write_outputs(tmp_path).data.relative_to(tmp_path))
    with (tmp_path / "params.yaml").open("a") as params:
        params.write(REGISTRY)
    track.main(outputs.data)
    return outputs


def versions() -> list[Any]:
    """Every version of the model, the oldest first."""
    found = client().search_model_versions("name = 'segmenter'")
    return sorted(found, key=lambda version: int(version.version))


def candidate() -> str:
    """The version that the alias points at."""
    return str(client().get_model_version_by_alias("segmenter", "candidate").version)


def test_a_version_bears_its_origin_and_its_evidence(outputs: Outputs) -> None:
    """Tags name model, evaluation, holdout and dataset; artifacts hold graph, matrices, reference, plots, taxonomy."""
    register.main(outputs.data)
    (version,) = versions()
    assert candidate() == str(version.version)
    assert version.tags["segloop.model_sha256"] == outputs.model_digest
    assert version.tags["segloop.holdout_digest"] == outputs.holdout["digest"]
    assert version.tags["segloop.dataset_digest"] == outputs.tiles["dataset_digest"]
    folder = Path("mlartifacts") / "models" / register.model_id_of(version) / "artifacts" / "artifacts"
    evidence = ["export/model.onnx", "evaluation/confusions.parquet", "evaluation/reference.npz"]
    evidence += ["evaluation/metrics.json", "evaluation/plots/iou.csv", "taxonomy.yaml", "holdout.json"]
    assert not [name for name in evidence if not (folder / name).exists()]


def test_the_model_shows_the_scores_of_its_run(outputs: Outputs) -> None:
    """MLflow's page of the model has mIoU and IoU; the run's own points are not doubled."""
    register.main(outputs.data)
    (version,) = versions()
    scores = client().get_logged_model(register.model_id_of(version)).metrics
    assert {metric.key: metric.value for metric in scores}["evaluation/iou/green"] == 0.25
    assert len(client().get_metric_history(version.run_id, "evaluation/miou")) == 1


def test_registering_twice_gives_the_same_version(outputs: Outputs, capsys: pytest.CaptureFixture[str]) -> None:
    """One digest, one version; the second call says so."""
    register.main(outputs.data)
    register.main(outputs.data)
    assert len(versions()) == 1
    assert "was registered before" in capsys.readouterr().out


def test_registering_an_earlier_model_again_only_moves_the_alias(outputs: Outputs) -> None:
    """After a second version, the first model's files give the alias back to version 1."""
    register.main(outputs.data)
    write_evaluation(outputs.evaluation, outputs.model_digest, miou=0.4)
    register.main(outputs.data)
    assert (len(versions()), candidate()) == (2, "2")
    write_evaluation(outputs.evaluation, outputs.model_digest, miou=0.5)
    register.main(outputs.data)
    assert (len(versions()), candidate()) == (2, "1")


def test_the_champion_registered_again_is_told(outputs: Outputs) -> None:
    """The caller learns that there is nothing to judge; of a version that does not serve, it learns that too."""
    told = []
    register.main(outputs.data)
    told.append(json.loads(Path("told.json").read_text()))
    register.main(outputs.data)
    told.append(json.loads(Path("told.json").read_text()))
    log = DecisionLog("sqlite:///decisions.db", head_file=Path("data/decisions.head"), key=PROMOTER)
    log.append(gate_draft(1))
    promote(log, 1)
    register.main(outputs.data)
    told.append(json.loads(Path("told.json").read_text()))
    assert [(each["version"], each["is_champion"]) for each in told] == [("1", False), ("1", False), ("1", True)]


def test_an_evaluation_of_another_model_is_refused(outputs: Outputs) -> None:
    """A fresh export with a stale evaluation is the user's mistake, with its remedy, and nothing is registered."""
    write_evaluation(outputs.evaluation, "0" * 64, miou=0.9)
    with pytest.raises(UserError, match="dvc repro evaluate"):
        register.main(outputs.data)
    assert versions() == []


def test_a_graph_that_was_changed_by_hand_is_refused(outputs: Outputs) -> None:
    """The file must be the one that `export` wrote down."""
    with outputs.graph.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UserError, match="has digest"):
        register.main(outputs.data)


def test_an_untracked_training_is_refused(outputs: Outputs) -> None:
    """A version is only made of a run that is complete."""
    (version_run,) = client().search_runs([client().get_experiment_by_name("segloop").experiment_id])
    client().delete_tag(version_run.info.run_id, "segloop.complete")
    with pytest.raises(UserError, match="segloop track"):
        register.main(outputs.data)


KILLS = ["log_model_artifacts", "finalize_logged_model", "create_model_version", "set_registered_model_alias"]


@pytest.mark.parametrize("step", KILLS)
def test_a_crash_between_steps_is_completed_by_the_next_call(outputs: Outputs, step: str) -> None:
    """The process dies right before a step; running it again ends with one version, one upload and the alias."""
    kill = (
        f"import os, mlflow\nmlflow.MlflowClient.{step} = lambda *a, **k: os._exit(9)\n"
        f"from pathlib import Path\nfrom pipeline import register\nregister.main(Path('{outputs.data}'))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", kill], env=env, check=False).returncode == 9
    register.main(outputs.data)
    (version,) = versions()
    assert candidate() == str(version.version)
    uploads = client().search_logged_models([client().get_experiment_by_name("segloop").experiment_id])
    assert [upload.status for upload in uploads] == ["READY"]


def test_nothing_of_this_machine_travels_along(outputs: Outputs, tmp_path: Path) -> None:
    """No file of the packed model names the workspace, the checkout or a package index."""
    register.main(outputs.data)
    files = [file for file in (tmp_path / "mlartifacts" / "models").rglob("*") if file.is_file()]
    content = {file: file.read_bytes() for file in files}
    telling = (str(tmp_path).encode(), str(ROOT).encode(), b"index-url")
    assert files
    assert not [file for file, data in content.items() if any(word in data for word in telling)]


def test_the_model_loads_without_pickle_and_without_this_checkout(outputs: Outputs) -> None:
    """What was packed is enough: code, graph and limits; the mask has the size of the image and the right classes."""
    register.main(outputs.data)
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    env |= {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    image = stripes()
    Path("in.png").write_bytes(encode_image(image))
    script = (
        "import sys, pathlib, pandas, mlflow\n"
        "model = mlflow.pyfunc.load_model('models:/segmenter@candidate')\n"
        "import pipeline\n"
        f"assert not pipeline.__file__.startswith('{ROOT}'), pipeline.__file__\n"
        "frame = pandas.DataFrame({'image': [pathlib.Path('in.png').read_bytes()]})\n"
        "pathlib.Path('out.png').write_bytes(model.predict(frame)['mask'][0])\n"
    )
    subprocess.run([sys.executable, "-c", script], env=env, check=True)
    assert (np.asarray(Image.open("out.png")) == image.argmax(axis=2)).all()


def test_mlflow_models_serve_answers_with_masks(outputs: Outputs) -> None:
    """The documented way of serving takes base64 images and returns base64 masks; a broken image is a 400."""
    register.main(outputs.data)
    image = stripes()
    with served() as url:
        answer = requests.post(url, json=request_of(encode_image(image)), timeout=30)
        broken = requests.post(url, json=request_of(b"no image"), timeout=30)
    assert answer.status_code == 200
    (row,) = answer.json()["predictions"]
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(row["mask"]))))
    assert (mask == image.argmax(axis=2)).all()
    assert 0 < row["confidence"] <= 1
    assert broken.status_code == 400
    assert "image 0" in broken.text


def test_the_input_example_fits_the_signature(outputs: Outputs) -> None:
    """The packed example, read back as a request, has the column that the signature asks for."""
    register.main(outputs.data)
    (folder,) = (Path("mlartifacts") / "models").glob("*/artifacts")
    example = pd.read_json(folder / "serving_input_example.json", typ="series")["dataframe_split"]
    assert example["columns"] == ["image"]
    assert base64.b64decode(example["data"][0][0]).startswith(b"\x89PNG")


def stripes() -> np.ndarray:
    """An image larger than a tile, in seeded colours. Shape: (50, 70, 3), uint8."""
    return np.random.default_rng(3).integers(0, 255, (50, 70, 3), dtype=np.uint8)


def request_of(image: bytes) -> dict[str, object]:
    """The body of a request for one image."""
    return {"dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(image).decode()]]}}


@contextmanager
def served() -> Iterator[str]:
    """Runs `mlflow models serve` until the block ends; the address that takes images."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/segmenter@candidate"]
    command += ["--env-manager", "local", "--port", str(port)]
    env = {**os.environ, "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/ping", server)
            yield f"http://127.0.0.1:{port}/invocations"
        finally:
            server.terminate()
            server.wait(30)


def wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    """Waits until a server answers, at most two minutes."""
    for _ in range(240):
        assert server.poll() is None, "the server ended"
        try:
            if requests.get(url, timeout=2).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"{url} does not answer")


def test_a_version_bears_the_commit_that_it_is_registered_at(outputs: Outputs, tmp_path: Path) -> None:
    """Settings of the export may have changed since the training, whose run keeps its own commit."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init"], ["add", "params.yaml"], ["commit", "-m", "start"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True, capture_output=True)
    with (tmp_path / "params.yaml").open("a") as params:
        params.write("# another precision\n")
    register.main(outputs.data)
    (version,) = versions()
    sha = subprocess.run([*git, "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert version.tags["mlflow.source.git.commit"] == sha.strip()
    assert version.tags["segloop.git_dirty"] == "true"
