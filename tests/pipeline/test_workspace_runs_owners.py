"""Who works in the workspace of a run: one at a time, or whoever takes it over by name once that one has ended."""

from pathlib import Path

import pytest
import release_case
from run_case import at_once, commit, evaluated, inside, make_released, told
from workspace import Workspace

from pipeline import workspace_make


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


def test_a_workspace_has_one_owner_at_a_time(project: Workspace) -> None:
    """Another is told whose it is; once the owner's work is over, it is taken over by name."""
    holders = []
    for owner, instead_of in (("a", None), ("b", None), ("a", None), ("b", "a"), ("a", None), ("a", "c")):
        with inside(project.root):
            workspace_make.main("data/v1", owner=owner, instead_of=instead_of)
        holders.append(told(project)["held_by"])
    assert holders == [None, "a", None, None, "b", "b"]


def test_a_workspace_of_another_is_left_as_it_is(project: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is laid over what its owner works with; the caller learns whose it is, and where."""
    folder = owned(project, "a")
    (folder / "data/taxonomy.yaml").write_text("at work\n")
    assert owned(project, "b") == folder
    assert (told(project)["held_by"], told(project)["finished"]) == ("a", False)
    assert (folder / "data/taxonomy.yaml").read_text() == "at work\n"
    assert f"{folder} is the workspace of a, and was left alone" in capsys.readouterr().out


def test_who_takes_over_goes_on_with_what_is_there(project: Workspace) -> None:
    """Results of stages stay, at the commit that they were made of; what was left half-laid is laid again."""
    folder = evaluated(owned(project, "a"))
    (folder / "data/taxonomy.yaml").unlink()
    before = told(project)["commit"]
    assert owned(project, "b", instead_of="a") == folder
    assert (told(project)["held_by"], told(project)["commit"]) == (None, before)
    assert (folder / "data/evaluation/metrics.json").exists()
    assert (folder / "data/taxonomy.yaml").exists()


def test_of_two_that_take_over_at_once_one_gets_it(project: Workspace) -> None:
    """The other learns who was faster."""
    owned(project, "a")
    command = ["pipeline.workspace_make", "data/v1", "--instead-of", "a", "--owner"]
    holders = [each["held_by"] for each in at_once(project, [*command, "b"], [*command, "c"])]
    assert sorted(map(str, holders)) in (["None", "b"], ["None", "c"])


def test_what_has_finished_is_nobodys(project: Workspace) -> None:
    """There is nothing to take over: whoever asks learns that it is done."""
    commit(evaluated(owned(project, "a")))
    owned(project, "b")
    assert (told(project)["finished"], told(project)["held_by"]) == (True, None)


def owned(project: Workspace, owner: str, instead_of: str | None = None) -> Path:
    """Makes the workspace of a run for an owner, or asks for it."""
    with inside(project.root):
        workspace_make.main("data/v1", owner=owner, instead_of=instead_of)
    return Path(str(told(project)["workspace"]))
