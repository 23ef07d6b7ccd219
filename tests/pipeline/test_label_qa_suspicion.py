"""Which masks are suspected, of what, where, and in which order: on masks made wrong on purpose."""

from dataclasses import replace

import numpy as np
import pytest
from label_check_case import (
    LEAST,
    NAMES,
    as_jpeg_leaves_it,
    enlarged,
    exchanged,
    look,
    misnamed,
    of_few_corners,
    scene,
    sound,
)

from pipeline.label_qa.alignment import Alignment
from pipeline.label_qa.judged import WORST, surprise
from pipeline.label_qa.looks import Look
from pipeline.label_qa.suspicion import Kind, Suspicion, judge, overall, ranked

SOUND = 60
PATCH = (100, 4, 156, 44)  # left, top, right, bottom: more than an object's share of the image


def faults() -> list[Look]:
    """A mask of each kind of fault; the model that judges all but one of them knows the truth."""
    patched = scene(108)[1].copy()
    patched[PATCH[1] : PATCH[3], PATCH[0] : PATCH[2]] = 4
    wrong = {
        "empty": (101, np.zeros_like(scene(101)[1])),
        "shifted": (112, np.roll(scene(112)[1], (-5, 12), (0, 1))),
        "foreign": (103, scene(203)[1]),
        "inverted": (104, exchanged(scene(104)[1], 0, 1)),
        "polygons": (105, of_few_corners(scene(105)[1])),
        "enlarged": (106, enlarged(scene(106)[1], 4)),
        "jpeg": (107, as_jpeg_leaves_it(scene(107)[1])),
        "misnamed": (109, misnamed(scene(109)[1], 3, 2)[0]),
        "disputed": (108, patched),
    }
    known = {name: scene(number)[1] for name, (number, _) in wrong.items() if name != "misnamed"}
    return [look(name, scene(number)[0], mask, known.get(name)) for name, (number, mask) in wrong.items()]


def rank(found: list[Look]) -> list[Suspicion]:
    """The list."""
    return ranked(found, judge(found, NAMES), NAMES, LEAST)


@pytest.fixture(scope="module")
def listed() -> dict[str, Suspicion]:
    """What is listed of sixty sound masks and one of each kind of fault, by item."""
    return {each.item_id: each for each in rank([*sound(SOUND), *faults()])}


def test_nothing_but_the_faults_is_listed(listed: dict[str, Suspicion]) -> None:
    """Sound masks among wrong ones stay off the list, and no fault is missed."""
    assert listed.keys() == {each.item_id for each in faults()}


@pytest.mark.parametrize(
    ("item", "kind", "said"),
    [
        ("empty", Kind.EMPTY, "1 class and no outline"),
        ("shifted", Kind.SHIFTED, "moved by -12 px to the right and +5 px down"),
        ("inverted", Kind.EXCHANGED, "background and floor lie where the other usually does"),
        ("polygons", Kind.COARSE, "corners in 100 px"),
        ("enlarged", Kind.COARSE, "squares of 4 px"),
        ("jpeg", Kind.SPECKS, "stored as JPEG"),
        ("misnamed", Kind.MISNAMED, "drawn as pallet looks like human"),
        ("disputed", Kind.DISPUTED, "sure of background where the mask says obstacle"),
    ],
)
def test_a_fault_is_told_by_its_kind_and_reason(listed: dict[str, Suspicion], item: str, kind: Kind, said: str) -> None:
    """Each wrong mask is suspected of what was done to it, in a sentence that says so."""
    assert (listed[item].kind, listed[item].score >= LEAST) == (kind, True)
    assert said in listed[item].why


def test_the_mask_of_another_image_is_told_by_its_outlines(listed: dict[str, Suspicion]) -> None:
    """It agrees with its image nowhere: in place or moved, the outlines are what is said to be wrong."""
    assert listed["foreign"].kind in {Kind.SHIFTED, Kind.UNRELATED}


def test_a_mask_that_fits_nowhere_is_not_said_to_be_shifted() -> None:
    """A place where it agrees a little more by chance, far less than others in theirs, is no place to move it to."""
    (last,) = sound(SOUND)[-1:]
    assert last.seen is not None
    seen = replace(last.seen, alignment=Alignment(in_place=0.5, gain=4.0, dx=-27, dy=0))
    found = rank([*sound(SOUND - 1), replace(last, seen=seen)])
    assert [(each.item_id, each.kind) for each in found] == [(last.item_id, Kind.UNRELATED)]


def test_a_misnamed_object_is_shown_in_its_box(listed: dict[str, Suspicion]) -> None:
    """The class is the one that it was drawn in, the box its own."""
    assert (listed["misnamed"].class_name, listed["misnamed"].box) == ("pallet", misnamed(scene(109)[1], 3, 2)[1])


def test_a_disputed_region_is_shown_in_its_box(listed: dict[str, Suspicion]) -> None:
    """The class is the mask's, the box contains the region but for the width of an outline."""
    assert listed["disputed"].class_name == "obstacle"
    assert listed["disputed"].box == pytest.approx(PATCH, abs=1)


