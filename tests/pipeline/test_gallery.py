"""The gallery's pictures."""

from pipeline.gallery import file_names


def test_pictures_of_items_with_similar_names_are_apart() -> None:
    """Names that differ only in what a file's name cannot hold get a digest; others stay plain."""
    names = file_names(["a/b", "a_b", "c/d"])
    assert names["a/b"] != names["a_b"]
    assert names["c/d"] == "c_d.png"
