"""The journey of four versions through gate, review, promotion, override and rollback, by the real commands."""

import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import registry_case
from journey_case import Journey, Told, approve, copied, set_up, words, write_journey

from pipeline import gate, promote, review
from pipeline.command import run
from pipeline.gating.verdict import Decision, Outcome

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The whole journey, walked once: read it, do not go on."""
    told = Told(write_journey(tmp_path_factory.mktemp("journey") / "work"))
    told.tell("registry init")
    told.tell("reviewer add alice")
    told.tell("gate 1")
    with told.journey.inside():  # as version 2 below, which goes the whole way in processes of its own
        review.main("1", review.Decision.APPROVE, "looked at it", "alice")
        promote.main("1")
    told.tell("gate 2")
    told.tell("review 2 approve --as alice:looked at it")
    told.tell("promote 2")
    told.tell("gate 3")
    with told.journey.inside():
        gate.main("4")
        review.main("4", review.Decision.REJECT, "blue looks odd", "alice")
    told.tell("promote 3", "promote 4")
    told.tell("promote 3 --force:the fleet stands still")
    told.tell("versions --log", "verify champion --scope champion")
    told.tell("rollback:people are missed since noon")
    told.tell("verify champion", "verify 3", "audit verify")
    return told


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """Champion 1, and nothing else decided: to be copied."""
    journey = write_journey(tmp_path_factory.mktemp("served") / "work")
    with journey.inside():
        set_up()
        approve("1")
        promote.main("1")
    return journey


def test_the_first_version_is_judged_alone(told: Told) -> None:
    """Gate 1 passes on the figures it was registered with, and says that this would be a first promotion."""
    said = told.said["gate 1"]
    assert said.code == 0, said.err
    assert "no champion yet: this would be a first promotion" in said.out
    assert not told.verdicts["gate 1"].candidate.measured


def test_a_version_better_in_every_class_passes(told: Told) -> None:
    """Gate 2 compares with champion 1 on the same images, and each class has risen."""
    assert told.said["gate 2"].code == 0, told.said["gate 2"].err
    assert "Compared with the champion, version 1, on the same images" in told.said["gate 2"].out
    changes = [each for each in told.verdicts["gate 2"].decisions if each.slo.startswith("non_inferiority/")]
    assert len(changes) == 3
    assert all(each.low is not None and each.low > 0 for each in changes)


def test_a_better_mean_does_not_buy_a_worse_critical_class(told: Told) -> None:
    """Gate 3 exits 1 with a sentence on green, although the mean has risen above the champion's."""
    said = told.said["gate 3"]
    assert said.code == 1
    green = level(told, "gate 3", "non_inferiority/green")
    assert (green.outcome, green.blocks, green.critical) == (Outcome.FAIL, True, True)
    assert green.why in said.out
    assert green.why.startswith("IoU of green minus the champion's is -0.")
    assert "wanted at least -0.030: it is missed" in green.why
    assert said.err == "error: segmenter version 3 is blocked by non_inferiority/green.\n"
    mean, champions = level(told, "gate 3", "miou"), level(told, "gate 2", "miou")
    assert mean.value is not None
    assert champions.value is not None
    assert mean.value > champions.value


def test_a_blocked_version_is_not_promoted(told: Told) -> None:
    """Promoting what the gate has blocked exits 1 and names the decision that blocked it."""
    said = told.said["promote 3"]
    assert said.code == 1
    assert "Version 3 did not pass its gate (decision 7)" in said.err


def test_a_rejection_is_repeated_to_whoever_promotes(told: Told) -> None:
    """Promoting a rejected version exits 1 with the reviewer's name and note."""
    said = told.said["promote 4"]
    assert said.code == 1
    assert said.err == "error: 'alice' rejected version 4: blue looks odd\n"


