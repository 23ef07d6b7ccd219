"""`segloop track`: a run is completed from files, once, and what it holds is proven."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from stage_outputs import EPOCHS, write_evaluation, write_outputs, write_store

from pipeline import track
from pipeline.command import run
from pipeline.errors import OutageError, UserError
from pipeline.outputs import Outputs
from pipeline.tracked_run import find_run, run_for
from pipeline.tracking import client, configure, log_points, points

# MLflow's own queries use what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outputs:
    """A workspace with every stage's outputs, which is the working folder; its MLflow is a file in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_store(tmp_path)
    return Outputs(write_outputs(tmp_path).data.relative_to(tmp_path))


def tracked(outputs: Outputs) -> str:
    """Runs the action and returns the run's id."""
    track.main(outputs.data)
    found = find_run(outputs.training_digest)
    assert found is not None
    return found


def test_the_run_holds_params_points_results_files_and_tags(outputs: Outputs) -> None:
    """What the files say is what MLflow shows; what is undefined is not there."""
    run_id = tracked(outputs)
    run_ = client().get_run(run_id)
    assert run_.data.params["train.loss.cross_entropy"] == "1.0"
    assert [point.step for point in client().get_metric_history(run_id, "system/cpu")] == [0, 1, 2]
    assert run_.data.metrics["evaluation/iou/green"] == 0.25
    assert "evaluation/iou/blue" not in run_.data.metrics
    assert run_.data.tags["segloop.complete"] == "true"
    assert run_.info.status == "FINISHED"
    assert run_.inputs.dataset_inputs[0].dataset.name == "demo"
    names = {entry.path for entry in client().list_artifacts(run_id, "training")}
    assert {"training/curves.png", "training/metrics.jsonl"} <= names
    assert "training/model.safetensors" not in names


