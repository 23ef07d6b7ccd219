"""Tests of the page of Data Docs."""

from pipeline.data_docs import escaped


def test_names_from_the_data_cannot_become_markup() -> None:
    """Every text of a section is escaped, however deep; what is no text stays."""
    section = {"table": [["<script>x</script>", 3], ["a & b", None]]}
    assert escaped(section) == {"table": [["&lt;script&gt;x&lt;/script&gt;", 3], ["a &amp; b", None]]}
