"""A project's taxonomy and params put in place, and never over work that git does not hold."""

import subprocess
from pathlib import Path

import pytest

from pipeline.command import run
from pipeline.use import main

TAXONOMY = 'version: 1\nclasses:\n  - {id: 0, name: NAME, colour: "#000000"}\n'


def git(*words: str) -> None:
    """Runs git in the working folder."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", *identity, *words], check=True, capture_output=True)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed workspace, and a project beside it in `project`."""
    root, project = tmp_path / "workspace", tmp_path / "project"
    for folder, name in ((root / "data", "sky"), (project, "road")):
        folder.mkdir(parents=True)
        (folder / "taxonomy.yaml").write_text(TAXONOMY.replace("NAME", name))
    (root / "params.yaml").write_text("train: {epochs: 1}\n")
    (project / "params.yaml").write_text("train: {epochs: 2}\n")
    (root / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(root)
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "start")
    return root


def use(*options: str) -> int:
    """Runs the command and returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        run(main, ["../project", *options])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_both_files_are_put_in_place(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The project's files replace committed ones, the next command is printed, dvc.yaml stays; again is a no-op."""
    assert use() == 0
    assert "road" in (workspace / "data/taxonomy.yaml").read_text()
    assert "epochs: 2" in (workspace / "params.yaml").read_text()
    assert (workspace / "dvc.yaml").read_text() == "stages: {}\n"
    assert "segloop ingest" in capsys.readouterr().out
    assert use() == 0
    assert "nothing to do" in capsys.readouterr().out


def test_uncommitted_edits_are_never_lost(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with edits in no commit, staged or not, is refused by name, and the other is not written either."""
    (workspace / "params.yaml").write_text("train: {epochs: 7}\n")
    git("add", "params.yaml")
    assert use() == 2
    assert "params.yaml would be overwritten" in capsys.readouterr().err
    assert "epochs: 7" in (workspace / "params.yaml").read_text()
    assert "sky" in (workspace / "data/taxonomy.yaml").read_text()


def test_an_untracked_file_counts_as_uncommitted(workspace: Path) -> None:
    """A file that git never saw is not overwritten."""
    git("rm", "--quiet", "--cached", "params.yaml")
    git("commit", "--quiet", "-m", "untrack")
    assert use() == 2
    assert "epochs: 1" in (workspace / "params.yaml").read_text()


def test_a_rehearsal_writes_nothing(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry-run` names the files that would be written and leaves them."""
    assert use("--dry-run") == 0
    assert "would write params.yaml" in capsys.readouterr().out
    assert "sky" in (workspace / "data/taxonomy.yaml").read_text()


def test_a_missing_project_is_named(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the folder, or a file in it, the message says what a project consists of."""
    project = workspace.parent / "project"
    (project / "params.yaml").unlink()
    assert use() == 2
    assert "../project has no params.yaml" in capsys.readouterr().err
    project.rename(workspace.parent / "moved")
    assert use() == 2
    message = capsys.readouterr().err
    assert "There is no folder ../project" in message
    assert "taxonomy.yaml and params.yaml" in message


def test_a_malformed_project_is_refused(workspace: Path) -> None:
    """A taxonomy with a gap or a folder without files changes nothing."""
    (workspace.parent / "project/taxonomy.yaml").write_text(TAXONOMY.replace("id: 0", "id: 1"))
    assert use() == 2
    assert "sky" in (workspace / "data/taxonomy.yaml").read_text()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ("train: {epochs: 2, epoch: 1}\n", "section 'train': unknown key 'epoch'"),
        ("train: {epochs: 2}\ntrian: {}\n", "unknown section 'trian'"),
        ("{}\n", "no section 'train'"),
        ("train: 2\n", "section 'train' is no mapping"),
    ],
)
def test_params_of_another_shape_are_refused(
    workspace: Path, capsys: pytest.CaptureFixture[str], params: str, said: str
) -> None:
    """Sections and keys that the workspace's committed params do not have change nothing; the message names them."""
    (workspace.parent / "project/params.yaml").write_text(params)
    assert use() == 2
    assert said in capsys.readouterr().err
    assert "sky" in (workspace / "data/taxonomy.yaml").read_text()
