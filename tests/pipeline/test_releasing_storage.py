"""A DVC remote that is a folder beside the clone that made it: where others look for it, and what they are told."""

import shutil
from pathlib import Path

import pytest
import release_case
from release_case import light_project, tag_by_hand
from workspace import Workspace

from pipeline import purge
from pipeline.dataset import DatasetParams
from pipeline.errors import OutageError, UserError
from pipeline.params import read_section
from pipeline.releasing.making import PARAMS, Making, ReleaseParams, start
from pipeline.releasing.reader import open_release
from pipeline.releasing.storage import absent_folder
from pipeline.workspaces import Wanted, make_workspace

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A release on the remote ../segloop-remote."""
    workspace = light_project(tmp_path_factory.mktemp("storage") / "workspace")
    tag_by_hand(workspace, "data/v1")
    return workspace


@pytest.fixture
def project(template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy to work in, with its remote beside it."""
    copy = release_case.copy_of(template, tmp_path)
    monkeypatch.chdir(copy.root)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    return copy


@pytest.fixture
def clone(project: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A clone in another folder, beside which there is no remote; it has nothing in its cache."""
    far = Workspace(project.root.parent / "far" / "away")
    project.ok("git", "clone", "-q", str(project.root), str(far.root))
    monkeypatch.chdir(far.root)
    return far


def test_a_workspace_elsewhere_finds_the_remote(project: Workspace, tmp_path: Path) -> None:
    """The path begins at the clone that the workspace comes from, so that data is fetched although no cache has it."""
    shutil.rmtree(project.root / ".dvc/cache")
    into = tmp_path / "some/where/else"
    make_workspace(Wanted(project.root, "data/v1", into))
    assert (into / "data/dataset/first/part-00000.parquet").is_file()
    assert f"url = {release_case.remote_of(project)}" in (into / ".dvc/config.local").read_text()


def test_whoever_reads_in_another_clone_is_told_where_it_looks(clone: Workspace) -> None:
    """The error names the folder, why it may be another one, and the command that says where it is."""
    with pytest.raises(UserError, match="is not there") as raised:
        open_release(clone.root, "data/v1")
    assert str(clone.root.parent / "segloop-remote") in str(raised.value)
    assert "dvc remote modify --local storage url" in str(raised.value)


def test_the_command_that_the_error_names_mends_it(project: Workspace, clone: Workspace) -> None:
    """With the path said, the clone reads the release."""
    clone.ok("dvc", "remote", "modify", "--local", "storage", "url", str(release_case.remote_of(project)))
    assert len(open_release(clone.root, "data/v1").index) == 16


def test_a_release_is_not_sent_to_a_second_place(clone: Workspace) -> None:
    """Where earlier releases lie on a remote that is not there, no new one is begun in its place."""
    making = Making(
        clone.root,
        read_section(ReleaseParams, "release", PARAMS),
        read_section(DatasetParams, "dataset", PARAMS),
        "from afar",
    )
    clone.ok("git", "config", "user.name", "Ben")
    clone.ok("git", "config", "user.email", "ben@localhost")
    with pytest.raises(UserError, match="is not there"):
        start(making)
    assert not (clone.root.parent / "segloop-remote").exists()


@pytest.mark.usefixtures("clone")
def test_a_purge_does_not_overlook_a_remote() -> None:
    """What lies on a remote that is not found would be kept, and said to be gone."""
    with pytest.raises(OutageError, match=r"'storage' is the folder .* is not there.*mount it"):
        purge.main(["item-005"], note="withdrawn", yes=True)


@pytest.mark.parametrize("url", ["s3://bucket/path", "ssh://host/path", "."])
def test_other_remotes_are_not_looked_for(url: str) -> None:
    """Only a folder can be found missing without asking anybody."""
    assert absent_folder("storage", url) == ""
