"""Versions of a model in MLflow, whoever registered them."""

from pathlib import Path

import pytest
import registry_case
from mlflow import MlflowClient

from pipeline.errors import SegloopError
from pipeline.model_versions import fetch, find_version

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two registered versions, in the working folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    registry_case.write_workspace(Path.cwd())


@pytest.mark.parametrize("source", ["{folder}", "../precious"])
def test_a_version_made_of_a_folder_of_this_machine_costs_nobody_that_folder(tmp_path: Path, source: str) -> None:
    """Somebody else's version, without our evidence, is refused, and what it was made of stays."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    run = MlflowClient().get_model_version("segmenter", "1").run_id
    MlflowClient().create_model_version("segmenter", source.format(folder=precious), run)
    with pytest.raises(SegloopError):
        fetch(find_version("segmenter", "3"))
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_a_damaged_copy_is_fetched_anew() -> None:
    """What was damaged here, and not in MLflow, is refused once and then replaced."""
    files = fetch(find_version("segmenter", "1"))
    graph = files.export / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"x")
    with pytest.raises(SegloopError, match="not those that were registered"):
        fetch(find_version("segmenter", "1"))
    assert fetch(find_version("segmenter", "1")).model_digest == files.model_digest
