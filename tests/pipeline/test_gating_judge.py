"""What the gate makes of evaluations whose quality is known."""

import math

import pytest
from known_quality import counts, gate_params

from pipeline.errors import UserError
from pipeline.gating.claims import Classes, deciding_level
from pipeline.gating.judge import Figure, Judgement, holm, judge
from pipeline.gating.verdict import Decision, Outcome

CLASSES = Classes(["floor", "pallet", "human"], frozenset({"human"}))


def decision(judged: Judgement, slo: str) -> Decision:
    """The decision of one service level."""
    return next(each for each in judged.decisions if each.slo == slo)


def test_a_level_clearly_kept_passes() -> None:
    """A value far above its threshold passes, with an interval around it and its support."""
    judged = judge(counts((0.9, 0.9, 0.9), spread=0.05), None, CLASSES, gate_params(iou={"classes": {"human": 0.5}}))
    human = decision(judged, "iou/human")
    assert (human.outcome, human.blocks, human.critical) == (Outcome.PASS, False, True)
    assert human.value is not None
    assert human.low is not None
    assert human.high is not None
    assert human.low < human.value < human.high
    assert (human.support.images, human.support.groups, human.support.pixels) == (120, 60, 120_000)
    assert judged.passed


def test_a_level_clearly_missed_fails_and_blocks() -> None:
    """A value far below its threshold fails, blocks, critical or not, and the sentence names both figures."""
    judged = judge(counts((0.9, 0.5, 0.9), spread=0.05), None, CLASSES, gate_params(iou={"classes": {"pallet": 0.8}}))
    pallet = decision(judged, "iou/pallet")
    assert (pallet.outcome, pallet.blocks) == (Outcome.FAIL, True)
    assert "IoU of pallet is 0." in pallet.why
    assert "wanted at least 0.800" in pallet.why
    assert not judged.passed


@pytest.mark.parametrize(("name", "blocks"), [("human", True), ("pallet", False)])
def test_what_is_unsettled_blocks_only_where_it_must_be_shown(name: str, blocks: bool) -> None:
    """An interval around the threshold is insufficient evidence: it blocks a critical class and lets another pass."""
    found = counts((0.8, 0.8, 0.8), spread=0.2)
    value = decision(judge(found, None, CLASSES, gate_params(iou={"default": 0.0})), f"iou/{name}").value
    judged = judge(found, None, CLASSES, gate_params(iou={"classes": {name: value}}, miou=0.1))
    settled = decision(judged, f"iou/{name}")
    assert (settled.outcome, settled.blocks) == (Outcome.INSUFFICIENT, blocks)
    assert "neither" in settled.why


def test_too_few_groups_are_no_evidence() -> None:
    """However good the value, bounds made of fewer groups than asked for are not believed."""
    params = gate_params(iou={"classes": {"human": 0.1}})
    judged = judge(counts((0.9, 0.9, 0.9), groups=15, per_group=8), None, CLASSES, params)
    assert decision(judged, "iou/human").outcome is Outcome.INSUFFICIENT
    assert "15 groups, too few" in decision(judged, "iou/human").why
    assert not judged.passed


def test_a_class_that_nobody_has_seen_is_no_evidence() -> None:
    """A class in neither truth nor prediction is undefined, never 0 or 1."""
    found = counts((0.9, 0.9, 0.9))
    found.confusion[:, 2, :] = found.confusion[:, :, 2] = 0
    human = decision(judge(found, None, CLASSES, gate_params(iou={"classes": {"human": 0.1}})), "iou/human")
    assert (human.outcome, human.value, human.bound) == (Outcome.INSUFFICIENT, None, None)
    assert human.blocks


def test_better_on_the_mean_but_worse_on_people_is_blocked() -> None:
    """A candidate whose mean rises while a critical class falls is blocked, and the sentence says why."""
    params = gate_params(non_inferiority={"default": 0.05, "classes": {"human": 0.02}})
    champion, candidate = counts((0.7, 0.7, 0.8), spread=0.03), counts((0.95, 0.95, 0.5), spread=0.03)
    judged = judge(candidate, champion, CLASSES, params)
    human = decision(judged, "non_inferiority/human")
    assert decision(judged, "non_inferiority/floor").outcome is Outcome.PASS
    assert (human.outcome, human.blocks) == (Outcome.FAIL, True)
    assert human.why.startswith("IoU of human minus the champion's is -0.")
    assert [each.slo for each in judged.decisions if each.blocks] == ["non_inferiority/human"]


def test_a_model_is_not_inferior_to_itself() -> None:
    """The paired difference of equal counts is exactly 0, within any margin."""
    found = counts((0.7, 0.7, 0.8), spread=0.1)
    judged = judge(found, found, CLASSES, gate_params(non_inferiority={"default": 0.001}))
    same = decision(judged, "non_inferiority/human")
    assert (same.value, same.low, same.high, same.outcome) == (0, 0, 0, Outcome.PASS)


def test_champion_and_candidate_need_the_same_images() -> None:
    """Counts of different images are not compared."""
    with pytest.raises(UserError, match="item-"):
        judge(counts((0.9, 0.9, 0.9), groups=20), counts((0.9, 0.9, 0.9), groups=21), CLASSES, gate_params())


def test_each_slice_has_its_own_level() -> None:
    """The mean is judged within every value of every slice column."""
    judged = judge(counts((0.9, 0.9, 0.9), spread=0.05), None, CLASSES, gate_params(slice_miou=0.5))
    slices = [each for each in judged.decisions if each.slo.startswith("slice/")]
    assert [each.slo for each in slices] == ["slice/camera=cam0/miou", "slice/camera=cam1/miou"]
    assert {each.support.images for each in slices} == {60}


def test_figures_are_simply_compared() -> None:
    """Latency and size pass at their limit and fail beyond it."""
    figures = [Figure("latency_p95_ms", "The time", 100.0, 100.0, "ms"), Figure("size_mib", "The size", 11, 10, "MiB")]
    judged = judge(counts((0.9, 0.9, 0.9)), None, CLASSES, gate_params(), figures)
    assert [(each.slo, each.outcome) for each in judged.decisions[-2:]] == [
        ("latency_p95_ms", Outcome.PASS),
        ("size_mib", Outcome.FAIL),
    ]
    assert decision(judged, "size_mib").why == "The size is 11.0 MiB, over the limit of 10."


def test_few_groups_are_judged_by_blocks_of_frames() -> None:
    """With two sequences, blocks of consecutive frames are drawn, and the verdict says for what it holds."""
    params = gate_params(iou={"classes": {"human": 0.5}}, min_groups=10, block_frames=10)
    judged = judge(counts((0.9, 0.9, 0.9), groups=2, per_group=60), None, CLASSES, params)
    assert (judged.resampled.kind, judged.resampled.units) == ("blocks", 12)
    assert "these sequences only" in judged.resampled.holds_for
    assert decision(judged, "iou/human").outcome is Outcome.PASS


def test_holm_corrects_for_the_number_of_claims() -> None:
    """The smallest p-value is multiplied by the number of tests, and none falls below one before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    adjusted = holm([0.01, math.nan, 0.02])
    assert adjusted[0] == pytest.approx(0.02)
    assert math.isnan(adjusted[1])


def test_bounds_are_stricter_with_few_groups() -> None:
    """The chance of error is cut where few groups hold the class, and is the usual one where many do."""
    assert deciding_level(0.95, 20) == pytest.approx(0.975)
    assert deciding_level(0.95, 10_000) == pytest.approx(0.95, abs=2e-4)
    assert deciding_level(0.95, 0) < 1
