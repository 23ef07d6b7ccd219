"""`segloop dossier` on registered versions: what it writes, where it is found, and what it refuses."""

import json
import re
from pathlib import Path

import pytest
import registry_case
import yaml
from mlflow import MlflowClient

from pipeline import dossier, gate, promote, registry, review, reviewer, rollback
from pipeline.errors import UserError
from pipeline.model_versions import find_version
from pipeline.params import read_section
from pipeline.registry_access import RegistryParams, open_registry
from pipeline.review import Decision
from pipeline.reviewer import Act

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

NAME = registry_case.NAME


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two registered versions, a promoter's key, and the reviewer alice."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("MLFLOW_TRACKING_URI", "SEGLOOP_DECISIONS", "SEGLOOP_PROMOTER_KEY"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    registry_case.write_workspace(Path.cwd())
    registry.main(registry.Act.INIT)
    reviewer.main(Act.ADD, "alice")


def champion_is(version: str) -> None:
    """Brings a version to the top in the ordinary way."""
    gate.main(version)
    review.main(version, Decision.APPROVE, "looked at it", "alice")
    promote.main(version)


def written(version: int) -> str:
    """The page of a version, written now."""
    dossier.main(str(version))
    return Path(f"data/dossiers/{NAME}-{version}.html").read_text()


def attached(version: int) -> str:
    """The page as MLflow has it."""
    run = MlflowClient().get_model_version(NAME, str(version)).run_id
    return Path(MlflowClient().download_artifacts(run, f"dossier/{NAME}-{version}.html")).read_text()


def description(version: int) -> str:
    """A version's description in MLflow."""
    return str(MlflowClient().get_model_version(NAME, str(version)).description)


def test_the_page_compares_the_version_with_the_champion() -> None:
    """The verdict's sentence and both versions are in it; it is small, and needs nothing from elsewhere."""
    champion_is("1")
    gate.main("2")
    page = written(2)
    assert "Passes every required one of" in page
    assert f"<h1>{NAME} version 2</h1>" in page
    assert "compared with champion version 1" in page
    assert len(page.encode()) <= yaml.safe_load(Path("params.yaml").read_text())["dossier"]["max_bytes"]
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", page)
    assert 'class="alarm' not in page


def test_the_champions_scores_have_intervals_too() -> None:
    """The verdict bounds the candidate alone; the page bounds the champion's mean and classes in the same way."""
    champion_is("1")
    gate.main("2")
    places = dossier.Places()
    opened = open_registry(read_section(RegistryParams, "registry", places.params))
    first, second = (find_version(NAME, number) for number in ("1", "2"))
    gathered = dossier.gather(opened, second, places)
    assert gathered.champion is not None
    assert gathered.champion.intervals.keys() == {"miou", "iou/red", "iou/green", "iou/blue"}
    judged = opened.verdict(first)
    assert judged is not None
    mean = next(each for each in judged.decisions if each.slo == "miou")
    assert gathered.champion.intervals["miou"] == pytest.approx((mean.low, mean.high))


def test_the_page_is_attached_to_the_version_and_linked_from_it() -> None:
    """The run holds it, the tag names it, and the description ends with a line that leads to it."""
    gate.main("1")
    page = written(1)
    version = MlflowClient().get_model_version(NAME, "1")
    assert attached(1) == page
    assert registry_case.tags(1)["segloop.dossier"] == f"runs:/{version.run_id}/dossier/{NAME}-1.html"
    experiment = MlflowClient().get_run(version.run_id).info.experiment_id
    place = f"#/experiments/{experiment}/runs/{version.run_id}/artifacts/dossier/{NAME}-1.html"
    assert description(1) == f"Dossier: [dossier/{NAME}-1.html]({place})"


def test_a_second_page_takes_the_place_of_the_first() -> None:
    """What was decided since is in the attached page; what a person wrote stays, with one link after it."""
    gate.main("1")
    MlflowClient().update_model_version(NAME, "1", "Trained by night.\nSee *the wiki*.")
    first = written(1)
    review.main("1", Decision.REJECT, "pallets look odd", "alice")
    second = written(1)
    assert "pallets look odd" not in first
    assert attached(1) == second
    assert "<b>review: reject</b> by alice" in second
    said = description(1)
    assert said.startswith("Trained by night.\nSee *the wiki*.\n\nDossier: [")
    assert said.count("Dossier: [") == 1


def test_a_version_needs_a_verdict_first() -> None:
    """The error names the command."""
    with pytest.raises(UserError, match="never judged: run `segloop gate 1` first"):
        dossier.main("1")


def test_a_verdict_on_another_holdout_is_refused() -> None:
    """Pictures of today's holdout would not be those that were judged; the champion is judged anew after its time."""
    champion_is("1")
    gate.main("2")
    facts = json.loads(Path("data/holdout.json").read_text())
    Path("data/holdout.json").write_text(json.dumps(facts | {"digest": "0" * 64}))
    with pytest.raises(UserError, match=r"judged on another holdout: run `segloop gate 2 --again`\."):
        dossier.main("2")
    with pytest.raises(UserError, match="`segloop gate 1 --again` once another version serves"):
        dossier.main("1")


def test_an_override_is_an_alarm_on_the_page_of_the_champion() -> None:
    """The page of a version that was forced past the gate is written although it serves, with its note as text."""
    champion_is("1")
    gate.main("2")
    promote.main("2", force=True, note="the <script>fleet</script> stands still")
    page = written(2)
    banner = page[page.index('<p class="alarm">') : page.index("<h1>")]
    assert "Override: promoted as champion by force." in banner
    assert "nobody had reviewed it." in banner
    assert "the &lt;script&gt;fleet&lt;/script&gt; stands still" in banner
    assert "compared with champion version 1" in page
    assert attached(2) == page


def test_a_rollback_is_an_alarm_on_the_page_of_the_version_that_failed() -> None:
    """The version that lost its place says so and why, also once it was judged anew."""
    champion_is("1")
    champion_is("2")
    rollback.main("people are missed")
    gate.main("2", again=True)
    page = written(2)
    banner = page[page.index('<p class="alarm">') : page.index("<h1>")]
    assert "Rolled back: version 1 took its place." in banner
    assert "people are missed" in banner
