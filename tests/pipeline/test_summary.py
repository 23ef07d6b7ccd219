"""`segloop summary`: the table at the end of the demo."""

from pathlib import Path

import pytest
from stage_outputs import write_evaluation, write_outputs

from pipeline import summary
from pipeline.errors import UserError
from pipeline.outputs import Outputs

LOCK = "stages: {prepare: {deps: [{path: data/demo, md5: 1.dir, size: 5, nfiles: 1}]}}"


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outputs:
    """A workspace with every stage's outputs, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Outputs(write_outputs(tmp_path).data.relative_to(tmp_path))


def test_the_print_names_classes_pictures_docs_and_mlflow(outputs: Outputs, capsys: pytest.CaptureFixture[str]) -> None:
    """What a person needs next is there: scores, an undefined one as a dash, paths and the command."""
    summary.main(outputs.data)
    told = capsys.readouterr().out
    expected = ["green (critical)", "0.750", "80.0%", "mIoU 0.500 on 2 holdout images", "gives 0.400", "curves.png"]
    expected += ["data/evaluation/gallery/", "data/validation/docs/index.html"]
    expected += ["mlflow ui --backend-store-uri sqlite:///mlflow.db"]
    assert [text for text in expected if text not in told] == []


def test_without_an_evaluation_the_message_says_what_to_run(outputs: Outputs) -> None:
    """Nothing to sum up is the user's mistake."""
    (outputs.evaluation / "metrics.json").unlink()
    with pytest.raises(UserError, match="dvc repro evaluate"):
        summary.main(outputs.data)


def test_a_stale_evaluation_is_said(outputs: Outputs, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures of another model than the exported one do not pass in silence."""
    write_evaluation(outputs.evaluation, "0" * 64, miou=0.9)
    summary.main(outputs.data)
    assert "Not up to date" in capsys.readouterr().out


def test_data_that_grew_since_the_tiles_were_made_is_said(outputs: Outputs, capsys: pytest.CaptureFixture[str]) -> None:
    """After an ingestion the old figures come with a hint, without one and without a record they do not."""
    part = outputs.data / "demo" / "first" / "part-00000.parquet"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"items")
    summary.main(outputs.data)
    Path("dvc.lock").write_text(LOCK)
    summary.main(outputs.data)
    assert "changed since" not in capsys.readouterr().out
    part.with_name("part-00001.parquet").write_bytes(b"more")
    summary.main(outputs.data)
    assert "Not up to date: data/demo changed since; run `dvc repro`" in capsys.readouterr().out


def test_an_undefined_score_is_a_dash() -> None:
    """A class that is nowhere has no IoU, which is neither 0 nor 1."""
    assert (summary.score(None), summary.score(0.25)) == ("-", "0.250")
