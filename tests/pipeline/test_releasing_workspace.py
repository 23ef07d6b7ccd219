"""The dataset in the workspace, seen like a release."""

from pathlib import Path

import pytest
import yaml
from release_case import light_project, objects, tag_by_hand
from workspace import Workspace

from pipeline.errors import UserError
from pipeline.releasing.reader import Release
from pipeline.releasing.workspace import open_workspace
from pipeline.taxonomy import load_taxonomy

# A deprecation between DVC and a library of its own.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project whose dataset is in DVC's cache and on its remote."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    workspace = light_project(tmp_path / "workspace")
    tag_by_hand(workspace, "data/v1")
    return workspace


def folder_md5(project: Workspace) -> str:
    """DVC's digest of the dataset's folder."""
    return str(yaml.safe_load((project.root / "data" / "dataset.dvc").read_text())["outs"][0]["md5"])


def opened(project: Workspace) -> Release:
    """The dataset."""
    root = project.root
    taxonomy = load_taxonomy(root / "data" / "taxonomy.yaml")
    return open_workspace(root, Path("data/dataset"), root / "data" / "splits.csv", taxonomy, folder_md5(project))


def spoil(file: Path) -> None:
    """Cuts an object short."""
    file.chmod(0o644)
    file.write_text('[{"md')


def cached(project: Workspace) -> Path:
    """The list of the dataset's files in the cache."""
    md5 = folder_md5(project)
    return project.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]


def test_a_list_that_is_damaged_in_the_cache_is_read_from_the_remote(project: Workspace) -> None:
    """The parts are those of the unharmed copy."""
    expected = opened(project).parts
    spoil(cached(project))
    assert opened(project).parts == expected
    assert list(expected) == ["first/part-00000.parquet"]


def test_a_list_that_is_damaged_everywhere_is_named(project: Workspace) -> None:
    """Without an unharmed copy the message says which file it is."""
    spoil(cached(project))
    spoil(objects(project)[folder_md5(project)])
    with pytest.raises(UserError, match=rf"{cached(project)}.* is damaged"):
        opened(project)