def test_an_override_is_called_one_everywhere(told: Told) -> None:
    """A forced promotion says OVERRIDE, so does the log, and `verify` says that nobody approved it."""
    forced = told.said["promote 3 --force:the fleet stands still"]
    assert forced.code == 0, forced.err
    assert forced.out.startswith("OVERRIDE")
    lines = told.said["versions --log"].out.splitlines()
    overrides = [line for line in lines if "OVERRIDE" in line]
    assert len(overrides) == 2  # where the version stands, and in the log
    assert "the fleet stands still" in overrides[1]
    verified = told.said["verify champion --scope champion"]
    assert verified.code == 0, verified.err
    assert "segmenter version 3 may serve as champion: an override without approval" in verified.out


def test_a_rollback_raises_the_alarm(told: Told) -> None:
    """The rollback exits 0, prints an alarm with its note, and names the champion that is back."""
    said = told.said["rollback:people are missed since noon"]
    assert said.code == 0, said.err
    assert said.out.startswith("ALARM: version 3 was rolled back by decision 11: people are missed since noon")
    assert "segmenter version 2 is champion again" in said.out


def test_only_the_newest_certificate_holds(told: Told) -> None:
    """After the rollback version 2 may serve again by its new certificate, and version 3 may not by its old one."""
    assert told.said["verify champion"].code == 0, told.said["verify champion"].err
    assert "segmenter version 2 may serve as champion: approved by alice" in told.said["verify champion"].out
    assert told.said["verify 3"].code == 1
    assert "an older certificate is replayed" in told.said["verify 3"].err


def test_the_aliases_follow_each_decision(told: Told) -> None:
    """MLflow shows champion and previous after each command as the log has them; a gate and a review move nothing."""
    shown = {command.partition(":")[0]: found for command, found in told.aliases.items()}
    wanted = {
        "gate 1": {},
        "gate 2": {"champion": 1},
        "review 2 approve --as alice": {"champion": 1},
        "promote 2": {"champion": 2, "previous": 1},
        "gate 3": {"champion": 2, "previous": 1},
        "promote 3": {"champion": 2, "previous": 1},
        "promote 4": {"champion": 2, "previous": 1},
        "promote 3 --force": {"champion": 3, "previous": 2},
        "rollback": {"champion": 2, "previous": 1},
    }
    assert {command: shown[command] for command in wanted} == {
        command: {"candidate": 4, **found} for command, found in wanted.items()
    }


def test_the_log_of_the_journey_stands_up_to_its_audit(told: Told) -> None:
    """Every decision is in the log, refused ones are not, and the audit exits 0 with MLflow's certificates agreeing."""
    said = told.said["audit verify"]
    assert said.code == 0, said.err
    assert said.out == "11 decisions, an unbroken chain; 3 certificates in MLflow agree\n"
    found = [(entry.kind, entry.version) for entry in told.journey.decisions()]
    steps = [(kind, version) for version in (1, 2) for kind in ("gate", "review", "promotion")]
    assert found == [*steps, ("gate", 3), ("gate", 4), ("review", 4), ("promotion", 3), ("rollback", 2)]


