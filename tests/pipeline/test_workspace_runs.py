"""The workspace of a run: made once by what it trains, recorded on a branch, removed only when nothing works in it."""

import json
import subprocess
from pathlib import Path

import pytest
import release_case
import yaml
from release_case import add_batch, more_items, tag_by_hand
from run_case import at_once, commit, evaluated, inside, make, make_released, told
from workspace import Workspace

from pipeline import workspace_commit, workspace_remove
from pipeline.errors import UserError
from pipeline.files import sha256_file
from pipeline.releasing.purged import RECORD, Purge, append_purge


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A project with a release."""
    return make_released(tmp_path_factory.mktemp("runs") / "workspace")


@pytest.fixture
def project(template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy to work in."""
    copy = release_case.copy_of(template, tmp_path)
    monkeypatch.setenv("SEGLOOP_OUTCOME", str(tmp_path / "told.json"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(copy.root / ".site"))
    monkeypatch.delenv("SEGLOOP_ROOT", raising=False)
    return copy


def test_the_same_run_has_the_same_workspace(project: Workspace) -> None:
    """Release, code and params name it; another param, or other code, is another run."""
    first = make(project, "train.max_epochs=3")
    assert make(project, "train.max_epochs=3") == first
    assert yaml.safe_load((first / "params.yaml").read_text())["train"]["max_epochs"] == 3
    assert (first / "data/dataset").is_dir()
    assert make(project, "train.max_epochs=4") != first
    (project.root / "checks.py").write_text("other = 'code'\n")
    commit_all(project)
    assert make(project, "train.max_epochs=3") != first


def commit_all(project: Workspace) -> None:
    """Commits what the working tree has, though git ignores it."""
    project.ok("git", "add", "--all", "--force", "checks.py", "data/*", ":!data/dataset/*")
    project.ok("git", "commit", "-q", "-m", "more")


def release_more(project: Workspace) -> None:
    """A release later, and a decision: what these commit."""
    add_batch(project, "second", more_items(2, seed=1))
    for name in ("releases/v2.json", "releases/v2.items.csv", "decisions.head", "inbox.csv", "reviewers.yaml"):
        (project.root / "data" / name).parent.mkdir(exist_ok=True)
        (project.root / "data" / name).write_text("2\n")
    (project.root / "data/taxonomy.yaml").write_text((project.root / "data/taxonomy.yaml").read_text() + "# later\n")
    (project.root / "dvc.lock").write_text("schema: '2.0'\n")
    project.ok("git", "add", "--force", "data/releases", "data/decisions.head", "data/inbox.csv", "data/reviewers.yaml")
    tag_by_hand(project, "data/v2")


def test_a_later_release_leaves_earlier_runs_as_they_are(project: Workspace) -> None:
    """Finished, a run on the earlier release is found; not finished, it goes on in its workspace, at its commit."""
    done, begun = evaluated(make(project, "train.seed=3")), make(project, "train.seed=4")
    commit(done)
    before = project.ok("git", "rev-parse", "HEAD").strip()
    release_more(project)
    assert make(project, "train.seed=3") == done
    assert (told(project)["finished"], told(project)["commit"]) == (True, before)
    assert make(project, "train.seed=4") == begun
    assert (told(project)["finished"], told(project)["commit"]) == (False, before)


def test_a_release_that_lost_items_is_trained_on_anew(project: Workspace) -> None:
    """After a purge other parts stand in for its own: what was made of it before is another run's."""
    first = make(project)
    purge = Purge(version=1, at="2026-01-01", by="Ada", note="asked", items=(), parts=(), releases=("data/v1",))
    append_purge(project.root / RECORD, purge)
    second = make(project)
    assert second != first
    append_purge(project.root / RECORD, purge.model_copy(update={"at": "2026-01-02", "releases": ("data/v9",)}))
    assert make(project) == second


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("dataset.path=../../../etc", "the release says"),
        ("catalog.custom=../evil.py", "commit it"),
        ("register.model_name=other", "same name"),
        ("registry.four_eyes=false", "one decision log"),
        ("train.max_epochs=[", "'train.max_epochs=\\['"),
        ("train.max_epochs=!!python/object:os.system {}", "train.max_epochs"),
        ("train.max_epochs=2026-01-01", "date"),
        ("train.max_epochs=2026-13-41", "train.max_epochs"),
        ("train.max_epochs=.nan", "JSON"),
    ],
)
def test_what_cannot_be_set_for_a_run_is_refused(project: Workspace, change: str, why: str) -> None:
    """Not what would make a run read elsewhere than its name says, nor what is no value; with the reason."""
    with pytest.raises(UserError, match=why):
        make(project, change)
    assert not (project.root / ".segloop/workspaces").exists()


