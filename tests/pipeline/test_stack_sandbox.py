"""Tests of the sandbox, on the kernel that the tests run on: what it closes, and what it leaves open."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.stack import sandbox

ROOT = Path(__file__).resolve().parents[2]
needs_landlock = pytest.mark.skipif(not sandbox.works(), reason="this kernel has no Landlock that can be used")
# Tries things in the sandbox, and says of each what became of it.
TRIES = """
import json, os, subprocess, sys
from pathlib import Path
def tried(call, *words):
    try:
        return call(*words)
    except OSError as error:
        return error.strerror
print(json.dumps([tried({call}, *words) for words in json.loads(sys.argv[1])]))
"""
CLOSED = "Permission denied"
ELSEWHERE = "Invalid cross-device link"  # the system's word for a move that Landlock forbids


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A home with a key, and a project beside it."""
    (tmp_path / "home" / "keys").mkdir(parents=True)
    (tmp_path / "home" / "keys" / "promoter.pem").write_text("the key")
    (tmp_path / "home" / "settings").write_text("settings")
    (tmp_path / "project" / "folder").mkdir(parents=True)
    (tmp_path / "project" / "file").write_text("content")
    return tmp_path


def sandboxed(place: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command that may not read the keys."""
    line = [sys.executable, "-m", "pipeline.stack.sandbox", "--deny-read", str(place / "home" / "keys"), "--", *command]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def tried(place: Path, call: str, *words: tuple[object, ...]) -> list[object]:
    """What becomes of calls in the sandbox: each result, or the error's text."""
    arguments = json.dumps([[str(word) for word in each] for each in words])
    done = sandboxed(place, sys.executable, "-c", TRIES.replace("{call}", call), arguments)
    assert done.returncode == 0, done.stderr
    results: list[object] = json.loads(done.stdout)
    return results


@needs_landlock
def test_the_key_is_closed_and_its_surroundings_are_open(place: Path) -> None:
    """The denied folder's files cannot be read; beside it, above it and elsewhere they can."""
    (place / "project" / "link").symlink_to(place / "home" / "keys" / "promoter.pem")
    paths = ("home/keys/promoter.pem", "project/link", "home/settings", "project/file")
    read = tried(place, "lambda path: Path(path).read_text()", *((place / path,) for path in paths))
    assert read == [CLOSED, CLOSED, "settings", "content"]


@needs_landlock
def test_new_files_of_the_project_can_be_read(place: Path) -> None:
    """What a task writes, it and its successors can read, in folders that are new as well."""
    write = (
        "lambda path: (Path(path).parent.mkdir(exist_ok=True), Path(path).write_text('x'), Path(path).read_text())[-1]"
    )
    assert tried(place, write, (place / "project" / "new",), (place / "project" / "other" / "new",)) == ["x", "x"]


@needs_landlock
def test_what_appears_beside_the_way_to_the_key_stays_closed(place: Path) -> None:
    """The price: a file made later directly in a folder above the denied one can be written and not read."""
    write = "lambda path: (Path(path).write_text('x'), Path(path).read_text())[-1]"
    assert tried(place, write, (place / "home" / "new",)) == [CLOSED]


@needs_landlock
def test_files_may_be_moved_but_not_out_of_the_denied_folder(place: Path) -> None:
    """The project's files go where they are moved to; the key goes nowhere, by no name, nor does its folder."""
    key, project = place / "home" / "keys" / "promoter.pem", place / "project"
    moves = [(project / "file", project / "folder" / "file"), (key, project / "key"), (key.parent, project / "keys")]
    assert tried(place, "os.rename", *moves) == [None, ELSEWHERE, ELSEWHERE]
    assert tried(place, "os.link", (key, project / "key")) == [ELSEWHERE]
    assert key.read_text() == "the key"


@needs_landlock
def test_another_name_of_the_key_leads_around(place: Path) -> None:
    """A hard link that was made before, from outside, is not closed: so `segloop up` refuses a key that has one."""
    (place / "project" / "key").hardlink_to(place / "home" / "keys" / "promoter.pem")
    assert tried(place, "lambda path: Path(path).read_text()", (place / "project" / "key",)) == ["the key"]


@needs_landlock
def test_memory_and_environment_of_a_process_outside_are_closed(place: Path) -> None:
    """The promoter's secrets cannot be read from it, by root neither; one's own environment can."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as promoter:
        files = [f"/proc/{promoter.pid}/{name}" for name in ("environ", "mem")]
        read = tried(place, "lambda path: len(Path(path).read_bytes()) > 0", *((file,) for file in files))
        assert read == [CLOSED, CLOSED]
        assert promoter.stdin is not None
        promoter.stdin.close()
    assert tried(place, "lambda path: len(Path(path).read_bytes()) > 0", ("/proc/self/environ",)) == [True]


@needs_landlock
@pytest.mark.parametrize("command", ["cat {key}", "setsid cat {key}", "(cat {key} &) ; wait ; sleep 1"])
def test_everything_that_is_started_is_kept_out_too(place: Path, command: str) -> None:
    """A child, one in a session of its own and an orphan are in the same sandbox."""
    done = sandboxed(place, "sh", "-c", command.format(key=place / "home" / "keys" / "promoter.pem"))
    assert "the key" not in done.stdout
    assert CLOSED in done.stderr


@needs_landlock
def test_the_commands_code_is_passed_on(place: Path) -> None:
    """The sandbox is replaced by the command: its code is the command's, and so is its pid."""
    assert sandboxed(place, "sh", "-c", "exit 5").returncode == 5


def test_a_wrong_call_is_told(place: Path) -> None:
    """Without a command, without a folder, with an unknown command: each says so."""
    for words, code in ((["--deny-read", "/x", "--"], 2), (["--", "true"], 2), (["--deny-read", "/", "--", "true"], 2)):
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.stack.sandbox", *words], cwd=ROOT, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr[:6]) == (code, b"error:")
    assert sandboxed(place, "no-such-command").returncode == 127


def test_what_lies_beside_is_everything_else(place: Path) -> None:
    """Of all paths only those to the denied folders are left out, for several of them too."""
    (place / "home" / "keys" / "deep").mkdir()
    denied = [place / "home" / "keys", place / "project" / "folder"]
    assert list(sandbox.beside(place, denied)) == [place / "home" / "settings", place / "project" / "file"]
    assert list(sandbox.beside(place, [])) == [place]


def test_a_system_without_landlock_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS there is none, whatever a system call of that number would do there."""
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert (sandbox.version(), sandbox.works()) == (0, False)
