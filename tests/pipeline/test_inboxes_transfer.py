"""Tests of fetching: what is staged already is used only where its bytes are right."""

from pathlib import Path

import pytest
from ingest_source import world

from pipeline.errors import OutageError
from pipeline.files import sha256_bytes
from pipeline.inboxes.folder import FolderStore
from pipeline.inboxes.manifest import BatchError, Manifest
from pipeline.inboxes.store import CHUNK_BYTES, ChangedError
from pipeline.inboxes.transfer import Fetch, Pace

PACE = Pace(transfers=2, attempts=2, longest_pause_s=0.01)
CONTENT = {"a.bin": bytes(range(256)) * 8192, "deep/b.bin": b"b" * 10, "empty": b""}


def _manifest(content: dict[str, bytes]) -> Manifest:
    files = [{"path": path, "sha256": sha256_bytes(data), "bytes": len(data)} for path, data in content.items()]
    said = {"schema": 1, "files": tuple(files), "format": "folders", "taxonomy_version": 1}
    return Manifest.model_validate(said, strict=False)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """An inbox with one batch `may`."""
    for path, data in CONTENT.items():
        file = tmp_path / "inbox" / "may" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return FolderStore(tmp_path / "inbox")


def _fetch(store: FolderStore, tmp_path: Path, content: dict[str, bytes] = CONTENT) -> dict[str, bytes]:
    entries = {entry.path: entry for entry in store.entries("may")}
    for _ in Fetch(store, "may", tmp_path / "staging", PACE).all(_manifest(content), entries):
        pass
    files = tmp_path / "staging" / "files"
    return {str(Path(name).relative_to(files)): data for name, data in world(files).items()}


def test_every_file_comes_whole(store: FolderStore, tmp_path: Path) -> None:
    """Also those larger than a chunk, the empty ones and those in folders; no part is left."""
    assert len(CONTENT["a.bin"]) > CHUNK_BYTES
    assert _fetch(store, tmp_path) == CONTENT
    assert list((tmp_path / "staging" / "parts").iterdir()) == []


def test_what_is_staged_is_checked_again(store: FolderStore, tmp_path: Path) -> None:
    """A staged file that went bad since, as after a power cut, is fetched again."""
    _fetch(store, tmp_path)
    (tmp_path / "staging" / "files" / "a.bin").write_bytes(bytes(len(CONTENT["a.bin"])))
    assert _fetch(store, tmp_path) == CONTENT


def test_a_part_that_went_bad_is_fetched_anew(store: FolderStore, tmp_path: Path) -> None:
    """The digest covers what was there before, too: a bad beginning is told, and the file read from its start."""
    entry = next(entry for entry in store.entries("may") if entry.path == "a.bin")
    part = tmp_path / "staging" / "parts" / sha256_bytes(f"a.bin\0{entry.etag}".encode())
    part.parent.mkdir(parents=True)
    part.write_bytes(b"not what it was")
    assert _fetch(store, tmp_path) == CONTENT


def test_other_bytes_are_the_batchs_fault(store: FolderStore, tmp_path: Path) -> None:
    """The reason has both digests, and nothing of the file stands among the checked ones."""
    wrong = CONTENT | {"deep/b.bin": b"c" * 10}
    with pytest.raises(BatchError, match=f"{sha256_bytes(b'b' * 10)}, the manifest says {sha256_bytes(b'c' * 10)}"):
        _fetch(store, tmp_path, wrong)
    assert not (tmp_path / "staging" / "files" / "deep" / "b.bin").exists()


def test_a_file_that_ends_early_is_an_outage(store: FolderStore, tmp_path: Path) -> None:
    """What came is kept for the next run."""
    longer = CONTENT | {"a.bin": CONTENT["a.bin"] + b"more"}
    with pytest.raises(OutageError, match="it ended after 2097152 of 2097156 bytes"):
        _fetch(store, tmp_path, longer)
    assert [part.stat().st_size for part in (tmp_path / "staging" / "parts").iterdir()].count(2097152) == 1


def test_a_file_replaced_since_it_was_listed_is_not_read(store: FolderStore, tmp_path: Path) -> None:
    """Neither is one that is gone."""
    entries = {entry.path: entry for entry in store.entries("may")}
    file = tmp_path / "inbox" / "may" / "a.bin"
    file.write_bytes(b"other")
    with pytest.raises(ChangedError, match=r"a\.bin"), store.read("may", entries["a.bin"], 0):
        pass
    file.unlink()
    with pytest.raises(ChangedError, match=r"a\.bin"), store.read("may", entries["a.bin"], 0):
        pass
