"""Values, colours and names become taxonomy ids; what nothing maps is counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from pipeline.formats.labels import Labels
from pipeline.formats.source import Legend, Shape
from pipeline.images import ImageError
from pipeline.taxonomy import ClassSpec, Remap, Taxonomy

# pycocotools' own arrays, under numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CLASSES = tuple(
    ClassSpec(id=number, name=name, colour=colour)
    for number, (name, colour) in enumerate([("background", "#000000"), ("floor", "#0ac81e"), ("human", "#c80063")])
)
TAXONOMY = Taxonomy(version=1, classes=CLASSES)
GREEN, PINK, BLACK = (10, 200, 30), (200, 0, 99), (0, 0, 0)


def labels(remap: Remap | None = None, legend: Legend | None = None) -> Labels:
    """Labels over three classes."""
    return Labels(TAXONOMY, remap, legend or Legend())


def test_without_a_remap_ids_and_colours_are_the_taxonomys() -> None:
    """Ids stand for themselves, 255 for void, and colours for the classes that have them."""
    painted = labels().paint_pixels(np.array([[0, 1, 2, 255]]), None)
    assert painted.mask.tolist() == [[0, 1, 2, 255]]
    painted = labels().paint_pixels(np.array([[GREEN, PINK, BLACK]], dtype=np.uint8), None)
    assert painted.mask.tolist() == [[1, 2, 0]]


@given(values=st.lists(st.integers(0, 40), min_size=1, max_size=60), shift=st.integers(1, 30))
def test_a_remap_of_values_is_a_lookup(values: list[int], shift: int) -> None:
    """Every pixel becomes what a plain dictionary says; all other values are counted, none is lost."""
    remap = Remap(values={shift: "floor", shift + 1: "human", shift + 2: "ignore"})
    painted = labels(remap).paint_pixels(np.array([values]), None)
    table = {shift: 1, shift + 1: 2}
    assert painted.mask.tolist() == [[table.get(value, 255) for value in values]]
    assert sum(painted.found.values()) == len(values)
    unknown = {int(text): count for (text, name), count in painted.found.items() if name is None}
    assert unknown == {v: values.count(v) for v in set(values) if not shift <= v <= shift + 2}


def test_a_remap_of_values_leaves_nothing_to_identity() -> None:
    """Where a remap lists values, an unlisted one is unknown, even if it is a class id."""
    painted = labels(Remap(values={7: "floor"})).paint_pixels(np.array([[7, 1]]), None)
    assert painted.found == {("7", "floor"): 1, ("1", None): 1}


def test_colours_by_remap_and_by_legend() -> None:
    """A remap's colours come first; a legend's colours are names that the remap or the taxonomy resolves."""
    pixels = np.array([[(1, 2, 3), (4, 5, 6), (9, 9, 9)]], dtype=np.uint8)
    remap = Remap(colours={"#010203": "human"}, names={"Street": "floor"})
    painted = labels(remap, Legend(colours={"#040506": "Street"})).paint_pixels(pixels, None)
    assert painted.mask.tolist() == [[2, 1, 255]]
    assert painted.found["#090909", None] == 1


def test_palette_masks_are_indices_unless_colours_are_mapped() -> None:
    """A palette mask holds ids by its indices, or classes by its colours where a remap or a legend has colours."""
    palette = np.array([PINK, GREEN], dtype=np.uint8)
    indices = np.array([[0, 1]])
    assert labels().paint_pixels(indices, palette).mask.tolist() == [[0, 1]]
    by_colour = Remap(colours={"#c80063": "human", "#0ac81e": "floor"})
    assert labels(by_colour).paint_pixels(indices, palette).mask.tolist() == [[2, 1]]
    named = Legend(colours={"#c80063": "human", "#0ac81e": "floor"})
    assert labels(None, named).paint_pixels(indices, palette).mask.tolist() == [[2, 1]]


def test_anti_aliased_grey_is_cut_at_the_threshold() -> None:
    """Values at or above the threshold are one class, the others another, in grey as in grey RGB."""
    remap = Remap(threshold=128, above="human", below="background")
    grey = np.array([[0, 127, 128, 255]])
    assert labels(remap).paint_pixels(grey, None).mask.tolist() == [[0, 0, 2, 2]]
    colours = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    assert labels(remap).paint_pixels(colours, None).mask.tolist() == [[0, 0, 2, 2]]


def test_instances_are_folded_into_their_label() -> None:
    """With an instance step, label * step + instance is the label."""
    legend = Legend(ids={1: "floor", 2: "human"}, instance_step=1000)
    assert labels(None, legend).paint_pixels(np.array([[1, 2000, 2017]]), None).mask.tolist() == [[1, 2, 2]]


def test_shapes_are_drawn_over_each_other() -> None:
    """Later shapes cover earlier ones, and what none covers is the label "background"."""
    floor = Shape("floor", points=(0, 0, 4, 0, 4, 4, 0, 4))
    human = Shape("Worker", points=(2, 0, 4, 0, 4, 2, 2, 2))
    remap = Remap(names={"Worker": "human"})
    painted = labels(remap).paint_shapes((floor, human), height=4, width=6)
    expected = np.zeros((4, 6), dtype=np.uint8)
    expected[:4, :4], expected[:2, 2:4] = 1, 2
    assert np.array_equal(painted.mask, expected)


def test_unknown_label_names_are_counted() -> None:
    """A label that nothing maps is void in the mask and counted by name."""
    painted = labels().paint_shapes((Shape("ghost", points=(0, 0, 2, 0, 2, 2, 0, 2)),), height=2, width=3)
    assert painted.found == {("background", "background"): 2, ("ghost", None): 4}


def test_a_run_length_of_another_size_is_an_error() -> None:
    """A run-length encoding that does not fit the image cannot be drawn."""
    with pytest.raises(ImageError, match="5x4"):
        labels().paint_shapes((Shape("floor", size=(4, 5), counts=b"00"),), height=2, width=3)


@pytest.mark.parametrize("counts", [b"", b"01", b"\xff", b"0P", b"O5"])
def test_damaged_run_lengths_are_refused(counts: bytes) -> None:
    """Runs that do not fill the image, are negative, cut off or no encoding at all are a problem of the item."""
    with pytest.raises(ImageError, match="damaged"):
        labels().paint_shapes((Shape("floor", size=(2, 3), counts=counts),), height=2, width=3)


@pytest.mark.parametrize("seed", range(4))
def test_good_run_lengths_are_drawn(seed: int) -> None:
    """Any mask survives its encoding, also with runs of many digits and shrinking lengths."""
    drawn = np.random.default_rng(seed).random((70, 90)) < (0.5, 0.02, 0.0, 1.0)[seed]
    code = coco.encode(np.asfortranarray(drawn, dtype=np.uint8))
    shape = Shape("floor", size=drawn.shape, counts=code["counts"])
    assert np.array_equal(labels().paint_shapes((shape,), 70, 90).mask == 1, drawn)


@pytest.mark.parametrize("points", [(0, 0, 1, 0, 1), (0, 0, float("nan"), 1, 2, 2), (0, 0, 1e300, 1, 2, 2)])
def test_damaged_polygons_are_refused(points: tuple[float, ...]) -> None:
    """Corners that are no pairs, or no numbers that can be drawn, are a problem of the item."""
    with pytest.raises(ImageError, match="damaged"):
        labels().paint_shapes((Shape("floor", points=points),), height=2, width=3)
