"""What releases ask of git, in real repositories."""

import subprocess
from pathlib import Path

import pytest

from pipeline.errors import OutageError, UserError
from pipeline.releasing.git import Git, tag_number


def run(root: Path, *words: str) -> str:
    """Runs git in a folder."""
    return subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A repository with one commit."""
    root = tmp_path / "repository"
    root.mkdir()
    run(root, "init", "-q", "-b", "main")
    run(root, "config", "user.name", "Ada")
    run(root, "config", "user.email", "ada@localhost")
    (root / "file").write_text("one")
    run(root, "add", "-A")
    run(root, "commit", "-q", "-m", "start")
    return Git(root)


@pytest.mark.parametrize(
    ("tag", "number"), [("data/v1", 1), ("data/v12", 12), ("data/v0", 0), ("data/v1-rc", 0), ("v1", 0), ("data/v01", 0)]
)
def test_only_the_tags_of_releases_have_a_number(tag: str, number: int) -> None:
    """Other tags neither count nor collide."""
    assert tag_number(tag) == number


def test_tags_are_in_the_order_of_their_numbers(git: Git) -> None:
    """Version 10 comes after version 9."""
    for number in (10, 9, 1):
        git.tag(f"data/v{number}", "x")
    run(git.root, "tag", "data/vintage")
    assert git.tags() == ["data/v1", "data/v9", "data/v10"]


def test_a_message_is_kept_as_it_was_written(git: Git) -> None:
    """A line that begins with a hash is text, not a comment."""
    git.tag("data/v1", "May batch\n\n#2 relabelled")
    assert git.tag_message("data/v1") == "May batch\n\n#2 relabelled"


def test_a_commit_takes_ignored_files_and_leaves_the_index_alone(git: Git) -> None:
    """The named files are committed though ignored; what else was staged stays staged."""
    (git.root / ".gitignore").write_text("card\n")
    (git.root / "card").write_text("released")
    (git.root / "mine").write_text("staged")
    run(git.root, "add", "mine")
    assert git.commit([Path("card")], "Release")
    assert run(git.root, "show", "--format=", "--name-only").split() == ["card"]
    assert run(git.root, "diff", "--cached", "--name-only").split() == ["mine"]


def test_nothing_to_commit_is_no_commit(git: Git) -> None:
    """Files that stand as they are make no second commit."""
    before = git.head()
    assert not git.commit([Path("file")], "again")
    assert git.head() == before


def test_a_detached_head_is_refused(git: Git) -> None:
    """A release needs a branch that its commit stays on."""
    run(git.root, "checkout", "-q", "--detach")
    with pytest.raises(UserError, match="no branch"):
        git.check_ready()


def test_a_folder_without_git_is_refused(tmp_path: Path) -> None:
    """The message says how to begin."""
    with pytest.raises(UserError, match="git init"):
        Git(tmp_path).check_ready()


def test_a_repository_without_a_commit_is_refused(tmp_path: Path) -> None:
    """A release comes after a commit, which its card names."""
    run(tmp_path, "init", "-q")
    with pytest.raises(UserError, match="no commit yet"):
        Git(tmp_path).check_ready()


def test_a_folder_of_a_repository_is_refused(git: Git) -> None:
    """Releases are read from a repository's root: the message says how a folder gets one of its own."""
    folder = git.root / "team" / "project"
    folder.mkdir(parents=True)
    with pytest.raises(UserError, match="git subtree split --prefix=team/project"):
        Git(folder).check_ready()


def test_a_message_that_is_no_utf_8_can_be_read(git: Git) -> None:
    """What git keeps of another encoding costs its odd letters and nothing more."""
    subprocess.run(["git", "tag", "-a", "data/v1", "-m", b"caf\xe9 May"], cwd=git.root, check=True, capture_output=True)
    assert git.tag_message("data/v1") == "caf\ufffd May"


