"""Which model judges which item: by folds, an export, a registered version, or none."""

from pathlib import Path

import pandas as pd
import pytest
from stage_outputs import TAXONOMY, write_outputs

from pipeline.errors import UserError
from pipeline.files import write_json
from pipeline.label_qa.judges import with_judges
from pipeline.label_qa.looks import MODEL
from pipeline.taxonomy import Taxonomy, load_taxonomy

INDEX = pd.DataFrame({"item_id": ["a", "b", "c", "new", "other"], "group": ["g", "g", "h", "h", "unknown"]})


@pytest.fixture
def taxonomy(tmp_path: Path) -> Taxonomy:
    """Red, green and blue, as the exported graphs have them."""
    (tmp_path / "taxonomy.yaml").write_text(TAXONOMY)
    return load_taxonomy(tmp_path / "taxonomy.yaml")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An exported graph."""
    return write_outputs(tmp_path / "project").export


@pytest.fixture
def folds(tmp_path: Path, export: Path) -> Path:
    """The folder of `labels folds`, with two networks: b and group h were held out by the second."""
    folder = tmp_path / "folds"
    folder.mkdir()
    for number in range(2):
        (folder / str(number)).symlink_to(export)
    write_json(folder / "folds.json", {"schema": 1, "key": "k", "folds": 2, "by": "frames"})
    taught = {"item_id": ["a", "b", "c"], "group": ["g", "g", "h"], "fold": [0, 1, 1]}
    pd.DataFrame(taught).to_parquet(folder / "items.parquet")
    return folder


def judges(folds: Path, taxonomy: Taxonomy, wanted: str = "folds") -> list[str]:
    """The names of the models' folders, by item."""
    return [Path(each).name if each else "" for each in with_judges(INDEX, wanted, folds, taxonomy, "segmenter")[MODEL]]


@pytest.mark.parametrize("wanted", ["folds", "auto"])
def test_the_fold_that_held_an_item_out_judges_it(folds: Path, taxonomy: Taxonomy, wanted: str) -> None:
    """Each by its own fold, a new item by that of its group, and one of an unknown group by the first."""
    assert judges(folds, taxonomy, wanted) == ["0", "1", "1", "1", "0"]


def test_without_folds_there_is_no_judge(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """Left to itself the check then goes by the masks alone; `none` says so outright."""
    assert set(judges(tmp_path / "none", taxonomy, "auto")) == {""}


def test_none_takes_no_model_though_there_are_folds(folds: Path, taxonomy: Taxonomy) -> None:
    """What is named counts."""
    assert set(judges(folds, taxonomy, "none")) == {""}


def test_an_export_judges_all(folds: Path, taxonomy: Taxonomy, export: Path) -> None:
    """A folder that is named is taken, whatever folds there are."""
    found = with_judges(INDEX, str(export), folds, taxonomy, "segmenter")
    assert set(found[MODEL]) == {str(export)}


def test_the_index_is_left_as_it_was(folds: Path, taxonomy: Taxonomy) -> None:
    """A column is added to a copy."""
    with_judges(INDEX, "folds", folds, taxonomy, "segmenter")
    assert MODEL not in INDEX


def test_folds_that_are_wanted_must_be_there(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """The command that makes them is named."""
    with pytest.raises(UserError, match="segloop labels folds"):
        judges(tmp_path / "none", taxonomy)


def test_a_folder_without_a_model_is_refused(folds: Path, taxonomy: Taxonomy, tmp_path: Path) -> None:
    """The folder and how to make one are named; MLflow is not asked."""
    with pytest.raises(UserError, match=r"no exported model in .*nowhere"):
        judges(folds, taxonomy, str(tmp_path / "nowhere"))


def test_other_classes_are_refused(folds: Path, taxonomy: Taxonomy) -> None:
    """A model of other classes would dispute everything: both lists are named."""
    green = taxonomy.classes[1].model_copy(update={"name": "grass"})
    other = taxonomy.model_copy(update={"classes": (taxonomy.classes[0], green, taxonomy.classes[2])})
    with pytest.raises(UserError, match=r"'green'.*'grass'"):
        judges(folds, other)


def test_a_class_more_is_refused(folds: Path, taxonomy: Taxonomy) -> None:
    """A taxonomy that grew needs new networks."""
    more = taxonomy.classes[0].model_copy(update={"id": 3, "name": "black"})
    with pytest.raises(UserError, match="Train it anew"):
        judges(folds, taxonomy.model_copy(update={"classes": (*taxonomy.classes, more)}))


def test_a_fold_that_is_missing_is_told(folds: Path, taxonomy: Taxonomy) -> None:
    """One of the networks is gone: no item is judged by another instead."""
    (folds / "1").unlink()
    with pytest.raises(UserError, match="cannot judge"):
        judges(folds, taxonomy)


def test_a_damaged_graph_is_refused(folds: Path, taxonomy: Taxonomy, export: Path) -> None:
    """Its digest is not the one that was exported."""
    (export / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match="has digest"):
        judges(folds, taxonomy)


def test_a_list_of_more_folds_than_there_are_is_told(folds: Path, taxonomy: Taxonomy) -> None:
    """Facts and items that do not belong together are made anew."""
    write_json(folds / "folds.json", {"schema": 1, "key": "k", "folds": 1, "by": "frames"})
    with pytest.raises(UserError, match="is not whole"):
        judges(folds, taxonomy)


@pytest.mark.e2e
@pytest.mark.parametrize("wanted", ["2", "candidate"])
def test_a_registered_version_judges_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    """By its number or an alias it is fetched from MLflow, and is the graph of that version."""
    from registry_case import write_workspace

    root = tmp_path / "workspace"
    root.mkdir()
    monkeypatch.chdir(root)
    write_workspace(root)
    found = with_judges(INDEX, wanted, root / "none", load_taxonomy(Path("data/taxonomy.yaml")), "segmenter")
    (folder,) = set(found[MODEL])
    graph = Path("case/candidate/export/model.onnx").read_bytes()
    assert (Path(folder) / "model.onnx").read_bytes() == graph
