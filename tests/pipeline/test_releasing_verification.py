"""Objects on a remote, read back: what is found, what is remembered, what can be mended."""

import hashlib
import json
from pathlib import Path

import pytest

from pipeline.errors import OutageError, UserError
from pipeline.releasing.storage import Storage, ensure_remote, open_repo, open_storage
from pipeline.releasing.verification import Verifier, folder_objects, send_again

# A deprecation between DVC and a library of its own.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A DVC repository with a folder of three files in its cache and on its remote."""
    from dvc.repo import Repo

    root = tmp_path / "workspace"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    Repo.init(str(root), no_scm=True)
    repo = open_repo(root)
    ensure_remote(repo, "../remote")
    for number in range(3):
        file = root / "data" / f"{number}"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"content {number}")
    repo.add("data")
    found = open_storage(open_repo(root))
    send_again(found, dict.fromkeys(names(found), "missing"))
    return found


def names(storage: Storage) -> list[str]:
    """The objects in the cache."""
    files = Path(storage.cache.path).glob("*/*")
    return sorted(file.parent.name + file.name for file in files)


def folder(storage: Storage) -> str:
    """The object that lists the others."""
    return next(name for name in names(storage) if name.endswith(".dir"))


def on_remote(storage: Storage, name: str) -> Path:
    """An object's file on the remote."""
    return Path(storage.remote.oid_to_path(name))


def test_objects_that_were_sent_are_unharmed(storage: Storage, tmp_path: Path) -> None:
    """Every object is read back the first time."""
    verifier = Verifier(storage, tmp_path / "memory.json", jobs=2)
    assert verifier.faults(names(storage)) == {}
    assert verifier.read_back == 4


def test_what_was_verified_is_not_read_again(storage: Storage, tmp_path: Path) -> None:
    """Another process remembers, as long as size and times are the same."""
    Verifier(storage, tmp_path / "memory.json", jobs=2).faults(names(storage))
    second = Verifier(storage, tmp_path / "memory.json", jobs=2)
    assert second.faults(names(storage)) == {}
    assert second.read_back == 0


def test_an_object_that_changed_since_is_read_again(storage: Storage, tmp_path: Path) -> None:
    """Bytes of the same number, put there later, are found out."""
    Verifier(storage, tmp_path / "memory.json", jobs=2).faults(names(storage))
    name = next(name for name in names(storage) if not name.endswith(".dir"))
    file = on_remote(storage, name)
    file.chmod(0o644)
    file.write_bytes(bytes(file.stat().st_size))
    assert Verifier(storage, tmp_path / "memory.json", jobs=2).faults(names(storage)) == {name: "corrupt"}


def test_a_damaged_memory_counts_as_none(storage: Storage, tmp_path: Path) -> None:
    """It saves time only: everything is read back."""
    (tmp_path / "memory.json").write_text('{"remote": [1, 2')
    verifier = Verifier(storage, tmp_path / "memory.json", jobs=1)
    assert verifier.faults(names(storage)) == {}
    assert verifier.read_back == 4


def test_missing_and_corrupt_objects_are_told_apart_and_mended(storage: Storage, tmp_path: Path) -> None:
    """Both are sent again from the cache, and then unharmed."""
    first, second = [name for name in names(storage) if not name.endswith(".dir")][:2]
    on_remote(storage, first).unlink()
    on_remote(storage, second).chmod(0o644)
    on_remote(storage, second).write_text("rotten")
    verifier = Verifier(storage, tmp_path / "memory.json", jobs=2)
    faults = verifier.faults(names(storage))
    assert faults == {first: "missing", second: "corrupt"}
    send_again(storage, faults)
    assert verifier.faults(names(storage)) == {}


def test_a_corrupt_cache_is_not_sent(storage: Storage) -> None:
    """What is not unharmed here either is an error that names the object; nothing of it reaches the remote."""
    name = next(name for name in names(storage) if not name.endswith(".dir"))
    on_remote(storage, name).unlink()
    cached = Path(storage.cache.oid_to_path(name))
    cached.chmod(0o644)
    cached.write_text("rotten too")
    with pytest.raises(UserError, match=name):
        send_again(storage, {name: "missing"})
    assert not on_remote(storage, name).exists()


def test_a_folder_is_its_list_and_its_files(storage: Storage) -> None:
    """The objects of a folder are those of the list, and the list itself."""
    assert sorted(folder_objects(storage, folder(storage))) == names(storage)


def test_a_list_that_is_corrupt_in_the_cache_is_read_from_the_remote(storage: Storage) -> None:
    """A list is believed only where its digest is right."""
    cached = Path(storage.cache.oid_to_path(folder(storage)))
    cached.chmod(0o644)
    cached.write_text(json.dumps([{"md5": hashlib.md5(b"", usedforsecurity=False).hexdigest(), "relpath": "x"}]))
    assert len(folder_objects(storage, folder(storage))) == 4


def test_a_list_that_is_nowhere_is_the_users_to_find(storage: Storage) -> None:
    """Without its list a folder cannot be verified: the message names it."""
    name = folder(storage)
    Path(storage.cache.oid_to_path(name)).unlink()
    on_remote(storage, name).unlink()
    with pytest.raises(UserError, match=name):
        folder_objects(storage, name)


def test_a_remote_that_does_not_answer_is_an_outage(storage: Storage, tmp_path: Path) -> None:
    """Where the file system fails, nothing is called missing."""
    name = next(name for name in names(storage) if not name.endswith(".dir"))
    on_remote(storage, name).unlink()
    on_remote(storage, name).mkdir()
    with pytest.raises(OutageError, match="storage"):
        Verifier(storage, tmp_path / "memory.json", jobs=1).faults([name])


def test_a_configured_remote_is_left_where_it_is(storage: Storage) -> None:
    """The fallback counts only where there is no remote; a second call changes nothing."""
    assert ensure_remote(open_repo(Path.cwd()), "../other") == []
    assert storage.url.endswith("/remote")


def test_a_url_can_be_the_fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no folder is taken as it is."""
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    Repo.init(str(tmp_path), no_scm=True)
    repo = open_repo(tmp_path)
    ensure_remote(repo, "s3://bucket/releases")
    assert repo.config["remote"]["storage"]["url"] == "s3://bucket/releases"
    assert repo.config["remote"]["storage"]["verify"] is True
