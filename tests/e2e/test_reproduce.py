"""Training on a release by its name: a workspace of its own with the items, splits and taxonomy of then."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import release_case
from release_case import add_batch, more_items, relabelled
from workspace import Workspace

from pipeline.files import sha256_file

pytestmark = pytest.mark.e2e

REPRODUCE = (sys.executable, "-m", "pipeline.reproduce")
RELEASE = (sys.executable, "-m", "pipeline.release", "--message")
TINY = {
    "prepare": {"tile_px": 64, "overlap_px": 8, "scale": 1.0, "workers": 1},
    "train": {"max_epochs": 1, "batch_size": 4},
    "export": {"parity_tiles": 4, "temperature_tiles": 4},
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two releases: in the second an item is relabelled and two came; since then a param and the taxonomy changed."""
    workspace = release_case.make_template(tmp_path_factory.mktemp("reproduce") / "workspace")
    workspace.set_params(TINY)
    workspace.ok("git", "commit", "-q", "-a", "-m", "tiny")
    workspace.ok(*RELEASE, "the first one")
    workspace.ok("dvc", "repro", "prepare")
    changed = [*relabelled(["item-005"], lambda mask: mask * 0), *relabelled(["item-001"], partly_void)]
    add_batch(workspace, "second", [*changed, *more_items(2, seed=7)])
    workspace.ok(*RELEASE, "the second one")
    taxonomy = workspace.root / "data" / "taxonomy.yaml"
    taxonomy.write_text(taxonomy.read_text().replace("version: 1", "version: 2"))
    workspace.set_params({"train": {"max_epochs": 2}})
    workspace.ok("git", "commit", "-q", "-a", "-m", "later")
    return workspace


@pytest.fixture
def project(template: Workspace, tmp_path: Path) -> Workspace:
    """A copy to work in."""
    return release_case.copy_of(template, tmp_path)


def partly_void(mask: np.ndarray) -> np.ndarray:
    """A quarter of it becomes void. Shape: (H, W), uint8."""
    mask[:, : mask.shape[1] // 4] = release_case.VOID
    return mask


def tiles(folder: Path) -> dict[str, object]:
    """What `prepare` says of its tiles."""
    content = json.loads((folder / "data/tiles/tiles.json").read_text())
    assert isinstance(content, dict)
    return content


def promised(workspace: Workspace, tag: str) -> str:
    """The digest of the accepted items on a release's card."""
    card = json.loads(workspace.ok("git", "show", f"{tag}:data/releases/{tag.removeprefix('data/')}.json"))
    return str(card["content"]["dataset_digest"])


@pytest.mark.parametrize("tag", ["data/v1", "data/v2"])
def test_the_items_are_those_of_the_release(project: Workspace, tag: str) -> None:
    """The tiles' digest of items is the one on the card, and the workspace it came from is not touched."""
    before = project.ok("git", "status", "--porcelain")
    said = project.ok(*REPRODUCE, tag, "--until", "prepare")
    folder = project.root / ".segloop/workspaces" / tag.replace("/", "-")
    assert tiles(folder)["dataset_digest"] == promised(project, tag)
    assert f"prepared exactly the items that {tag} accepted" in said
    assert tiles(folder)["taxonomy_version"] == 1
    assert project.ok("git", "status", "--porcelain") == before


def test_it_trains_to_the_end_and_gives_the_same_again(project: Workspace, tmp_path: Path) -> None:
    """Code and params of then give the weights that they gave then; again nothing is run, and results are named."""
    elsewhere = release_case.copy_of(project, tmp_path / "then")
    elsewhere.ok("git", "checkout", "-q", "data/v1")
    elsewhere.ok("dvc", "checkout", "-q", "data/dataset.dvc")
    elsewhere.ok("dvc", "repro", "train")
    said = project.ok(*REPRODUCE, "data/v1", "--code", "then", "--into", "again")
    weights = Path("data/training/model.safetensors")
    assert sha256_file(project.root / "again" / weights) == sha256_file(elsewhere.root / weights)
    assert str(project.root / "again/data/evaluation/metrics.json") in said
    repeated = project.ok(*REPRODUCE, "data/v1", "--code", "then", "--into", "again")
    assert "going on with commit" in repeated
    assert "Running stage" not in repeated


def test_a_param_can_differ(project: Workspace) -> None:
    """An override reaches params.yaml of that workspace; one that no section has is the user's mistake."""
    project.ok(*REPRODUCE, "data/v1", "--until", "catalog", "--set", "train.max_epochs=7")
    assert "max_epochs: 7" in (project.root / ".segloop/workspaces/data-v1/params.yaml").read_text()
    wrong = project.run(*REPRODUCE, "data/v1", "--into", "other", "--set", "train.epochs=7")
    assert wrong.returncode == 2
    assert "train.epochs" in wrong.stderr


def test_a_folder_for_something_else_is_not_taken(project: Workspace) -> None:
    """Neither a folder with other files nor a workspace of another release is written into."""
    (project.root / "mine").mkdir()
    (project.root / "mine/notes.txt").write_text("keep")
    assert project.run(*REPRODUCE, "data/v1", "--into", "mine").returncode == 2
    project.ok(*REPRODUCE, "data/v1", "--into", "first", "--until", "catalog")
    done = project.run(*REPRODUCE, "data/v2", "--into", "first")
    assert done.returncode == 2
    assert "for something else" in done.stderr


def test_what_was_added_by_halves_is_made_anew(project: Workspace) -> None:
    """A worktree without its marker, as a kill leaves it, is replaced."""
    project.ok("git", "worktree", "add", "--detach", "half", "HEAD")
    (project.root / "half/params.yaml").unlink()
    project.ok(*REPRODUCE, "data/v1", "--into", "half", "--until", "prepare")
    assert tiles(project.root / "half")["dataset_digest"] == promised(project, "data/v1")


def test_today_judging_otherwise_is_a_verdict(project: Workspace) -> None:
    """Where today's params accept other items than the release did, the difference is a failure that says why."""
    done = project.run(*REPRODUCE, "data/v2", "--until", "prepare", "--set", "validate.max_void_share=0.1")
    assert done.returncode == 1, done.stderr
    assert "--code then" in done.stderr


@pytest.fixture
def purged(project: Workspace) -> Workspace:
    """A workspace in which an item of the first release was purged."""
    project.ok(sys.executable, "-m", "pipeline.purge", "item-005", "--note", "withdrawn", "--yes")
    project.ok("git", "add", "-f", "data/purged.jsonl", "data/dataset.dvc")
    project.ok("git", "commit", "-q", "-m", "purged")
    return project


def test_a_purged_release_trains_on_what_is_left(purged: Workspace) -> None:
    """The dataset is put together from the parts that stand in; every item that is left is found to be the same."""
    said = purged.ok(*REPRODUCE, "data/v1", "--until", "prepare")
    assert "data/v1 is no longer whole: 1 item was purged on" in said
    assert "prepared 15 of the 16 items that data/v1 accepted, each the same; 1 are missing since they were" in said


def test_a_purge_excuses_no_other_difference(purged: Workspace) -> None:
    """Where today's params leave out an item beside the purged one, that item is named and the verdict is no."""
    done = purged.run(*REPRODUCE, "data/v2", "--until", "prepare", "--set", "validate.max_void_share=0.1")
    assert done.returncode == 1, done.stderr
    assert "1 not accepted any more, first 'item-001'" in done.stderr
    assert "--code then" in done.stderr
