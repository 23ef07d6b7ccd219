"""Who is how good, against cases computed by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.agreement.annotators import Annotator, Mixup, annotators, error_figures, mixups, own_errors, unsettled
from pipeline.agreement.copies import UNNAMED, Copies
from pipeline.agreement.figures import Figure
from pipeline.agreement.images import How, compare
from pipeline.agreement.report import order
from pipeline.agreement.totals import Totals
from pipeline.images import Limits

VOID = 255
HOW = How(3, VOID, critical=(2,), tolerance_px=1, look_below=0.5, look_px=4, limits=Limits(max_bytes=9, max_pixels=9))


def drawn(**rows: list[int]) -> Copies:
    """One image as its annotators drew it, a row of pixels each."""
    masks = tuple(np.array([row], np.uint8) for row in rows.values())
    return Copies("sha", "group", tuple(f"item~{name}" for name in rows), tuple(rows), masks, {})


def described(*images: Copies, times: pd.DataFrame | None = None) -> dict[str, Annotator]:
    """The annotators of these images by name."""
    totals = Totals.of((compare(each, HOW) for each in images), HOW.num_classes)
    rows = pd.DataFrame({"annotator": []}) if times is None else times
    return {each.name: each for each in annotators(totals, rows, 3, error_figures(totals.pairs, 100, 0))}


def differing(share: float) -> np.ndarray:
    """A confusion matrix in which this share of 10,000 pixels differs."""
    return np.array([[10_000 - round(10_000 * share), round(10_000 * share)], [0, 0]])


def test_one_of_three_is_compared_with_the_majority_of_the_others() -> None:
    """Where the others are divided nothing is counted; void is no class, on either side."""
    found = described(drawn(a=[0, 1, 1, VOID], b=[0, 1, 2, 0], c=[0, 2, 2, 0]))
    # a: the others agree on pixels 0 and 2, are divided on 1, and a has void on 3. a is right on pixel 0 alone.
    assert found["a"].agreement == pytest.approx(1 / 2)
    # c: a and b agree on pixels 0 and 1, are divided on 2; on 3 only b has a class, which c shares.
    assert found["c"].agreement == pytest.approx(2 / 3)
    assert found["c"].mixups == (Mixup(others=1, drawn=2, px=1, share=1.0),)


def test_two_are_compared_with_each_other() -> None:
    """Both agree with the other on as many pixels."""
    found = described(drawn(a=[0, 0, 1, 1], b=[0, 1, 1, 1]))
    assert (found["a"].agreement, found["b"].agreement) == (0.75, 0.75)
    assert found["a"].iou.tolist()[:2] == pytest.approx([1 / 2, 2 / 3])
    assert found["a"].dice.tolist()[:2] == pytest.approx([2 / 3, 4 / 5])
    assert np.isnan(found["a"].iou[2])
    assert found["a"].sensitivity is None


def test_own_errors_are_solved_from_the_pairs() -> None:
    """Errors of 1%, 2% and 7% add up to differences of 3%, 8% and 9%, whoever drew most with whom."""
    pairs = {("a", "b"): differing(0.03), ("a", "c"): differing(0.08), ("b", "c"): differing(0.09) * 5}
    assert own_errors(pairs) == pytest.approx({"a": 0.01, "b": 0.02, "c": 0.07})


def test_own_errors_of_two_cannot_be_told_apart() -> None:
    """Nor those of four who were compared in a ring: whatever one adds, the next can take."""
    assert own_errors({("a", "b"): differing(0.1)}) == {}
    ring = {
        ("a", "b"): differing(0.1),
        ("b", "c"): differing(0.1),
        ("c", "d"): differing(0.1),
        ("a", "d"): differing(0.1),
    }
    assert own_errors(ring) == {}


def test_the_partner_of_a_bad_annotator_is_not_blamed() -> None:
    """Good and bad look alike to each other; a third tells which is which, and the better come first."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (20, 400))

    def copy(errors: float, number: int) -> list[int]:
        wrong = rng.random(400) < errors
        return np.where(wrong, (truth[number] + 1) % 3, truth[number]).tolist()  # type: ignore[no-any-return]

    images = [drawn(good=copy(0.02, 0), bad=copy(0.3, 0)) for _ in range(18)]
    images += [drawn(good=copy(0.02, 1), fair=copy(0.1, 1)), drawn(bad=copy(0.3, 2), fair=copy(0.1, 2))]
    found = described(*images)
    assert list(found) == ["good", "fair", "bad"]
    assert found["good"].miou < found["fair"].miou
    assert found["good"].own_error is not None
    assert found["good"].own_error.value == pytest.approx(0.02, abs=0.03)


def test_own_errors_come_with_intervals_over_the_groups() -> None:
    """Errors that were put in lie inside; two annotators alone have none."""
    rng = np.random.default_rng(2)
    true = {"a": 0.02, "b": 0.03, "c": 0.04}
    pairs = []
    for number in range(60):
        one, other = sorted(rng.choice(list(true), 2, replace=False))
        rows = [
            np.where(rng.random(500) < true[name], rng.integers(1, 3, 500), 0).astype(np.uint8) for name in (one, other)
        ]
        image = Copies(str(number), f"g{number}", ("1", "2"), (one, other), (rows[0][None], rows[1][None]), {})
        pairs += Totals.of([compare(image, HOW)], 3).pairs
    found = error_figures(pairs, 400, 0)
    assert all(figure.low is not None and figure.high is not None for figure in found.values())
    for name, figure in found.items():
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low < true[name] < figure.high
    assert error_figures([row for row in pairs if "c" not in row.annotators], 10, 0) == {}


