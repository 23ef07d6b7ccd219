"""Which model judges which item: none that learnt from it where folds were trained, else the one that was named."""

from pathlib import Path

import pandas as pd

from pipeline.errors import UserError
from pipeline.files import read_json, read_table
from pipeline.inference import FACTS, Segmenter
from pipeline.label_qa.looks import MODEL
from pipeline.taxonomy import Taxonomy

FOLDS, NONE, AUTO = "folds", "none", "auto"


def with_judges(index: pd.DataFrame, wanted: str, folds: Path, taxonomy: Taxonomy, model_name: str) -> pd.DataFrame:
    """The index with the column that names each item's model.

    Args:
        index: Rows of `read_index`.
        wanted: `auto` (folds where there are some), `none`, `folds`, the folder of an export, or a version or alias.
        folds: Folder of `segloop labels folds`.
        taxonomy: The classes, which the model must have.
        model_name: The registered model, for a version or alias.

    Raises:
        UserError: There is no such model, or it has other classes.
        OutageError: MLflow is away.
    """
    if wanted == AUTO:
        wanted = FOLDS if (folds / "folds.json").is_file() else NONE
    if wanted == NONE:
        return index.assign(**{MODEL: ""})
    models = _folds(index, folds) if wanted == FOLDS else pd.Series(str(_export(wanted, model_name)), index.index)
    for model in models.unique():
        _check(Path(model), taxonomy)
    return index.assign(**{MODEL: models})


def _folds(index: pd.DataFrame, folds: Path) -> pd.Series:
    """The fold that held an item out, or its group; items that no fold learnt from are judged by the first."""
    facts = read_json(folds / "folds.json", "run `segloop labels folds`")
    taught = read_table(folds / "items.parquet", {"item_id", "group", "fold"}, "run `segloop labels folds`")
    by_item = index["item_id"].map(taught.set_index("item_id")["fold"])
    by_group = index["group"].map(taught.drop_duplicates("group").set_index("group")["fold"])
    number = by_item.fillna(by_group).fillna(0).astype(int)
    if int(number.max()) >= int(facts["folds"]):
        raise UserError(f"{folds} is not whole: run `segloop labels folds` again.")
    return number.map(lambda each: str(folds / str(each)))


def _export(wanted: str, model_name: str) -> Path:
    if (Path(wanted) / FACTS).is_file():
        return Path(wanted)
    if "/" in wanted:
        raise UserError(f"There is no exported model in {wanted}. Name the folder of `dvc repro export`, or a version.")
    from pipeline.model_versions import fetch, find_version

    return fetch(find_version(model_name, wanted)).export


def _check(folder: Path, taxonomy: Taxonomy) -> None:
    try:
        segmenter = Segmenter(folder, threads=1)
    except (ValueError, OSError) as error:
        raise UserError(f"The model in {folder} cannot judge the masks: {error}") from None
    names = [each["name"] for each in segmenter.facts.get("classes", [])]
    if segmenter.num_classes != taxonomy.num_classes or (names and names != taxonomy.names):
        raise UserError(
            f"The model in {folder} has the classes {names or segmenter.num_classes}, the taxonomy {taxonomy.names}. "
            "Train it anew, or name another."
        )
