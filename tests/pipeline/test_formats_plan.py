"""Groups and places in the sequence, from facts, expressions and folders."""

import pytest

from pipeline.errors import UserError
from pipeline.formats.plan import plan
from pipeline.formats.source import Facts, SourceItem


def test_group_by_takes_the_first_group_or_the_whole_match() -> None:
    """The expression's first group is the group, without one the whole match; places follow the names."""
    items = [SourceItem("S1_b"), SourceItem("S1_a"), SourceItem("S2_a")]
    planned = plan(items, r"^([^_]+)_", None)
    assert {name: (each.group, each.sequence_index) for name, each in planned.items()} == {
        "S1_a": ("S1", 0),
        "S1_b": ("S1", 1),
        "S2_a": ("S2", 0),
    }
    assert plan(items, r"^S\d", r"S(\d)")["S2_a"].sequence_index == 2


def test_stated_facts_come_before_expressions_and_folders() -> None:
    """A stated group wins, then the expression, then the folder, then the name itself."""
    stated = SourceItem("x/a", facts=Facts(group="g", sequence_index=9))
    assert plan([stated], "x", None)["x/a"].group == "g"
    assert plan([stated], None, r"\d")["x/a"].sequence_index == 9
    assert plan([SourceItem("x/a")], None, None)["x/a"].group == "x"
    assert plan([SourceItem("a")], None, None)["a"].group == "a"


@pytest.mark.parametrize(
    ("group_by", "sequence_by", "message"),
    [
        ("(", None, "no regular expression"),
        ("^z", None, "finds nothing in the name 'a1'"),
        (None, "a", "no whole number"),
    ],
)
def test_an_expression_must_fit_every_item(group_by: str | None, sequence_by: str | None, message: str) -> None:
    """An expression that is malformed or does not fit is refused, naming the item."""
    with pytest.raises(UserError, match=message):
        plan([SourceItem("a1")], group_by, sequence_by)


@pytest.mark.parametrize(("name", "group"), [("a\rb", None), ("a", "x\ny")])
def test_names_with_control_characters_are_left_out(name: str, group: str | None) -> None:
    """An item whose name or group would break the lines of the ledger gets a problem, the others none."""
    items = [SourceItem("good", facts=Facts(group="g")), SourceItem(name, facts=Facts(group=group))]
    planned = plan(items, None, None)
    assert planned["good"].item.problem == ""
    assert "control characters" in planned[name].item.problem