def test_an_annotator_of_a_single_mask_takes_no_others_interval() -> None:
    """Draws without that mask still tell the others' errors; the one's own interval is not known."""
    rng = np.random.default_rng(4)
    true = {"a": 0.02, "b": 0.05, "c": 0.1}

    def copy(share: float) -> list[int]:
        return np.where(rng.random(500) < share, 1, 0).tolist()  # type: ignore[no-any-return]

    images = [drawn(**{name: copy(share) for name, share in true.items()}) for _ in range(12)]
    images.append(drawn(a=copy(true["a"]), d=copy(0.3)))
    placed = [replace(each, sha256=str(number), group=f"g{number}") for number, each in enumerate(images)]
    found = error_figures(Totals.of((compare(each, HOW) for each in placed), 3).pairs, 200, 0)
    assert {name: figure.low is not None for name, figure in found.items()} == {"a": 1, "b": 1, "c": 1, "d": 0}
    assert found["d"].value == pytest.approx(0.3, abs=0.06)


def test_overlapping_intervals_settle_no_order() -> None:
    """Two whose errors may be equal are named with each other; one that is apart from both is not."""
    errors = {"a": Figure(0.1, 0.05, 0.2), "b": Figure(0.15, 0.1, 0.25), "c": Figure(0.5, 0.4, 0.6)}
    who = [replace(each, own_error=errors[name]) for name, each in described(drawn(a=[0], b=[0], c=[0])).items()]
    assert unsettled(who) == {"a": ["b"], "b": ["a"]}
    assert order(who).endswith(": a and b")


def test_staple_gives_sensitivity_and_specificity() -> None:
    """Two who agree make the third's missed and invented pixels count: 1 of 4 missed, 1 of 4 invented."""
    sure = [0, 0, 0, 0, 1, 1, 1, 1]
    found = described(drawn(a=sure * 50, b=sure * 50, c=[0, 0, 0, 1, 0, 1, 1, 1] * 50))
    sensitivity, specificity = found["c"].sensitivity, found["c"].specificity
    assert sensitivity is not None
    assert specificity is not None
    assert (sensitivity[1], specificity[1]) == pytest.approx((0.75, 0.75), abs=0.01)
    assert found["a"].sensitivity is not None
    assert found["a"].sensitivity[1] == pytest.approx(1.0, abs=0.01)


def test_speed_is_the_median_of_the_known_times() -> None:
    """What is no positive number is not known; an annotator without any time has none."""
    times = pd.DataFrame(
        {"annotator": ["a"] * 5 + ["b"], "annotation_s": ["30", "50", "400", "soon", "-1", None]}, dtype=object
    )
    found = described(drawn(a=[0, 1], b=[0, 1]), times=times)
    assert (found["a"].seconds, found["a"].timed) == (50.0, 3)
    assert (found["b"].seconds, found["b"].timed) == (None, 0)


def test_confusions_are_listed_by_their_pixels() -> None:
    """The largest first, with the share of the class; no more than there are."""
    found = mixups(np.array([[90, 10, 0], [0, 50, 50], [0, 0, 7]]), 5)
    assert found == (Mixup(1, 2, 50, 0.5), Mixup(0, 1, 10, 0.1))


def test_two_masks_of_one_annotator_say_how_steady_it_is_and_nothing_else() -> None:
    """The pair is kept, but is no agreement of annotators."""
    image = drawn(a=[0, 1, 1, 1], b=[0, 1, 1, 0])
    twice = Copies(
        "sha", "group", ("1", "2", "3"), ("a", "a", "b"), (np.array([[0, 0, 0, 0]], np.uint8), *image.masks), {}
    )
    once, more = (Totals.of([compare(each, HOW)], 3) for each in (image, twice))
    assert [row.same_annotator for row in more.pairs] == [True, False, False]
    assert more.ratings[2].krippendorff_alpha() == once.ratings[2].krippendorff_alpha()
    assert more.by_pair["a", "a"].sum() == 4


def test_annotators_who_are_not_named_are_others() -> None:
    """Two masks without a name are a pair of different annotators."""
    masks = (np.array([[0, 1]], np.uint8), np.array([[0, 0]], np.uint8))
    totals = Totals.of([compare(Copies("sha", "g", ("1", "2"), (UNNAMED, UNNAMED), masks, {}), HOW)], 3)
    assert not totals.pairs[0].same_annotator
    assert totals.groups["g"].both_px.tolist() == [1, 0, 0]


def test_a_third_look_goes_to_the_critical_class_first_unless_a_majority_settles_it() -> None:
    """Class 2 is critical: missing with one of two it is listed with its box, missing with one of three it is not."""
    there, missing = [0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 0], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    (pair,) = compare(drawn(a=there, b=missing), HOW).pairs
    assert pair.look is not None
    assert (pair.look.label, pair.look.critical, pair.look.iou, pair.look.disputed_px) == (2, True, 0.0, 5)
    assert pair.look.box == (6, 0, 5, 1)
    settled = compare(drawn(a=there, b=missing, c=there), HOW)
    assert [each.look for each in settled.pairs] == [None] * 3