def test_the_only_remote_is_the_one(git: Git) -> None:
    """With one remote, whatever its name, releases go there; with several, to origin."""
    assert git.remote() is None
    run(git.root, "remote", "add", "elsewhere", "../elsewhere")
    assert git.remote() == "elsewhere"
    run(git.root, "remote", "add", "third", "../third")
    assert git.remote() is None
    run(git.root, "remote", "add", "origin", "../origin")
    assert git.remote() == "origin"


def test_a_tag_of_another_branch_travels_alone(git: Git) -> None:
    """A branch that does not have the release's commit is not pushed along with its tag."""
    run(git.root, "init", "-q", "--bare", "../bare.git")
    run(git.root, "remote", "add", "origin", "../bare.git")
    run(git.root, "switch", "-q", "-c", "side")
    run(git.root, "commit", "-q", "--allow-empty", "-m", "release")
    git.tag("data/v1", "x")
    run(git.root, "switch", "-q", "main")
    git.push("origin", "data/v1")
    refs = run(git.root, "ls-remote", "origin")
    assert "refs/tags/data/v1" in refs
    assert "refs/heads" not in refs


def test_tags_travel_together_with_the_branch(git: Git) -> None:
    """Several tags and the branch that has them arrive by one push."""
    run(git.root, "init", "-q", "--bare", "../bare.git")
    run(git.root, "remote", "add", "origin", "../bare.git")
    git.tag("data/v1", "x")
    git.tag("data/v2", "y")
    git.push("origin", "data/v1", "data/v2")
    refs = run(git.root, "ls-remote", "origin")
    assert all(name in refs for name in ("refs/tags/data/v1", "refs/tags/data/v2", "refs/heads/main"))


def test_a_server_that_forbids_the_push_is_told_from_a_race(git: Git) -> None:
    """Whoever may not write there learns what stands here and who can push it, and is not told to pull."""
    run(git.root, "init", "-q", "--bare", "../bare.git")
    hook = git.root.parent / "bare.git" / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    run(git.root, "remote", "add", "origin", "../bare.git")
    git.tag("data/v1", "x")
    with pytest.raises(UserError, match=r"stay in this repository.*git push origin HEAD:refs/heads/main") as raised:
        git.push("origin", "data/v1")
    assert "git pull" not in str(raised.value)


def test_a_remote_without_leave_to_write_is_no_outage(git: Git) -> None:
    """A refusal before anything is sent, as of a server that asks for another key, is told the same way."""
    program = git.root.parent / "ssh"
    program.write_text("#!/bin/sh\necho 'ERROR: Permission to team/data.git denied to ada.' >&2\nexit 1\n")
    program.chmod(0o755)
    run(git.root, "config", "core.sshCommand", str(program))
    run(git.root, "remote", "add", "origin", "git@localhost:team/data.git")
    git.tag("data/v1", "x")
    with pytest.raises(UserError, match="does not let you push data/v1"):
        git.push("origin", "data/v1")


def test_an_edited_or_unknown_file_is_not_as_committed(git: Git) -> None:
    """What git keeps is told from what it does not, and from what was edited since."""
    assert git.as_committed(Path("file"))
    (git.root / "file").write_text("two")
    (git.root / "new").write_text("")
    assert not git.as_committed(Path("file"))
    assert not git.as_committed(Path("new"))


def test_a_remote_that_is_away_is_an_outage(git: Git) -> None:
    """Neither its tags nor a push are to be had, and a later call may succeed."""
    run(git.root, "remote", "add", "origin", "../nowhere.git")
    git.tag("data/v1", "x")
    with pytest.raises(OutageError, match="origin"):
        git.remote_tags("origin")
    with pytest.raises(OutageError, match="again"):
        git.push("origin", "data/v1")


def test_passwords_of_a_remote_stay_out_of_messages(git: Git) -> None:
    """A URL with credentials is shown without them."""
    run(git.root, "remote", "add", "origin", "http://ada:hunter2@127.0.0.1:9/none.git")
    with pytest.raises(OutageError) as raised:
        git.remote_tags("origin")
    assert "hunter2" not in str(raised.value)
