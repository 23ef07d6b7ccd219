"""Which remap a source is read by once the taxonomy has had several versions, and whether a record is believed."""

import pytest

from pipeline.errors import UserError
from pipeline.formats.labels import Labels
from pipeline.formats.source import Legend
from pipeline.taxonomy import ClassSpec, Remap, Taxonomy
from pipeline.taxonomy_changes import Migration, migrated
from pipeline.version_remaps import chosen_remap, recorded, refuse_undated

OLD = Taxonomy(
    version=1,
    classes=tuple(
        ClassSpec(id=number, name=name, colour=f"#00000{number}")
        for number, name in enumerate(["floor", "cart", "box"])
    ),
    remaps={"drawn": Remap(names={"trolley": "cart"}), "tens": Remap(values={10: "cart"})},
)
LADDER = {"name": "ladder", "colour": "#123456"}
CHANGE = Migration.model_validate({"from": 1, "note": "n", "merge": {"cart": "box"}, "add": [LADDER]})
NEW = migrated(CHANGE, OLD)
LEGEND = Legend(ids={1: "ladder", 2: "cart", 3: "trolley"})


def test_a_legend_says_what_ids_are_and_the_version_what_names_became() -> None:
    """An earlier version's ids do not override those of a source that brings a legend; its names are still known."""
    labels = Labels(NEW, chosen_remap(NEW, "version-1", LEGEND), LEGEND)
    assert [labels.of_value(value) for value in (1, 2)] == ["ladder", "box"]


def test_a_sources_remap_and_its_version_are_both_heard() -> None:
    """The source's own names come first, then what names meant in the version that it was drawn with."""
    labels = Labels(NEW, chosen_remap(NEW, "drawn", LEGEND, 1), LEGEND)
    assert [labels.of_value(value) for value in (2, 3)] == ["box", "box"]


def test_a_sources_values_are_not_mixed_with_those_of_a_version() -> None:
    """Where the source says what values mean, a value that it does not name stays unknown."""
    labels = Labels(NEW, chosen_remap(NEW, "tens", Legend(), 1), Legend())
    assert [labels.of_value(value) for value in (10, 1)] == ["box", None]


@pytest.mark.parametrize("legend", [LEGEND, Legend(colours={"#000001": "cart"})])
def test_a_legend_needs_no_version(legend: Legend) -> None:
    """Names say what they mean, and before the first migration ids do too; other ids are refused."""
    refuse_undated(NEW, "", legend)
    refuse_undated(OLD, "", Legend())
    with pytest.raises(UserError, match="says nothing of ids"):
        refuse_undated(NEW, "drawn", Legend())


def test_a_record_of_other_classes_is_not_believed() -> None:
    """What an earlier taxonomy became is read from the later one's record, unless that was written of other classes."""
    assert recorded(OLD, NEW) == {"floor": "floor", "cart": "box", "box": "box"}
    other = OLD.model_copy(update={"classes": (*OLD.classes[:2], ClassSpec(id=2, name="crate", colour="#000002"))})
    assert recorded(other, NEW) is None
    assert recorded(NEW, OLD) is None
