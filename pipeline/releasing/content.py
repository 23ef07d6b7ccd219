"""What a release consists of: the digest that tells whether anything is new, and the facts that its card states."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.catalog import CatalogParams, fact_settings
from pipeline.errors import UserError
from pipeline.files import digest_json, read_json, read_table
from pipeline.images import Limits
from pipeline.params import read_section
from pipeline.parts import parts
from pipeline.prepare import accepted_items, dataset_digest
from pipeline.read_facts import FactStore, read_facts
from pipeline.releasing.accepted import accepted_digests
from pipeline.scores import stacked

if TYPE_CHECKING:
    from pipeline.releasing.reader import Release
    from pipeline.taxonomy import Taxonomy

CATALOG = Path("data/catalog.parquet")
VALIDATION = Path("data/validation")
STORE = Path(".segloop/catalog")
REMEDY = "run `dvc repro validate`"
CATALOG_COLUMNS = {"item_id", "revision", "class_px", "void_px"}
UNSTATED = "(not stated)"


@dataclass(frozen=True)
class Content:
    """What is released.

    Attributes:
        digest: Over every row, the taxonomy and the acknowledged flaws: equal content, equal digest.
        facts: What the card says of it, by the card's own names.
        accepted: Digests of the accepted items, for the file beside the card.
    """

    digest: str
    facts: dict[str, Any]
    accepted: dict[str, str]


def read_content(root: Path, dataset: "Release", taxonomy: "Taxonomy", params: Path) -> Content:
    """Reads what is about to be released.

    Args:
        root: The workspace.
        dataset: The dataset in the workspace.
        taxonomy: Its classes.
        params: The parameters.

    Raises:
        UserError: The dataset has no items, or is not the one that was validated.
    """
    verdict = read_json(root / VALIDATION / "verdict.json", REMEDY)
    judged = read_table(root / VALIDATION / "items.parquet", {"item_id", "revision", "split", "accepted"}, REMEDY)
    catalog = read_table(root / CATALOG, CATALOG_COLUMNS, REMEDY)
    if dataset.index.empty:
        raise UserError(f"The dataset {dataset.dataset} holds no items. Add some with `segloop ingest`.")
    key = ["item_id", "revision"]
    for other in (judged, catalog):
        if not np.array_equal(dataset.index[key].astype(str).to_numpy(), _sorted(other)[key].astype(str).to_numpy()):
            raise UserError(f"{dataset.dataset} is not what was validated: something is writing to it. Try again.")
    rows = _with_digests(root, dataset, taxonomy, params)
    acknowledged = sorted(str(each["check"]) for each in verdict["acknowledged"])
    columns = ["item_id", "revision", "deleted", "image_sha256", "mask_sha256", "split"]
    listed = rows.sort_values(columns[:3], kind="stable")[columns].astype(str).to_numpy().tolist()
    accepted = accepted_items(root / CATALOG, root / VALIDATION).rename(columns={"sha256": "image_sha256"})
    accepted_digest = dataset_digest(taxonomy.version, accepted)
    digest = digest_json([taxonomy.model_dump(mode="json"), acknowledged, listed, accepted_digest])
    facts = _counts(dataset) | _shares(catalog, taxonomy) | _validation(root, verdict)
    facts |= {"dataset_digest": accepted_digest}
    facts |= {"splits": _splits(dataset.index, judged), "taxonomy_version": taxonomy.version}
    return Content(digest, facts, accepted_digests(accepted))


def _with_digests(root: Path, dataset: "Release", taxonomy: "Taxonomy", params: Path) -> pd.DataFrame:
    """Puts the digests of the stored image and mask beside every row, superseded ones too.

    The catalogue has just measured them; what its store lacks is measured now.
    """
    folder = root / dataset.dataset
    catalog = read_section(CatalogParams, "catalog", params)
    settings = fact_settings(taxonomy, catalog, read_section(Limits, "limits", params))
    facts = read_facts(parts(folder), settings, FactStore(root / STORE, settings), catalog.workers)
    names = ["row_group", "row", "image_sha256", "mask_sha256"]
    tables = [
        table.select(names).to_pandas().assign(part=part.relative_to(folder).as_posix())
        for part, table in facts.items()
    ]
    return dataset.rows.merge(pd.concat(tables), on=["part", "row_group", "row"], validate="one_to_one")


def _counts(dataset: "Release") -> dict[str, Any]:
    index, rows = dataset.index, dataset.rows
    by = {
        name: index[column].fillna(UNSTATED).astype(str).value_counts().sort_index()
        for name, column in (("annotators", "annotator"), ("sources", "source"), ("sampling", "sampling"))
    }
    return {
        "items": len(index),
        "groups": int(index["group"].nunique()),
        "rows": len(rows),
        "superseded": len(rows) - int(rows["item_id"].nunique()),
        "removed": int(rows["item_id"].nunique()) - len(index),
        **{name: {str(key): int(count) for key, count in counts.items()} for name, counts in by.items()},
    }


def _shares(catalog: pd.DataFrame, taxonomy: "Taxonomy") -> dict[str, Any]:
    readable = catalog[catalog["class_px"].notna()]
    pixels: npt.NDArray[np.int64] = np.zeros(taxonomy.num_classes, dtype=np.int64)
    if len(readable):
        pixels = stacked(readable, "class_px").sum(axis=0)
    labelled = int(pixels.sum())
    void = int(readable["void_px"].sum())
    classes = [
        {"name": name, "px": int(count), "share": int(count) / max(labelled, 1)}
        for name, count in zip(taxonomy.names, pixels, strict=True)
    ]
    return {"classes": classes, "void_px": void, "void_share": void / max(labelled + void, 1)}


def _validation(root: Path, verdict: dict[str, Any]) -> dict[str, Any]:
    quarantine = pd.read_csv(root / VALIDATION / "quarantine.csv")
    reasons = quarantine["check"].value_counts().sort_index()
    return {
        "validation": {
            "passed": bool(verdict["passed"]),
            "accepted": int(verdict["accepted"]),
            "quarantined": int(verdict["quarantined"]),
            "acknowledged": verdict["acknowledged"],
        },
        "quarantine": {str(check): int(count) for check, count in reasons.items()},
    }


def _splits(index: pd.DataFrame, judged: pd.DataFrame) -> dict[str, dict[str, int]]:
    joined = index[["item_id", "group"]].merge(judged, on="item_id")
    return {
        str(split): {
            "items": len(rows),
            "groups": int(rows["group"].nunique()),
            "accepted": int(rows["accepted"].sum()),
        }
        for split, rows in joined.groupby(joined["split"].fillna("(none)"), sort=True)
    }


def _sorted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values("item_id")
