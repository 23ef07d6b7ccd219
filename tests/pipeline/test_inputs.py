"""Missing and damaged inputs of the stages are the user's mistake, with the remedy."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from pipeline import catalog, prepare, validate
from pipeline.errors import UserError
from pipeline.evaluate import open_holdout
from pipeline.params import parse
from pipeline.prepare import PrepareParams


@dataclass(frozen=True)
class Workspace:
    """A catalogued dataset, whose files a test damages before it validates or prepares."""

    root: Path
    taxonomy: Path
    params: Path

    @property
    def catalog(self) -> Path:
        """The catalogue."""
        return self.root / "catalog.parquet"

    @property
    def ledger(self) -> Path:
        """The split ledger."""
        return self.root / "data" / "dataset" / "splits.csv"

    @property
    def validation(self) -> Path:
        """The folder of validation."""
        return self.root / "validation"

    def validate(self) -> None:
        """Runs the stage."""
        validate.main(
            self.root / "data" / "dataset", self.catalog, self.ledger, self.validation, self.taxonomy, self.params
        )

    def prepare(self, dataset: str = "dataset") -> None:
        """Runs the stage."""
        out, held_out = self.root / "tiles", self.root / "holdout.json"
        prepare.main(
            self.root / "data" / dataset, self.catalog, self.validation, out, held_out, self.taxonomy, self.params
        )


@pytest.fixture
def workspace(
    tmp_path: Path, tiny_dataset: Callable[..., Path], taxonomy_file: Path, params_file: Callable[..., Path]
) -> Workspace:
    """A tiny dataset with its catalogue, in which a single image of each critical class is enough."""
    changes = {"min_images_per_critical_class": 1}
    params = params_file(catalog={"workers": 1}, validate=changes, prepare={"tile_px": 32, "overlap_px": 8})
    catalog.main(tiny_dataset(), tmp_path / "catalog.parquet", taxonomy_file, tmp_path / "store", params)
    return Workspace(tmp_path, taxonomy_file, params)


def no_parquet(workspace: Workspace) -> None:
    """A catalogue that is no Parquet file."""
    workspace.catalog.write_bytes(b"no Parquet")


def another_table(workspace: Workspace) -> None:
    """Another Parquet file in the catalogue's place."""
    pd.DataFrame({"tile": [1]}).to_parquet(workspace.catalog)


def fewer_classes(workspace: Workspace) -> None:
    """A catalogue made with another taxonomy."""
    rows = pd.read_parquet(workspace.catalog)
    rows.assign(class_px=[counts[:4] for counts in rows["class_px"]]).to_parquet(workspace.catalog)


def no_ledger(workspace: Workspace) -> None:
    """A ledger that is not there."""
    workspace.ledger.unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_parquet, r"catalog\.parquet is damaged .* run `dvc repro catalog`"),
        (another_table, "lacks the columns .* run `dvc repro catalog`"),
        (fewer_classes, r"counts \[4\] classes, the taxonomy has 5: run `dvc repro catalog`"),
        (no_ledger, r"There is no ledger .*splits\.csv: run `segloop ingest`"),
    ],
)
def test_validation_refuses_wrong_inputs(damage: Callable[[Workspace], None], words: str, workspace: Workspace) -> None:
    """What is no catalogue of this taxonomy, and a missing ledger, say nothing about the data."""
    damage(workspace)
    with pytest.raises(UserError, match=words):
        workspace.validate()
    assert not workspace.validation.exists()


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [
        ("catalog.parquet", "dvc repro catalog"),
        ("validation/items.parquet", "dvc repro validate"),
        ("validation/verdict.json", "dvc repro validate"),
    ],
)
def test_preparation_names_the_stage_to_run(missing: str, remedy: str, workspace: Workspace) -> None:
    """A file that an earlier stage writes is named with that stage."""
    workspace.validate()
    (workspace.root / missing).unlink()
    with pytest.raises(UserError, match=f"There is no .*{missing}: run `{remedy}`"):
        workspace.prepare()


def test_preparation_without_a_dataset_names_its_folder(workspace: Workspace) -> None:
    """A folder that is not there is no empty dataset."""
    with pytest.raises(UserError, match=r"There is no dataset at .*nowhere"):
        workspace.prepare("nowhere")


def test_an_overlap_as_large_as_a_tile_is_refused() -> None:
    """Tiles that do not advance are a mistake in the parameters, told before anything is read."""
    section = {"tile_px": 32, "overlap_px": 32, "scale": 1.0, "shard_tiles": 4, "workers": 1}
    with pytest.raises(UserError, match="'overlap_px': must be less than tile_px, which is 32, received 32"):
        parse(PrepareParams, section, "params.yaml")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", r"holdout\.json is damaged"),
        ("[]", "holds a list"),
        ('{"digest": "h", "acknowledged": []}', r"no list of a holdout, run `dvc repro prepare`: key 'items'"),
    ],
)
def test_a_malformed_list_is_the_users_mistake(content: str, words: str, tmp_path: Path) -> None:
    """A list that was cut short, or is something else, is named with the stage that writes it."""
    (tmp_path / "holdout.json").write_text(content)
    with pytest.raises(UserError, match=words):
        open_holdout(tmp_path, tmp_path / "holdout.json")
