"""Tests of the taxonomy."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.taxonomy import load_taxonomy

TWO = (
    "classes: [{id: 0, name: a, colour: '#000000'}, {id: 1, name: b, colour: '#FF0000', critical: true}]\nversion: 1\n"
)


def _load(tmp_path: Path, text: str) -> object:
    file = tmp_path / "taxonomy.yaml"
    file.write_text(text)
    return load_taxonomy(file)


def test_the_projects_own_taxonomy_is_sound(taxonomy_file: Path) -> None:
    """Human is the demo's critical class."""
    taxonomy = load_taxonomy(taxonomy_file)
    assert [taxonomy.names[each] for each in taxonomy.critical_ids] == ["human"]


def test_the_palette_paints_classes_and_greys_the_rest(tmp_path: Path) -> None:
    """A class has its colour, void and unused values are grey."""
    file = tmp_path / "t.yaml"
    file.write_text(TWO)
    palette = load_taxonomy(file).palette()
    assert palette[1].tolist() == [255, 0, 0]
    assert np.unique(palette[2:]).tolist() == [200]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TWO.replace("id: 1", "id: 2"), r"without a gap, received \[0, 2\]"),
        (TWO.replace("name: b", "name: a"), "must be unique"),
        (TWO.replace("#FF0000", "red"), "'#rrggbb', received 'red'"),
        (TWO + "remaps: {cam: {values: {7: car}}}", r"remap 'cam' names no class of this taxonomy: \['car'\]"),
        (TWO + "remaps: {cam: {threshold: 9}}", "'above' and 'below'"),
        (TWO + "ignore_index: 1", "received 1"),
        ("classes: []\nversion: 1", "without a gap"),
    ],
)
def test_a_malformed_taxonomy_is_the_users_mistake(tmp_path: Path, text: str, message: str) -> None:
    """The message says what is wrong and shows the value."""
    with pytest.raises(UserError, match=message):
        _load(tmp_path, text)


@pytest.mark.parametrize("text", [TWO + "ignore_index: 1", TWO.replace("id: 1", "id: 2")])
def test_a_fault_of_the_whole_is_said_without_a_dump(tmp_path: Path, text: str) -> None:
    """Neither a made-up key nor the file's whole content stands around the message."""
    with pytest.raises(UserError) as refused:
        _load(tmp_path, text)
    assert "the whole section" not in str(refused.value)
    assert "colour" not in str(refused.value)


@pytest.mark.parametrize("name", ["''", "' '", "'two\\nlines'", "void", "ignore"])
def test_a_class_has_a_name_that_tables_can_show(tmp_path: Path, name: str) -> None:
    """Nothing, lines, and the words for pixels without a class are no names of classes."""
    quoted = name.replace("'", '"') if "\\n" in name else name
    with pytest.raises(UserError, match="class name"):
        _load(tmp_path, TWO.replace("name: b", f"name: {quoted}"))
