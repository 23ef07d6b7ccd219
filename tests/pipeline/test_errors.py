"""What messages are made of."""

from pipeline.errors import near_names


def test_a_misspelt_name_is_told_what_is_near() -> None:
    """The nearest names are suggested; where none is near, nothing is said."""
    assert near_names(["item-0O1"], ["item-001", "other"]) == " Did you mean 'item-001'?"
    assert not near_names(["zebra"], ["item-001"])
