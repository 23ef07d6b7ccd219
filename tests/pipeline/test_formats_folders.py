"""The project's own format: what is paired, what is refused, what items.csv says."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.formats import read_source
from pipeline.formats.folders import read_folders


def touch(root: Path, *names: str) -> Path:
    """Writes empty files below a source folder."""
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    return root


def test_pairs_by_path_without_split_folder_and_suffix(tmp_path: Path) -> None:
    """An image and a mask of one path are one item; a first folder named like a split is its split."""
    touch(tmp_path, "images/train/cam/a.jpg", "masks/train/cam/a.png", "images/b.c.webp", "masks/b.c.png")
    items = {item.name: item for item in read_folders(tmp_path).items}
    assert {name: item.split for name, item in items.items()} == {"cam/a": "train", "b.c": None}
    assert items["cam/a"].mask == tmp_path / "masks/train/cam/a.png"
    assert not any(item.problem for item in items.values())


def test_lone_files_are_items_with_a_problem(tmp_path: Path) -> None:
    """An image without mask, a mask without image and a pair in two splits are kept, each with its reason."""
    touch(tmp_path, "images/a.jpg", "masks/b.png", "images/train/c.jpg", "masks/test/c.png", "masks/.hidden")
    problems = {item.name: item.problem for item in read_folders(tmp_path).items}
    assert problems.keys() == {"a", "b", "c"}
    assert "no mask" in problems["a"]
    assert "no image" in problems["b"]
    assert "split train" in problems["c"]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """A name must be unique over splits and suffixes; the error names both files."""
    touch(tmp_path, "images/train/a.jpg", "images/val/a.png", "masks/a.png")
    with pytest.raises(UserError, match=r"'a': .*train/a\.jpg and .*val/a\.png"):
        read_folders(tmp_path)


def test_links_never_lead_outside(tmp_path: Path) -> None:
    """A linked file outside the source is an item with a problem; a linked folder outside is refused."""
    outside = touch(tmp_path / "outside", "secret.png")
    root = touch(tmp_path / "src", "masks/a.png")
    (root / "images").mkdir()
    (root / "images/a.png").symlink_to(outside / "secret.png")
    assert "outside" in read_folders(root).items[0].problem
    other = touch(tmp_path / "other", "masks/a.png")
    (other / "images").symlink_to(outside)
    with pytest.raises(UserError, match="images/"):
        read_folders(other)


def test_items_csv_states_facts_and_slices(tmp_path: Path) -> None:
    """Known columns become facts, other columns slices; empty cells state nothing; naive times are UTC."""
    touch(tmp_path, "images/a.jpg", "masks/a.png")
    (tmp_path / "items.csv").write_text(
        "name,group,sequence_index,annotator,captured_at,camera,site\na,g1,7,ann,2026-01-31T12:00:00,left,\n"
    )
    facts = read_folders(tmp_path).items[0].facts
    assert (facts.group, facts.sequence_index, facts.annotator) == ("g1", 7, "ann")
    assert facts.captured_at == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert facts.slices == {"camera": "left"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name,site\na,M\xfcnchen\n", "line 2: the text is not UTF-8"),
        ("name,site\na,x\0y\n", "line 2: the text holds a NUL"),
        ("name,site,site\na,x,y\n", "line 1: every column needs a name of its own, received 'site'"),
        ("name,\na,x\n", "line 1: every column needs a name of its own, received ''"),
        (f"name,sequence_index\na,{1 << 63}\n", "line 2: sequence_index"),
        ("name,captured_at\na,0001-01-01T00:00:00+05:00\n", "line 2: captured_at"),
        ("name,captured_at\na,1500-01-01T00:00:00Z\n", "line 2: captured_at must lie in 1678"),
        pytest.param("name,site\na," + "x" * 200_000 + "\n", "line 2: field larger", id="huge"),
        ("item\na\n", "column 'name'"),
        ("name,group\na,g\na,g\n", "line 3: 'a' is listed twice"),
        ("name,group\nb,g\n", "'b' is no image"),
        ("name,sequence_index\na,first\n", "received 'first'"),
        ("name,captured_at\na,yesterday\n", "received 'yesterday'"),
        ("name,group\na,g,h\n", "another number of cells"),
    ],
)
def test_a_malformed_items_csv_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    """Each mistake in items.csv is the user's, named with its line or value."""
    touch(tmp_path, "images/a.jpg", "masks/a.png")
    (tmp_path / "items.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        read_folders(tmp_path)


def test_source_must_be_a_known_format_with_content(tmp_path: Path) -> None:
    """An unknown format, a missing folder and an empty source are refused."""
    with pytest.raises(UserError, match="no format 'tiff'"):
        read_source(tmp_path, "tiff")
    with pytest.raises(UserError, match="no folder"):
        read_source(tmp_path / "gone", "folders")
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        read_source(tmp_path, "folders")