def level(told: Told, command: str, slo: str) -> Decision:
    """A service level of the verdict that a gate wrote."""
    return next(each for each in told.verdicts[command].decisions if each.slo == slo)


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        ("verify 9", "There is: 1 (previous), 2 (champion), 3, 4 (candidate)"),
        ("gate champion", "judge another version"),
        ("rollback: ", "--note is empty; say why"),
        ("review 3 reject --as alice:green is missed", "`segloop gate --again` judges it anew"),
        ("review champion approve --as alice:fine", "`segloop rollback` takes it back"),
        ("review 4 maybe --as alice:fine", "'approve', 'reject'"),
        ("reviewer add alice", "Choose another name"),
    ],
)
def test_a_mistake_exits_2_and_says_what_to_do(
    told: Told, command: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be asked for is the user's mistake; the message names a way on, and nothing is decided."""
    code, said = here(told.journey, command, capsys)
    assert (code, remedy in said) == (2, True), said
    assert len(told.journey.decisions()) == 11


def test_promoting_the_champion_again_decides_nothing(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever runs a promotion once more is told that it holds, and the log gets no second entry."""
    code, said = here(told.journey, "promote 2", capsys)
    assert (code, "is the champion already" in said) == (0, True), said
    assert len(told.journey.decisions()) == 11


@pytest.mark.parametrize("command", ["promote 1", "rollback:why", "verify 1"])
def test_without_the_promoters_key_the_way_to_it_is_named(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a workspace without keys the commands that need them exit 2 and name `segloop registry init`."""
    code, said = here(write_journey(tmp_path / "work"), command, capsys)
    assert code == 2
    assert "`segloop registry init`" in said


def test_evidence_that_does_not_fit_is_not_judged(
    served: Journey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A version that was registered with counts of other classes is refused, and nothing is recorded."""
    journey = copied(served, tmp_path)
    counts = journey.root / "made/2/evaluation/confusions.parquet"
    rows = pd.read_parquet(counts)
    rows.assign(confusion=[np.arange(16)] * len(rows)).to_parquet(counts)
    with journey.inside():
        version = registry_case.register(Path("made/2").absolute())
    code, said = here(journey, f"gate {version}", capsys)
    assert (code, "it is of another taxonomy. Evaluate anew" in said) == (2, True), said
    assert len(journey.decisions()) == 3


def test_evidence_that_mlflow_lost_is_named(
    served: Journey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A version whose counts are gone from MLflow is refused by the name of the file."""
    journey = copied(served, tmp_path)
    with journey.inside():
        version = registry_case.register(journey.root / "made/2")
        registry_case.artifact_file(version, "evaluation/confusions.parquet").unlink()
    code, said = here(journey, f"gate {version}", capsys)
    assert code == 2
    assert "MLflow lacks its evaluation/confusions.parquet. Register it anew" in said


def test_a_graph_exchanged_after_the_approval_is_not_promoted(
    served: Journey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The machine that promotes fetches the graph itself, and refuses one that is not the registered one."""
    journey = copied(served, tmp_path)
    with journey.inside():
        version = registry_case.register(journey.root / "made/2")
        approve(str(version))
        file = registry_case.artifact_file(version, "export/model.onnx")
        file.write_bytes(file.read_bytes() + b"x")
        shutil.rmtree(".segloop/versions")  # another machine has none of it
    code, said = here(journey, f"promote {version}", capsys)
    assert code == 2
    assert "not those that were registered" in said
    assert journey.aliases() == {"candidate": version, "champion": 1}


def test_a_damaged_local_copy_is_refused_once(
    served: Journey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes that went bad on this machine are refused and thrown away; the next call fetches them anew."""
    journey = copied(served, tmp_path)
    (graph,) = (journey.root / ".segloop/versions").glob("*/export/model.onnx")
    graph.write_bytes(b"damage")
    assert here(journey, "gate 2 --dry-run", capsys)[0] == 2
    assert here(journey, "gate 2 --dry-run", capsys)[0] == 0


def test_a_champion_that_mlflow_lost_can_be_rolled_back(
    served: Journey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the champion is gone from MLflow, the rollback that the gate proposes brings a champion that verifies."""
    journey = copied(served, tmp_path)
    with journey.inside():
        approve("2")
        promote.main("2")
    journey.mlflow.delete_model_version(registry_case.NAME, "2")
    assert "segloop rollback" in here(journey, "gate 4", capsys)[1]
    code, said = here(journey, "rollback:version 2 is gone", capsys)
    assert code == 0, said
    assert journey.aliases() == {"candidate": 4, "champion": 1}
    assert here(journey, "verify champion", capsys)[0] == 0
    assert "2 (not in MLflow" in here(journey, "versions", capsys)[1]


def here(journey: Journey, command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Runs a command line in this process, which spares its imports: its exit code, and all that it said."""
    name, *rest = words(command)
    capsys.readouterr()
    with journey.inside(), pytest.raises(SystemExit) as stop:
        run(import_module(f"pipeline.{name}").main, rest)
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out + said.err