def test_faults_of_a_whole_mask_have_no_box(listed: dict[str, Suspicion]) -> None:
    """Where nothing in particular is wrong, neither class nor box is named."""
    of_places = {Kind.MISNAMED, Kind.DISPUTED}
    assert all((each.class_name, each.box) == (None, None) for each in listed.values() if each.kind not in of_places)


def test_the_worst_come_first(listed: dict[str, Suspicion]) -> None:
    """The order is that of the scores, from the largest."""
    scores = [each.score for each in listed.values()]
    assert scores == sorted(scores, reverse=True)


def test_sound_masks_alone_are_not_listed() -> None:
    """Ordinary variation is no suspicion."""
    assert rank(list(sound(SOUND))) == []


def test_a_new_revision_is_named() -> None:
    """The list says which revision was looked at."""
    image, mask = scene(101)
    (found,) = rank([*sound(20), look("empty", image, np.zeros_like(mask), revision=3)])
    assert found.revision == 3


def copies(*annotators: str | None) -> list[Look]:
    """One image with a different mask by each annotator."""
    image, mask = scene(110)
    names = [f"copy-{number}" for number in range(len(annotators))]
    masks = [np.roll(mask, number, 1) for number in range(len(annotators))]
    return [look(*each, annotator=by) for *each, by in zip(names, [image] * len(names), masks, annotators, strict=True)]


@pytest.mark.parametrize(
    ("annotators", "conflict"),
    [((None, None), True), (("ada", None), True), (("ada", "ada"), True), (("ada", "bob"), False), ((None,), False)],
)
def test_copies_of_an_image_conflict_unless_their_annotators_differ(
    annotators: tuple[str | None, ...], *, conflict: bool
) -> None:
    """Two masks of one image are a fault, but two annotators' opinions are not."""
    judged = judge(copies(*annotators), NAMES)[Kind.CONFLICTING]
    assert (judged.scores == (WORST if conflict else 0)).all()


def test_conflicting_copies_name_each_other() -> None:
    """The reason says which item has the other mask."""
    judged = judge(copies(None, None), NAMES)[Kind.CONFLICTING]
    assert "another mask in copy-1" in judged.why(0)
    assert "another mask in copy-0" in judged.why(1)


def test_equal_copies_do_not_conflict() -> None:
    """The same image twice with the same mask is no contradiction."""
    twice = [look(name, *scene(110)) for name in ("a", "b")]
    assert (judge(twice, NAMES)[Kind.CONFLICTING].scores == 0).all()


def test_an_annotators_equal_copies_do_not_conflict_with_another_annotator() -> None:
    """Where each annotator has one opinion only, there is nothing to decide, however many copies there are."""
    first, second = copies("ada", "bob")
    assert (judge([first, replace(first, item_id="again"), second], NAMES)[Kind.CONFLICTING].scores == 0).all()


def test_what_could_not_be_read_is_no_suspicion_here() -> None:
    """A mask that was not measured has no score of its own, and is the catalogue's matter."""
    broken = Look("broken", 1, "g", -1, "image", "mask", None, seen=None, problem="it is no image")
    found = [*sound(20), broken]
    measured = {kind: each.scores[-1] for kind, each in judge(found, NAMES).items() if kind is not Kind.CONFLICTING}
    assert np.isnan(list(measured.values())).all()
    assert rank(found) == []


def test_nothing_at_all_is_no_error() -> None:
    """A dataset of which nothing could be measured has an empty list."""
    assert overall(judge([], NAMES)).shape == (0,)
    assert rank([]) == []


def test_a_dataset_of_one_item_is_judged() -> None:
    """Beside nothing else, one sound mask is usual."""
    assert rank([look("only", *scene(0), scene(0)[1])]) == []


def test_surprise_is_the_bound_on_the_odds_of_an_exponential_tail() -> None:
    """Of exponential values one whose chance is p has the score -log(-e p log p); what is not known stays so."""
    values = np.append(np.random.default_rng(0).exponential(2, 50_000), [np.nan, 20])
    nats = 10.0  # 20 / 2
    assert surprise(values, 0.1)[-1] == pytest.approx(nats - 1 - np.log(nats), rel=0.05)
    assert np.isnan(surprise(values, 0.1)[-2])


def test_a_tenth_of_faults_does_not_hide_itself() -> None:
    """The scale is taken below the quantile that so many faults lie above."""
    rng = np.random.default_rng(0)
    scores = surprise(np.append(rng.exponential(1, 1000), rng.normal(30, 1, 100)), 0.1)
    assert scores[1000:].min() > scores[:1000].max()


def test_values_that_are_all_alike_do_not_make_the_least_difference_large() -> None:
    """The floor bounds what the scale is."""
    assert surprise(np.array([1.0, 1, 1, 1, 1.5]), 0.5)[-1] < 1
