"""Which images a dossier shows."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from dossier_case import write_case

from pipeline.dossiers.choices import changed_images, choose, in_turn, lowest_images, worst_images
from pipeline.dossiers.sides import Evidence, open_sides
from pipeline.gating.verdict import Doubt


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evidence, Evidence]:
    """A candidate and its champion."""
    candidate, champion = open_sides(write_case(tmp_path_factory.mktemp("case")))
    assert champion is not None
    return candidate, champion


def with_counts(side: Evidence, counts: list[list[list[int]]]) -> Evidence:
    """A side that has these matrices, an image of a group of its own each."""
    rows = pd.DataFrame(
        {
            "item_id": [f"i{number}" for number in range(len(counts))],
            "group": [f"g{number}" for number in range(len(counts))],
            "confusion": [np.ravel(each) for each in counts],
        }
    )
    return dataclasses.replace(side, rows=rows)


RIGHT = [[8, 0, 0], [0, 4, 0], [0, 0, 4]]
MISSED = [[8, 0, 0], [4, 0, 0], [0, 0, 4]]
WITHOUT = [[12, 0, 0], [0, 0, 0], [0, 0, 4]]
INVENTED = [[10, 2, 0], [0, 0, 0], [0, 0, 4]]


def test_the_most_changed_images_come_with_their_direction(sides: tuple[Evidence, Evidence]) -> None:
    """What got worse and what got better are apart, and what did not change is in neither."""
    champion = with_counts(sides[1], [RIGHT, MISSED, RIGHT])
    candidate = with_counts(sides[0], [MISSED, RIGHT, RIGHT])
    worse, better = changed_images(candidate, champion, 5)
    assert [each.item_id for each in worse.choices] == ["i0"]
    assert [each.item_id for each in better.choices] == ["i1"]
    assert worse.choices[0].reason.endswith("mostly green, 1.000 to 0.000")


def test_an_invented_class_is_named_with_its_size(sides: tuple[Evidence, Evidence]) -> None:
    """A class that is seen where there is none explains the fall of an image's mIoU."""
    worse, _ = changed_images(with_counts(sides[0], [INVENTED]), with_counts(sides[1], [WITHOUT]), 5)
    assert worse.choices[0].reason.endswith("mostly green seen where there is none (2 px)")
    _, better = changed_images(with_counts(sides[0], [WITHOUT]), with_counts(sides[1], [INVENTED]), 5)
    assert better.choices[0].reason.endswith("mostly green no longer seen where there is none (2 px)")


def test_images_are_compared_by_their_names(sides: tuple[Evidence, Evidence]) -> None:
    """An image that only one of the two was measured on is left out."""
    champion = with_counts(sides[1], [RIGHT, RIGHT])
    worse, better = changed_images(with_counts(sides[0], [RIGHT, MISSED, MISSED]), champion, 5)
    assert [each.item_id for each in worse.choices] == ["i1"]
    assert not better.choices


def test_the_worst_image_of_a_class_has_the_most_wrong_pixels(sides: tuple[Evidence, Evidence]) -> None:
    """Among images of equal IoU the one with more wrong pixels comes first; those without the class are left out."""
    candidate = with_counts(sides[0], [RIGHT, INVENTED, MISSED, WITHOUT])
    chosen = worst_images(candidate, 1, 9)
    assert [each.item_id for each in chosen.choices] == ["i2", "i1", "i0"]
    assert chosen.choices[0].reason == "IoU of green 0.000: 4 of 4 px missed, 0 px seen where there is none"
    assert chosen.choices[1].reason == "IoU of green 0.000: none is there, 2 px seen where there is none"


def test_groups_take_turns() -> None:
    """A second image of a group comes only after the first of every other one, still in the order of telling."""
    groups = np.array(["a", "a", "a", "b", "c"], dtype=object)
    assert in_turn([0, 1, 2, 3, 4], groups, 3) == [0, 3, 4]
    assert in_turn([0, 1, 2, 3, 4], groups, 4) == [0, 1, 3, 4]
    assert in_turn([0, 1, 2, 3, 4], groups, 9) == [0, 1, 2, 3, 4]


def test_headings_without_an_image_are_left_out(sides: tuple[Evidence, Evidence]) -> None:
    """Two equal models have no changed images; the worst of the critical class remain."""
    same = with_counts(sides[0], [MISSED])
    assert [each.key for each in choose(same, same, [], 3, 3)] == ["critical-1"]


def test_without_a_champion_the_lowest_images_are_shown(sides: tuple[Evidence, Evidence]) -> None:
    """The images with the lowest mIoU take the place of those that changed."""
    candidate = with_counts(sides[0], [RIGHT, MISSED])
    assert [each.item_id for each in lowest_images(candidate, 1)[0].choices] == ["i1"]
    assert choose(candidate, None, [], 1, 1)[0].key == "worst"


def test_doubted_masks_are_shown(sides: tuple[Evidence, Evidence]) -> None:
    """Masks that both models contradict have a heading of their own."""
    doubt = Doubt(item_id="i0", pixels=3, share=0.25)
    chosen = choose(with_counts(sides[0], [RIGHT]), None, [doubt], 0, 1)[-1]
    assert (chosen.key, chosen.choices[0].reason) == ("doubted", "25.0% of its labelled pixels are in doubt")