def test_the_run_names_whoever_submitted_and_whoever_started_it(
    outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four eyes are checked against both, so both are there from the run's birth on."""
    monkeypatch.setenv("SEGLOOP_AUTHOR", "Ada")
    monkeypatch.setenv("SEGLOOP_TRIGGERED_BY", "rita")
    run_id = tracked(outputs)
    tags = client().get_run(run_id).data.tags
    assert (tags["mlflow.user"], tags["segloop.triggered_by"]) == ("Ada", "rita")


def test_artifacts_lie_in_the_workspace(outputs: Outputs, tmp_path: Path) -> None:
    """Without a server, database and files are in the working folder."""
    run_id = tracked(outputs)
    assert (tmp_path / "mlflow.db").exists()
    assert (tmp_path / "mlartifacts" / run_id / "artifacts" / "taxonomy.yaml").exists()


def test_tracking_twice_leaves_the_same_world(outputs: Outputs, capsys: pytest.CaptureFixture[str]) -> None:
    """No second run, no doubled point, nothing pushed again."""
    run_id = tracked(outputs)
    ended = client().get_run(run_id).info.end_time
    capsys.readouterr()
    assert tracked(outputs) == run_id
    assert "already tracked" in capsys.readouterr().out
    assert len(client().search_runs([client().get_run(run_id).info.experiment_id])) == 1
    assert len(client().get_metric_history(run_id, "loss")) == EPOCHS
    assert client().get_run(run_id).info.end_time == ended


def test_what_live_logging_missed_is_added(outputs: Outputs) -> None:
    """Points that the training logged while it ran are completed, not repeated."""
    configure()
    lines = [json.loads(line) for line in (outputs.training / "metrics.jsonl").read_text().splitlines()]
    run_id = run_for(outputs.training_digest, name="live")
    log_points(run_id, points(lines[0]))
    assert tracked(outputs) == run_id
    assert [point.step for point in client().get_metric_history(run_id, "loss")] == [0, 1, 2]


def test_a_new_evaluation_is_added_to_the_same_run(outputs: Outputs) -> None:
    """The newest figures count, also when they return to earlier ones, and each evaluation keeps its own files."""
    run_id = tracked(outputs)
    for miou in (0.6, 0.5):
        write_evaluation(outputs.evaluation, outputs.model_digest, miou=miou)
        assert tracked(Outputs(outputs.data)) == run_id
        assert client().get_run(run_id).data.metrics["evaluation/miou"] == miou
    assert len(client().list_artifacts(run_id, "evaluation")) == 2


def test_an_evaluation_of_another_model_is_left_out(outputs: Outputs, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures of another model do not enter the run; the message says what to do."""
    write_evaluation(outputs.evaluation, "0" * 64, miou=0.9)
    run_id = tracked(outputs)
    assert not [key for key in client().get_run(run_id).data.metrics if key.startswith("evaluation/")]
    assert "dvc repro evaluate" in capsys.readouterr().out


def test_a_lost_artifact_is_pushed_again(outputs: Outputs, tmp_path: Path) -> None:
    """A file that vanished from the store comes back."""
    run_id = tracked(outputs)
    stored = tmp_path / "mlartifacts" / run_id / "artifacts" / "training" / "curves.png"
    stored.unlink()
    tracked(outputs)
    assert stored.exists()


def test_a_store_that_loses_points_is_found_out(outputs: Outputs) -> None:
    """What a store swallows without a word is named, and the run is not called complete."""
    with closing(sqlite3.connect("mlflow.db")) as store:
        store.execute("CREATE TRIGGER lose AFTER INSERT ON metrics WHEN NEW.key = 'loss' "
                      "BEGIN DELETE FROM metrics WHERE key = 'loss'; END")  # fmt: skip
    with pytest.raises(OutageError, match="lacks 3 points"):
        track.main(outputs.data)
    run_id = find_run(outputs.training_digest)
    assert run_id is not None
    assert "segloop.complete" not in client_tags(run_id)


def test_no_credentials_and_no_machine_paths_are_logged(outputs: Outputs, tmp_path: Path) -> None:
    """Neither params, tags, dataset nor text artifacts tell a password, a home folder or this workspace."""
    run_id = tracked(outputs)
    run_ = client().get_run(run_id)
    folder = tmp_path / "mlartifacts" / run_id / "artifacts"
    texts = [file.read_text() for file in folder.rglob("*") if file.suffix in {".yaml", ".json", ".jsonl"}]
    logged = str(run_.data.to_dictionary()) + str(run_.inputs.to_dictionary()) + "".join(texts)
    assert "weights.example" in logged
    assert not [secret for secret in ("hunter2", "somebody", str(tmp_path)) if secret in logged]


def test_the_runs_commit_is_the_one_of_its_creation(outputs: Outputs, tmp_path: Path) -> None:
    """The run bears the commit and says whether tracked files differed; a changed dvc.lock is no difference."""

    def git(*words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        return subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init")
    (tmp_path / "dvc.lock").write_text("stages: {}\n")
    git("add", "params.yaml", "dvc.lock")
    git("commit", "-m", "start")
    (tmp_path / "dvc.lock").write_text("stages:\n  catalog:\n    deps: [{path: data/demo, md5: abc.dir}]\n")
    sha = git("rev-parse", "HEAD").strip()
    tags = client_tags(tracked(outputs))
    assert (tags["mlflow.source.git.commit"], tags["segloop.git_dirty"]) == (sha, "false")
    assert tags["segloop.dataset_dvc"] == "abc.dir"
    git("commit", "--allow-empty", "-m", "later")
    assert client_tags(tracked(outputs))["mlflow.source.git.commit"] == sha


def client_tags(run_id: str) -> dict[str, str]:
    """A run's tags."""
    return dict(client().get_run(run_id).data.tags)


def test_without_a_training_the_message_names_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing output is the user's mistake, and the remedy is said."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        run(track.main, [])
    assert stop.value.code == 2
    assert "dvc repro train" in capsys.readouterr().err


def test_a_server_that_is_away_is_an_outage_within_seconds(outputs: Outputs) -> None:
    """The command ends with code 3, names the server without its password, and says that nothing is lost."""
    env = {**os.environ, "MLFLOW_TRACKING_URI": "http://bob:hunter2@127.0.0.1:9"}
    command = [sys.executable, "-m", "pipeline.track", "--data", str(outputs.data)]
    root = Path(__file__).resolve().parents[2]
    env["PYTHONPATH"] = str(root)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 3
    assert "http://127.0.0.1:9" in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [("training.json", "[]"), ("training.json", "{}"), ("metrics.jsonl", "[]\n"), ("metrics.jsonl", "{}\n")],
)
def test_a_damaged_file_of_the_training_is_named(outputs: Outputs, name: str, content: str) -> None:
    """JSON of another shape than the stage writes is refused with the file and the stage to run."""
    (outputs.training / name).write_text(content)
    with pytest.raises(UserError, match=rf"{name}.*dvc repro -f train"):
        track.main(outputs.data)
