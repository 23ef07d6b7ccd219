"""Tests of atomic writes and digests."""

import hashlib
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.files import atomic_dir, atomic_path, digest_json, refuse_foreign, sha256_file, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """What stood at the path stays, and no temporary file remains."""
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), atomic_path(target) as temporary:
        raise RuntimeError("stop", temporary.write_text("half"))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """No file of the former folder stays among the new ones."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "stale").touch()
    with atomic_dir(folder) as new:
        (new / "fresh").touch()
    assert [file.name for file in folder.iterdir()] == ["fresh"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    """The former folder stays whole when the new one could not be finished."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "kept").touch()
    with pytest.raises(RuntimeError, match="stop"), atomic_dir(folder):
        raise RuntimeError("stop")
    assert [file.name for file in folder.iterdir()] == ["kept"]


def test_a_failed_folder_takes_the_parent_that_it_made_along(tmp_path: Path) -> None:
    """A failure leaves no empty folder that looks like a beginning."""
    with pytest.raises(RuntimeError, match="stop"), atomic_dir(tmp_path / "dataset" / "batch"):
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_json_refuses_nan(tmp_path: Path) -> None:
    """NaN is no JSON: a writer must say null, and a failed write leaves nothing."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"iou": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_the_digest_of_json_does_not_depend_on_key_order() -> None:
    """Equal content gives equal digests."""
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    """The digest equals hashlib's over the whole content."""
    (tmp_path / "f").write_bytes(b"abc" * 1000)
    assert sha256_file(tmp_path / "f") == hashlib.sha256(b"abc" * 1000).hexdigest()


def test_a_report_replaces_only_what_is_a_report(tmp_path: Path) -> None:
    """A folder without the file that every such report has is not replaced; an empty one, none, and a report are."""
    (tmp_path / "data").mkdir()
    refuse_foreign(tmp_path / "none", "list.json")
    refuse_foreign(tmp_path / "data", "list.json")
    (tmp_path / "data" / "splits.csv").write_text("group")
    with pytest.raises(UserError, match=r"data holds something else.*list\.json"):
        refuse_foreign(tmp_path / "data", "list.json")
    (tmp_path / "data" / "list.json").write_text("{}")
    refuse_foreign(tmp_path / "data", "list.json")
