"""What the DAG's task shows a reviewer, and what the task after the answer gets from the promoter."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from promoter_case import RUN, add_section, airflow_pages, answers, asked, enter_workspace, served

from pipeline import approval, dossier, gate, promote, promotion_ask, verify
from pipeline.approval_text import Question
from pipeline.errors import OutageError, UserError, VerdictError
from pipeline.promotions.app import make_app

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two registered versions, the first judged."""
    enter_workspace(tmp_path, monkeypatch)
    monkeypatch.setenv("SEGLOOP_REPORTS_URL", "http://127.0.0.1:8900")


def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Any, *arguments: object) -> dict[str, Any]:
    """What a command tells the program that called it."""
    file = tmp_path / "outcome.json"
    file.unlink(missing_ok=True)
    monkeypatch.setenv("SEGLOOP_OUTCOME", str(file))
    call(*arguments)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_what_is_shown_is_what_the_promoter_expects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole line: the text goes to Airflow, alice approves it, the promoter promotes, once."""
    shown = told(tmp_path, monkeypatch, approval.main, "1")
    assert shown["body"] in capsys.readouterr().out
    assert f"http://127.0.0.1:8900/{shown['dossier']}" in shown["body"]
    with airflow_pages() as pages:
        add_section(airflow=pages.url)
        pages.add(asked(Question(shown["subject"], shown["body"])))
        with served(make_app(answers("http://127.0.0.1:8900"), 60)) as address:
            monkeypatch.setenv("SEGLOOP_PROMOTER_URL", address)
            first = told(tmp_path, monkeypatch, promotion_ask.main, RUN)
            again = told(tmp_path, monkeypatch, promotion_ask.main, RUN)
            with pytest.raises(VerdictError, match="Airflow knows no run"):
                promotion_ask.main("another")
    assert (first["outcome"], first["certificate"], again["outcome"]) == ("promoted", 3, "already")
    assert "promoted: segmenter version 1 is the champion by decision 3" in capsys.readouterr().out
    verify.main("1")


def test_the_dossier_lies_where_the_text_links_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one the command says how to make it; with one the page that MLflow keeps is served."""
    reports = tmp_path / "reports"
    with pytest.raises(UserError, match="run `segloop dossier 1` first"):
        approval.main("1", reports)
    dossier.main("1")
    shown = told(tmp_path, monkeypatch, approval.main, "1", reports)
    assert (reports / shown["dossier"]).read_bytes() == Path("data/dossiers/segmenter-1.html").read_bytes()
    assert shown["dossier_url"] in shown["body"]
    gate.main("1", again=True)
    with pytest.raises(UserError, match="about another verdict"):
        approval.main("1", reports)


def test_nobody_is_asked_about_what_may_not_be_reviewed() -> None:
    """Neither a version that was never judged, nor one that its gate has blocked."""
    with pytest.raises(UserError, match="is registered, so a review is not possible"):
        approval.main("2")
    sections = yaml.safe_load(Path("params.yaml").read_text())
    sections["gate"]["miou"] = 1.0
    Path("params.yaml").write_text(yaml.safe_dump(sections))
    with pytest.raises(VerdictError):
        gate.main("2")
    with pytest.raises(UserError, match="is blocked, so a review is not possible"):
        approval.main("2")


def _another_holdout() -> None:
    file = Path("data/holdout.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"digest": "0" * 64}))


def _other_settings() -> None:
    sections = yaml.safe_load(Path("params.yaml").read_text())
    sections["gate"]["miou"] = 0.11
    Path("params.yaml").write_text(yaml.safe_dump(sections))


def _another_champion() -> None:
    gate.main("2")
    promote.main("2", force=True, note="the fleet stands still")


@pytest.mark.parametrize("change", [_another_holdout, _other_settings, _another_champion])
def test_nobody_is_asked_about_a_verdict_that_no_longer_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]
) -> None:
    """The promoter would refuse the answer: the command fails as a verdict does, and says what to run."""
    change()
    file = tmp_path / "outcome.json"
    monkeypatch.setenv("SEGLOOP_OUTCOME", str(file))
    remedy = (
        r"gate is void.*Run `segloop gate 1 --again`\. Then start a new run of the DAG `promotion` about version 1\."
    )
    with pytest.raises(VerdictError, match=remedy):
        approval.main("1")
    assert not file.exists()


def test_a_holdout_that_is_being_rebuilt_is_an_outage() -> None:
    """Whether the verdict holds cannot be told then: the task is tried again, and asks once it is there."""
    holdout = Path("data/holdout.json")
    holdout.rename("aside.json")
    with pytest.raises(OutageError, match=r"cannot be told now: There is no data/holdout\.json"):
        approval.main("1")
    Path("aside.json").rename(holdout)
    approval.main("1")
