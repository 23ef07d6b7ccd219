"""`segloop gate` on real versions in a real MLflow store."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import registry_case
import yaml

from pipeline import gate
from pipeline.errors import UserError, VerdictError
from pipeline.gating.verdict import Verdict
from pipeline.params import read_section
from pipeline.registry_access import RegistryParams, open_registry

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder and a home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("MLFLOW_TRACKING_URI", "SEGLOOP_DECISIONS", "SEGLOOP_PROMOTER_KEY"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def verdict() -> Verdict:
    """The verdict that the command wrote."""
    return Verdict.model_validate(json.loads(Path("data/gate/verdict.json").read_text()))


def log_kinds() -> list[str]:
    """The decisions in the log."""
    registry = open_registry(read_section(RegistryParams, "registry", Path("params.yaml")))
    return [entry.kind for entry in registry.log.entries()]


def set_gate(**changes: object) -> None:
    """Changes the section `gate` of the workspace."""
    file = Path("params.yaml")
    sections = yaml.safe_load(file.read_text())
    sections["gate"] |= changes
    file.write_text(yaml.safe_dump(sections))


def test_a_first_version_is_judged_by_itself() -> None:
    """Without a champion a version passes by its own levels; file, log, tags and the run's artifacts say the same."""
    registry_case.write_workspace(Path.cwd())
    gate.main("1")
    said = verdict()
    assert said.passed
    assert said.champion is None
    assert {each.slo for each in said.decisions} >= {"miou", "ece", "latency_p95_ms", "size_mib"}
    assert log_kinds() == ["gate"]
    assert registry_case.tags(1)["segloop.gate"] == "passed"
    assert registry_case.tags(1)["segloop.gate_digest"] == said.digest()


def test_judging_twice_is_judging_once() -> None:
    """An unchanged world gives the recorded verdict again; changed levels, or `--again`, a new one."""
    registry_case.write_workspace(Path.cwd())
    gate.main("1")
    first = verdict()
    gate.main("1")
    assert verdict() == first
    assert log_kinds() == ["gate"]
    set_gate(miou=0.11)
    gate.main("1")
    gate.main("1", again=True)
    assert log_kinds() == ["gate"] * 3


def test_a_missed_level_blocks_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """A mean below its level is a failed verdict, recorded as such, with a sentence that gives both figures."""
    registry_case.write_workspace(Path.cwd(), miou=0.99)
    with pytest.raises(VerdictError, match="is blocked by miou"):
        gate.main("1")
    assert "wanted at least 0.990" in capsys.readouterr().out
    assert registry_case.tags(1)["segloop.gate"] == "blocked"
    assert log_kinds() == ["gate"]


def test_a_dry_run_records_nothing() -> None:
    """`--dry-run` judges and prints, and leaves file, log and MLflow as they were."""
    registry_case.write_workspace(Path.cwd())
    gate.main("1", dry_run=True)
    assert log_kinds() == []
    assert not Path("data/gate").exists()
    assert "segloop.gate" not in registry_case.tags(1)


def test_a_version_is_measured_on_a_holdout_that_is_new_to_it() -> None:
    """Evidence of another holdout is not used: the version is measured on today's, and the verdict says so."""
    registry_case.write_workspace(Path.cwd())
    file = Path("data/holdout.json")
    holdout = json.loads(file.read_text())
    file.write_text(json.dumps(holdout | {"items": holdout["items"][:10], "digest": "f" * 64}))
    gate.main("1")
    said = verdict()
    assert said.candidate.measured
    assert said.holdout_digest == "f" * 64
    assert max(each.support.images for each in said.decisions) == 10


def test_images_left_out_of_the_evidence_are_measured() -> None:
    """A first version registered with counts of some of the images is judged on all of them."""
    registry_case.write_workspace(Path.cwd())
    counts = Path("case/candidate/evaluation/confusions.parquet")
    pd.read_parquet(counts).iloc[:9].to_parquet(counts)
    gate.main(str(registry_case.register(Path("case/candidate").resolve())))
    assert verdict().candidate.measured
    assert max(each.support.images for each in verdict().decisions) == 12


def test_figures_that_the_graph_does_not_give_are_not_believed(capsys: pytest.CaptureFixture[str]) -> None:
    """Counts of another graph, uploaded with this one, are found out on a few images, and all are measured anew."""
    registry_case.write_workspace(Path.cwd())
    shutil.copytree("case/champion/evaluation", "case/candidate/evaluation", dirs_exist_ok=True)
    gate.main(str(registry_case.register(Path("case/candidate").resolve())))
    assert verdict().candidate.measured
    assert "are not what the graph gives here" in capsys.readouterr().err


def test_another_critical_class_is_judged_anew() -> None:
    """What is critical decides on what blocks, so an earlier verdict does not hold any more."""
    registry_case.write_workspace(Path.cwd())
    gate.main("1")
    file = Path("data/taxonomy.yaml")
    file.write_text(
        file.read_text().replace('name: red, colour: "#ff0000"', 'name: red, colour: "#ff0000", critical: true')
    )
    gate.main("1")
    assert verdict().critical_classes == ["green", "red"]
    assert log_kinds() == ["gate", "gate"]


@pytest.mark.parametrize(("file", "content"), [("metrics.json", b"{"), ("confusions.parquet", b"junk")])
def test_damaged_evidence_is_the_users_matter(file: str, content: bytes) -> None:
    """Evidence that cannot be read is refused by its name."""
    registry_case.write_workspace(Path.cwd())
    (Path("case/candidate/evaluation") / file).write_bytes(content)
    version = registry_case.register(Path("case/candidate").resolve())
    with pytest.raises(UserError, match=file):
        gate.main(str(version))


@pytest.mark.parametrize("name", ["export/model.onnx", "evaluation/confusions.parquet"])
def test_changed_artifacts_are_refused(name: str) -> None:
    """A graph or counts that are not those registered end the judgement; nothing is recorded."""
    registry_case.write_workspace(Path.cwd())
    file = registry_case.artifact_file(1, name)
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(UserError, match="not those that were registered"):
        gate.main("1")
    assert log_kinds() == []


def test_evidence_of_another_taxonomy_is_refused() -> None:
    """Classes that mean something else now cannot be judged."""
    registry_case.write_workspace(Path.cwd())
    file = Path("data/taxonomy.yaml")
    file.write_text(file.read_text().replace("name: green", "name: grass"))
    with pytest.raises(UserError, match="another taxonomy"):
        gate.main("1")


def test_unknown_versions_and_classes_are_named() -> None:
    """A version that is not there, or a level of a class that is not, is an error that lists what there is."""
    registry_case.write_workspace(Path.cwd(), iou={"classes": {"gren": 0.5}})
    with pytest.raises(UserError, match=r"\['gren'\]"):
        gate.main("1")
    set_gate(iou={"classes": {}})
    with pytest.raises(UserError, match=r"There is: 1, 2 \(candidate\)"):
        gate.main("7")
