"""What a dossier says, before it is a page."""

import dataclasses
from pathlib import Path

import pytest
from dossier_case import write_case

from pipeline.dossiers import wording
from pipeline.dossiers.content import Dossier, assemble
from pipeline.dossiers.costs import ENERGY, OF_GPUS, energy
from pipeline.dossiers.inputs import DossierInputs
from pipeline.dossiers.sides import open_listed, open_sides
from pipeline.errors import UserError
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
    assert {row.change for row in changes.data.shares[1].rows} == {"0.00"}


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


def test_what_taught_both_is_compared(case: DossierInputs) -> None:
    """Training, validation and holdout each tell what was added, removed and drawn anew since the champion."""
    changes = told(case).changes
    assert changes is not None
    training, validation, holdout = (split.items for split in changes.data.splits)
    assert (training.before, training.after) == (3, 4)
    assert (training.added, training.removed, training.relabelled) == (["new"], [], ["t0"])
    assert (validation.before, validation.after, validation.relabelled) == (1, 1, [])
    assert (holdout.before, holdout.after, holdout.added) == (12, 12, [])
    assert changes.data.notes == []


def test_the_shares_of_the_training_tiles_are_compared(case: DossierInputs) -> None:
    """Each class's share of the pixels that taught, then and now."""
    changes = told(case).changes
    assert changes is not None
    tiles = changes.data.shares[0]
    assert tiles.title == "Training tiles"
    assert [(row.before, row.after, row.change) for row in tiles.rows] == [
        ("50.00%", "60.00%", "+10.00"),
        ("10.00%", "20.00%", "+10.00"),
        ("40.00%", "20.00%", "\N{MINUS SIGN}20.00"),
    ]


def test_what_an_older_version_does_not_keep_is_said(tmp_path: Path) -> None:
    """Without the lists of the champion nothing is compared, and a sentence says why."""
    case = write_case(tmp_path)
    for name in ("items.parquet", "tiles.json", "metrics.jsonl", "holdout.json"):
        (tmp_path / "champion" / name).unlink()
    dossier = told(case)
    assert dossier.changes is not None
    assert dossier.changes.data.splits == []
    assert [shares.title for shares in dossier.changes.data.shares] == ["Holdout at registration"]
    said = "the images that taught it, the class counts of its training tiles, the list of its holdout"
    assert dossier.changes.data.notes == [f"Not compared, since version 1 does not keep it: {said}."]
    assert {fact.name: fact.champion for fact in dossier.cost.facts}["trained"] == "unknown"


def test_cost_tells_time_and_energy(case: DossierInputs) -> None:
    """What the trainings took is what they recorded; energy is added up and says what it covers."""
    cost = told(case).cost
    facts = {fact.name: (fact.candidate, fact.champion) for fact in cost.facts}
    assert facts["wall time of its epochs"] == ("1:01:01", "1:01:01")
    assert facts["epochs"] == ("3, the best is number 3", "3, the best is number 3")
    assert facts["trained"][0] == "2023-11-14 22:12 UTC to 2023-11-14 22:15 UTC"
    assert facts["energy"] == ("1.5 kWh, of which GPUs 0.75 kWh", "unknown")
    assert "whatever else ran on them is in it" in cost.about
    assert "could not be read" in cost.about


@pytest.mark.parametrize(
    ("epochs", "words"),
    [
        ([{ENERGY: 3.6e6}], "1 kWh, processors only"),
        ([{ENERGY: 3.6e6, OF_GPUS: 3.6e6}], "1 kWh, GPUs only"),
        ([{ENERGY: 3.6e6}, {}], "at least 1 kWh (known of 1 of 2 epochs), processors only"),
        ([{ENERGY: 123.456}], "0.0000343 kWh, processors only"),
        ([{"seconds": 1.0}], "unknown"),
    ],
)
def test_energy_says_what_it_covers(epochs: list[dict[str, float]], words: str) -> None:
    """Which counters were there is told by the figures that they left, and epochs without one make it a lower bound."""
    assert energy(epochs) == words


def test_a_damaged_record_of_epochs_is_refused(tmp_path: Path) -> None:
    """A line that was cut off names its file."""
    case = write_case(tmp_path)
    (tmp_path / "candidate" / "metrics.jsonl").write_text('{"epoch": 0')
    with pytest.raises(UserError, match=r"metrics\.jsonl is damaged .*: register segmenter version 2 anew"):
        told(case)


SWAPPED = """version: 3
classes:
  - {id: 0, name: red, colour: "#ff0000"}
  - {id: 1, name: green, colour: "#00ff00", critical: true}
  - {id: 2, name: blue, colour: "#0000ff"}
remaps:
  version-1:
    values: {0: blue, 1: green, 2: red, 255: ignore}
    names: {red: blue, green: green, blue: red}
"""


def test_classes_are_followed_across_a_migration(tmp_path: Path) -> None:
    """Where migrations made red of blue and blue of red, that is said, and shares are those of what is red now."""
    case = write_case(tmp_path)
    (case.candidate.artifacts / "taxonomy.yaml").write_text(SWAPPED)
    changes = told(case).changes
    assert changes is not None
    assert changes.taxonomy[:2] == ["class blue is called red", "class red is called blue"]
    assert not any("was called" in line for line in changes.taxonomy)
    rows = {row.name: (row.before, row.after) for row in changes.data.shares[0].rows}
    assert rows == {"red": ("40.00%", "60.00%"), "green": ("10.00%", "20.00%"), "blue": ("50.00%", "20.00%")}
    assert any("whose masks the migration alone rewrote" in note for note in changes.data.notes)
