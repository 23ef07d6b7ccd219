"""What a dossier says, before it is a page."""

import dataclasses

import pytest
from dossier_case import write_case

from pipeline.dossiers import wording
from pipeline.dossiers.content import Dossier, assemble
from pipeline.dossiers.inputs import DossierInputs, RunFacts
from pipeline.dossiers.sides import open_listed, open_sides
from training.metrics import iou


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> DossierInputs:
    """A candidate beside its champion; read it, do not change it."""
    return write_case(tmp_path_factory.mktemp("case"))


def told(case: DossierInputs) -> Dossier:
    """What is said about a case."""
    return assemble(case, open_listed(case), *open_sides(case))


def test_critical_classes_come_first_with_both_scores(case: DossierInputs) -> None:
    """Scores are those of the counts, the candidate's interval that of the verdict."""
    candidate, champion = open_sides(case)
    assert champion is not None
    green = told(case).classes[0]
    assert (green.name, green.critical) == ("green", True)
    assert green.candidate == f"{iou(candidate.confusion)[1]:.3f}"
    assert green.champion == f"{iou(champion.confusion)[1]:.3f}"
    assert green.candidate_interval == "0.550 to 0.650"
    assert green.change_interval == "+0.050 to +0.150"


def test_the_champions_intervals_are_those_given(case: DossierInputs) -> None:
    """What was handed over for the champion stands beside its score; other scores have none."""
    dossier = told(case)
    assert dossier.mean.champion_interval == "0.000 to 1.000"
    assert dossier.classes[0].champion_interval == ""


def test_slices_are_ordered_by_what_got_worse(case: DossierInputs) -> None:
    """The slice whose mIoU fell most is the first."""
    changes = [float(row.change.replace("\N{MINUS SIGN}", "-")) for row in told(case).slices]
    assert len(changes) == 2
    assert changes == sorted(changes)


def test_cost_adds_up_the_epochs(case: DossierInputs) -> None:
    """The wall time is the sum of the epochs' seconds, or what the training says of itself; energy is unknown."""
    epochs = [{"seconds": 3600.0}, {"seconds": 61.4}, {"epoch": 2}]
    run = RunFacts(epochs=epochs)
    measured = told(dataclasses.replace(case, candidate=dataclasses.replace(case.candidate, run=run)))
    time, *_ = measured.cost
    assert (time.candidate, time.champion) == ("1:01:01", "1:01:01")
    assert next(fact for fact in measured.cost if fact.name == "energy").candidate == "unknown"


def test_lineage_marks_what_differs(case: DossierInputs) -> None:
    """Each digest stands beside the champion's; what is unknown on a side does not differ."""
    facts = {fact.name: fact for fact in told(case).lineage}
    assert facts["model (SHA-256)"].differs
    assert not facts["taxonomy version"].differs
    assert not facts["commit"].differs
    assert facts["verdict (gate digest)"].candidate == case.verdict.digest()


def test_changes_tell_settings_and_shares(case: DossierInputs) -> None:
    """Settings of the runs and of the exports differ; the holdout and its class shares do not."""
    changes = told(case).changes
    assert changes is not None
    assert {row.name for row in changes.settings} == {"train.seed", "export.temperature"}
    assert changes.items is not None
    assert not changes.items.added
    assert {row.change for row in changes.shares[0].rows} == {"0.00"}


def test_images_that_could_not_be_measured_are_told(case: DossierInputs) -> None:
    """A candidate measured on fewer images than the holdout has says so."""
    candidate, _ = open_sides(case)
    fewer = dataclasses.replace(case.candidate, rows=candidate.rows.iloc[:-1])
    notes = told(dataclasses.replace(case, candidate=fewer)).notes
    assert "1 of the holdout's 12 images could not be measured." in notes


@pytest.mark.parametrize(
    ("slo", "words"),
    [
        ("iou/human", "IoU of human"),
        ("slice/camera=dock=2/miou", "Mean IoU where camera is dock=2"),
        ("non_inferiority/a/b", "IoU of a/b, candidate minus champion"),
        ("latency_p95_ms", "Latency, 95th percentile"),
        ("something_new", "something_new"),
    ],
)
def test_service_levels_have_words(slo: str, words: str) -> None:
    """Every family of the gate has words; an unknown one stands for itself."""
    assert wording.service_level(slo) == words


def test_zero_has_no_sign_and_minus_is_a_minus() -> None:
    """What rounds to zero is neither better nor worse."""
    assert [wording.signed(each) for each in (-0.0001, 0.0, 0.01, -0.01, None)] == [
        "0.000",
        "0.000",
        "+0.010",
        "\N{MINUS SIGN}0.010",
        "",
    ]
