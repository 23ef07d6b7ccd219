"""`segloop lineage` on real versions in a real MLflow store."""

import json
import subprocess
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from stage_outputs import write_outputs, write_store

from pipeline import lineage, register, track
from pipeline.errors import UserError, VerdictError
from pipeline.files import write_json
from pipeline.releasing.card import Card, card_files

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]
SECTIONS = """
registry: {decisions: "sqlite:///decisions.db", head: data/decisions.head, reviewers: data/reviewers.yaml,
  promoter: data/promoter.pub, four_eyes: true}
lineage: {requests: data/telemetry}
"""


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace with a registered version, which is the working folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for variable in ("MLFLOW_TRACKING_URI", "SEGLOOP_DECISIONS", "SEGLOOP_PROMOTER_KEY"):
        monkeypatch.delenv(variable, raising=False)
    write_store(tmp_path)
    data = write_outputs(tmp_path).data.relative_to(tmp_path)
    track.main(data)
    register.main(data)
    with Path("params.yaml").open("a") as params:
        params.write(SECTIONS)


def run_id() -> str:
    """Of the version's run."""
    return str(MlflowClient().get_model_version("segmenter", "1").run_id)


def found(what: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """The lineage as a program gets it, though a link of these hand-made outputs does not hold."""
    capsys.readouterr()
    with pytest.raises(VerdictError, match="broken at"):
        lineage.main(what, as_json=True)
    content = json.loads(capsys.readouterr().out)
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize("by", ["number", "alias", "run", "request"])
def test_a_version_is_found_by_whatever_names_it(by: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its number, an alias, the run that made it, a request that it answered."""
    Path("data/telemetry").mkdir()
    row = {"request_id": ["req-7"], "model_name": ["segmenter"], "model_version": [1]}
    pd.DataFrame(row).to_parquet("data/telemetry/today.parquet")
    what = {"number": "v1", "alias": "candidate", "run": run_id(), "request": "req-7"}[by]
    content = found(what, capsys)
    assert (content["version"], content["run"]) == (1, run_id())
    assert [item["item_id"] for item in content["items"]] == ["t0", "t1"]  # type: ignore[attr-defined]


def test_what_does_not_hold_is_a_failed_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """The tree says where the lineage breaks, and the command fails."""
    with pytest.raises(VerdictError, match="broken at: training"):
        lineage.main("1", items=True)
    said = capsys.readouterr().out
    assert "DOES NOT HOLD" in said
    assert "taught by 2 images (1 train, 1 val) of 2 groups" in said
    assert "masks drawn by ada 2" in said


@pytest.mark.parametrize(
    ("what", "message"),
    [("7", "has no version 7"), ("0" * 32, "holds no record"), ("champion", "holds no record")],
)
def test_what_is_unknown_is_named(what: str, message: str) -> None:
    """A number, a run or an alias that is not there."""
    with pytest.raises(UserError, match=message):
        lineage.main(what)


def test_a_run_without_a_version_is_told() -> None:
    """A run that was tracked and never registered leads to no version."""
    run = MlflowClient().create_run(MlflowClient().get_run(run_id()).info.experiment_id).info.run_id
    with pytest.raises(UserError, match="was never registered"):
        lineage.main(run)


def test_the_release_of_the_dataset_is_named(tmp_path: Path) -> None:
    """The tag whose card has the dataset's DVC hash; without one, the way to make one."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    facts = {"message": "docks", "author": "t", "created_at": "", "parent": "", "dataset": "data/dataset"}
    card = Card(1, "data/v1", **facts, dvc_md5="abc.dir", bytes=1, parts=1, content_digest="d", changes={}, content={})
    file, _ = card_files("data/v1")
    write_json(tmp_path / file, asdict(card))
    for words in (
        ["init"],
        ["add", "-f", str(file)],
        ["commit", "-m", "docks"],
        ["tag", "-a", "data/v1", "-m", "docks"],
    ):
        subprocess.run([*git, *words], cwd=tmp_path, check=True, capture_output=True)
    assert lineage.release_of("abc.dir") == "data/v1"
    assert "`segloop release` makes one" in lineage.release_of("def.dir")
    assert "`segloop release` makes one" in lineage.release_of(None)