def test_a_run_is_recorded_on_its_branch(project: Workspace) -> None:
    """The branch has lock, params, metrics and the record, on top of the run's code; no checkout is touched."""
    folder = evaluated(make(project, "train.max_epochs=3"))
    before = project.ok("git", "status", "--porcelain"), project.ok("git", "rev-parse", "HEAD")
    commit(folder)
    branch = f"runs/{folder.name}"
    assert project.ok("git", "show", f"{branch}:data/evaluation/metrics.json") == '{"miou": 0.7}'
    assert project.ok("git", "show", f"{branch}:dvc.lock") == "schema: '2.0'\n"
    assert "max_epochs: 3" in project.ok("git", "show", f"{branch}:params.yaml")
    record = json.loads(project.ok("git", "show", f"{branch}:run.json"))
    assert (record["version"], record["verdict"], record["release"]) == ("4", "passed", "data/v1")
    metrics = folder / "data/evaluation/metrics.json"
    assert record["reports"] == {"data/evaluation/metrics.json": sha256_file(metrics)}
    assert project.ok("git", "rev-parse", f"{branch}~1") == before[1]
    assert (project.ok("git", "status", "--porcelain"), project.ok("git", "rev-parse", "HEAD")) == before


def test_a_run_without_a_verdict_is_recorded_without_one(project: Workspace) -> None:
    """Whose version is the champion already was not judged: an empty word is none."""
    folder = evaluated(make(project))
    with inside(folder):
        workspace_commit.main(version="4", verdict="", note="This model is the champion already.")
    record = json.loads(project.ok("git", "show", f"runs/{folder.name}:run.json"))
    assert (record["state"], record["version"], "verdict" in record) == ("finished", "4", False)


def test_the_same_outcome_is_committed_once(project: Workspace) -> None:
    """Run again, the branch stays; another outcome is a commit more."""
    folder = evaluated(make(project))
    commit(folder)
    first = project.ok("git", "rev-parse", f"runs/{folder.name}")
    commit(folder)
    assert project.ok("git", "rev-parse", f"runs/{folder.name}") == first
    assert told(project)["changed"] is False
    commit(folder, version="5")
    assert project.ok("git", "rev-parse", f"runs/{folder.name}~1") == first


def test_a_finished_run_is_a_no_op_that_says_so(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """With its workspace gone, nothing is made, and the caller learns what it ended in."""
    folder = evaluated(make(project))
    assert told(project)["finished"] is False
    commit(folder)
    with inside(project.root):
        workspace_remove.main(folder.name)
    assert make(project) == folder
    assert not folder.exists()
    assert (told(project)["finished"], told(project)["version"]) == (True, "4")
    said = str(told(project)["said"])
    assert f"nothing to do: {said}" in capsys.readouterr().out
    for part in (
        f"run {folder.name} on data/v1 has finished, and registered version 4 (gate: passed)",
        "Training again on the same data, code and params gives the same model: release new data, or change",
        f"git show runs/{folder.name}",
    ):
        assert part in said


def test_a_failed_run_may_be_run_again(project: Workspace) -> None:
    """Its record is kept on the branch, and the workspace is made."""
    folder = make(project)
    with inside(folder):
        workspace_commit.main(failed=True, note="the gate was away")
    assert make(project) == folder
    assert told(project)["finished"] is False
    assert folder.exists()


def test_two_runs_at_once_do_not_disturb_each_other(project: Workspace) -> None:
    """Made and committed at the same time, each ends on its own branch with its own params."""
    epochs = ("3", "4")
    made = at_once(project, *(["pipeline.workspace_make", "data/v1", "--set", f"train.max_epochs={n}"] for n in epochs))
    at_once(project, *(["pipeline.workspace_commit", each["key"]] for each in made))
    for number, each in zip(epochs, made, strict=True):
        assert f"max_epochs: {number}" in project.ok("git", "show", f"{each['branch']}:params.yaml")


def test_a_large_report_is_refused(project: Workspace) -> None:
    """Git keeps for ever what is committed: the limit and the size are named, and nothing is committed."""
    folder = evaluated(make(project))
    (folder / "page.html").write_text("x" * 20_000)
    with inside(folder), pytest.raises(UserError, match=r"20000 bytes.*10000"):
        workspace_commit.main(report=[Path("page.html")])
    assert project.ok("git", "branch", "--list", "runs/*") == ""


def test_a_report_from_elsewhere_is_refused(project: Workspace) -> None:
    """Only files of the workspace are committed."""
    folder = make(project)
    with inside(folder), pytest.raises(UserError, match="no file of the workspace"):
        workspace_commit.main(report=[Path("../../../params.yaml")])


def test_an_unfinished_workspace_is_kept(project: Workspace) -> None:
    """Removing it takes a word more; then nothing of it is left, neither folder nor worktree."""
    folder = make(project)
    with inside(project.root):
        with pytest.raises(UserError, match="no finished record"):
            workspace_remove.main(folder.name)
        workspace_remove.main(folder.name, unfinished=True)
    assert not folder.exists()
    assert folder.name not in project.ok("git", "worktree", "list")


def test_a_workspace_at_work_is_kept(project: Workspace) -> None:
    """As long as a process works in it, it is not removed, whatever was recorded."""
    folder = evaluated(make(project))
    commit(folder)
    with subprocess.Popen(["sleep", "60"], cwd=folder / "data") as process:
        with inside(project.root), pytest.raises(UserError, match=f"process {process.pid}"):
            workspace_remove.main(folder.name)
        process.kill()
    assert folder.exists()


@pytest.mark.parametrize("name", ["../..", "nothing", "/etc"])
def test_only_a_workspace_is_removed(project: Workspace, name: str) -> None:
    """A name that is none, or leads elsewhere, is refused."""
    with inside(project.root), pytest.raises(UserError, match="no workspace"):
        workspace_remove.main(name)
