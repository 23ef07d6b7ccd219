"""What a release takes as it finds it."""

from pathlib import Path

import pytest
from release_case import light_project
from workspace import Workspace

from pipeline.dataset import DatasetParams
from pipeline.params import read_section
from pipeline.releasing.making import PARAMS, Making, ReleaseParams

# A deprecation between DVC and a library of its own.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A project with a dataset that is not released."""
    workspace = light_project(tmp_path_factory.mktemp("making") / "workspace")
    (workspace.root / "checks.py").write_text("")
    (workspace.root / "data" / "label_decisions.csv").write_text("")
    return workspace


def making_in(workspace: Workspace) -> Making:
    """A release of it in the making."""
    file = workspace.root / PARAMS
    paths = read_section(DatasetParams, "dataset", file)
    return Making(workspace.root, read_section(ReleaseParams, "release", file), paths, "x", tag="data/v1")


@pytest.mark.parametrize(
    "file", ["data/taxonomy.yaml", "data/splits.csv", "data/label_decisions.csv", "params.yaml", "checks.py"]
)
def test_an_edit_of_what_is_judged_shows(project: Workspace, file: str) -> None:
    """Each file that the verdict depends on, and that the commit takes along, has a digest of its own."""
    making = making_in(project)
    before = making.digests()
    with (project.root / file).open("a") as opened:
        opened.write("# edited\n")
    after = making.digests()
    assert {name for name in after if after[name] != before[name]} == {Path(file)}


def test_what_the_release_writes_itself_does_not_show(project: Workspace) -> None:
    """Pointer, configuration and card change on the way of every release."""
    making = making_in(project)
    before = making.digests()
    project.ok("dvc", "add", "-q", "data/dataset")
    project.ok("dvc", "config", "core.analytics", "false")
    for name in ("v1.json", "v1.md", "v1.items.csv"):
        (project.root / "data" / "releases").mkdir(exist_ok=True)
        (project.root / "data" / "releases" / name).write_text("")
    assert making.digests() == before
