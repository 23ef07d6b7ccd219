"""Stage: judges the catalogue; quarantines bad items, fails a bad dataset, writes down why."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import Formatter
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from pipeline.batch_drift import drift_evidence
from pipeline.catalogue_file import read_catalog, read_former
from pipeline.checks import Check, ValidateParams, class_checks, drift_checks, item_checks, leak_checks, move_checks
from pipeline.command import run
from pipeline.drift_page import write_page
from pipeline.errors import UserError, VerdictError
from pipeline.evidence import class_evidence, item_evidence, leak_evidence, move_evidence, stack
from pipeline.files import atomic_dir
from pipeline.former_images import FORMER, with_split
from pipeline.images import Limits
from pipeline.params import read_section
from pipeline.splits import Ledger, read_ledger
from pipeline.suite import Judged, Table, judge
from pipeline.taxonomy import Taxonomy, load_taxonomy
from pipeline.thumbnails import DatasetReader
from pipeline.validation_verdict import Verdict, show, write_verdict


@dataclass(frozen=True)
class Subject:
    """What is judged, and by what.

    Attributes:
        catalog: The catalogue.
        former: Images that the dataset held once.
        ledger: The split ledger.
        taxonomy: The classes.
        read: Reads thumbnails and pictures of rows of either table.
    """

    catalog: pd.DataFrame
    former: pd.DataFrame
    ledger: Ledger
    taxonomy: Taxonomy
    read: DatasetReader


def main(
    dataset: Annotated[Path, typer.Option(help="The dataset's folder.")],
    catalog: Annotated[Path, typer.Option(help="The catalogue of `catalog`.")],
    splits: Annotated[Path, typer.Option(help="The split ledger.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
    former: Annotated[Path | None, typer.Option(help="Former images; former.parquet beside the catalogue.")] = None,
) -> None:
    """Judge the catalogue: a verdict, a quarantine with reasons, Data Docs.

    Example: segloop validate --dataset data/demo --catalog data/catalog.parquet --splits data/demo/splits.csv
    --out data/validation
    """
    settings = read_section(ValidateParams, "validate", params)
    check_acknowledged(settings)
    classes = load_taxonomy(taxonomy)
    rows = read_catalog(catalog, classes)
    gone = read_former(former or catalog.with_name(FORMER))
    if not splits.is_file():
        raise UserError(f"There is no ledger {splits}: run `segloop ingest`, which writes it, or name another file.")
    if not dataset.is_dir():
        raise UserError(f"There is no dataset at {dataset}. Ingest one with `segloop ingest`, or name another folder.")
    reader = DatasetReader(dataset, read_section(Limits, "limits", params))
    # Copies of the same columns would take several times the memory of the catalogue.
    with pd.option_context("mode.copy_on_write", True):
        verdict = validate(Subject(rows, gone, read_ledger(splits), classes, reader), settings)
    with atomic_dir(out) as folder:
        write_verdict(verdict, folder)
    show(verdict, out)
    if verdict.failures:
        reasons = "; ".join(f"{each.check.name}: {each.details[0]}" for each in verdict.failures)
        raise VerdictError(
            f"The dataset fails: {reasons}. Mend the data, or name a check in "
            f"`validate.acknowledge` if its failure is known and accepted. All of it: {out / 'docs' / 'index.html'}",
        )


def check_acknowledged(params: ValidateParams) -> None:
    """Refuses to acknowledge what is no check, or a check that cannot be acknowledged.

    Raises:
        UserError: Naming the offending names and the possible ones.
    """
    checks = [*item_checks(params), *leak_checks(params), *class_checks(params)]
    possible = [check.name for check in checks if check.may_acknowledge]
    wrong = sorted(set(params.acknowledge) - set(possible))
    if wrong:
        raise UserError(f"`validate.acknowledge` names {wrong}; what can be acknowledged is {', '.join(possible)}.")


def validate(subject: Subject, params: ValidateParams) -> Verdict:
    """Judges a catalogue: first each item, then, of those accepted, leaks between splits and the classes.

    Args:
        subject: What is judged.
        params: Limits and acknowledgements.

    Raises:
        UserError: A check could not run.
    """
    splits, taxonomy = subject.ledger.splits, subject.taxonomy
    evidence = item_evidence(subject.catalog, splits, taxonomy.num_classes)
    [first] = judge([_table("items", evidence, "item_id", item_checks(params))])
    quarantine = _quarantine(first)
    accepted = evidence[~evidence["item_id"].isin(quarantine["item_id"])]
    leaks = leak_evidence(accepted, with_split(subject.former, splits), subject.read, params)
    classes = class_evidence(accepted, taxonomy, params)
    class_px = stack(accepted["class_px"], taxonomy.num_classes)
    drift = drift_evidence(accepted, class_px, taxonomy, params)
    if evidence.empty:  # there is one thing to say then, and the first table has said it
        classes = classes.head(0)
    further = [
        _table("accepted items", leaks, "item_id", leak_checks(params)),
        _table("moves", move_evidence(subject.ledger.moves, accepted), "key", move_checks()),
        _table("batches", drift, "key", drift_checks()),
        _table("classes", classes, "key", class_checks(params)),
    ]
    judged = (first, *judge(further))
    outcomes = tuple(outcome for each in judged for outcome in each.outcomes)
    told = drift[drift["drift"].notna()]
    shares = class_px / np.maximum(class_px.sum(axis=1, keepdims=True), 1)
    pages = {"drift.html": partial(write_page, told, accepted, shares, subject.read.pictures)} if len(told) else {}
    return Verdict(outcomes, params.acknowledge, _items(evidence, quarantine), quarantine, judged, pages)


def _table(name: str, rows: pd.DataFrame, key: str, checks: list[Check]) -> Table:
    """The columns that the checks judge and tell of, and no others: the judge keeps copies."""
    told = {field for check in checks for _, field, _, _ in Formatter().parse(check.detail) if field}
    wanted = {key, *told, *(name for check in checks for name in (check.column, check.other) if name)}
    return Table(name, rows[[column for column in rows.columns if column in wanted]], key, checks)


def _quarantine(judged: Judged) -> pd.DataFrame:
    rows = [
        (item, outcome.check.name, detail)
        for outcome in judged.outcomes
        for item, detail in zip(outcome.failed, outcome.details, strict=False)
    ]
    return pd.DataFrame(sorted(rows), columns=["item_id", "check", "detail"], dtype=object)


def _items(evidence: pd.DataFrame, quarantine: pd.DataFrame) -> pd.DataFrame:
    reasons = _reasons(quarantine)
    items = evidence[["item_id", "revision", "split"]]
    words = items["item_id"].map(reasons).fillna("").astype(object)
    return items.assign(accepted=words == "", reasons=words)


def _reasons(quarantine: pd.DataFrame) -> dict[str, str]:
    reasons: dict[str, list[str]] = {}
    for item, check, detail in quarantine.itertuples(index=False):
        reasons.setdefault(str(item), []).append(f"{check}: {detail}")
    return {item: "; ".join(words) for item, words in reasons.items()}


if __name__ == "__main__":
    run(main)
