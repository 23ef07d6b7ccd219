"""Stage: judges the catalogue; quarantines bad items, fails a bad dataset, writes down why."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from pipeline.checks import ValidateParams, class_checks, item_checks, leak_checks
from pipeline.command import run
from pipeline.errors import UserError, VerdictError
from pipeline.evidence import class_evidence, item_evidence, leak_evidence
from pipeline.files import atomic_dir, read_table, write_json
from pipeline.params import read_section
from pipeline.splits import read_ledger, straddling
from pipeline.suite import Judged, Outcome, Table, judge
from pipeline.taxonomy import Taxonomy, load_taxonomy

SCHEMA = 1
DETAILS_KEPT = 20
CATALOG_COLUMNS = {
    *("item_id", "revision", "batch", "group", "source_split", "sampling", "sha256", "mask_sha256", "error", "phash"),
    *("width", "height", "mask_width", "mask_height", "class_px", "void_px", "unknown_values", "islands"),
}


@dataclass(frozen=True)
class Verdict:
    """What validation decided.

    Attributes:
        outcomes: Every check's, in order.
        acknowledge: The names that a setting acknowledges.
        items: All items: item_id, revision, split, accepted, reasons.
        quarantine: A row per item and failed check: item_id, check, detail.
        judged: The suites' results, for Data Docs.
    """

    outcomes: tuple[Outcome, ...]
    acknowledge: tuple[str, ...]
    items: pd.DataFrame
    quarantine: pd.DataFrame
    judged: tuple[Judged, ...]

    @property
    def failures(self) -> list[Outcome]:
        """Dataset-level checks that failed and are not acknowledged."""
        return [each for each in self.outcomes if self.word(each) == "fail"]

    def word(self, outcome: Outcome) -> str:
        """A check's verdict: pass, quarantine, acknowledged or fail."""
        if outcome.passed:
            return "pass"
        if outcome.check.level == "item":
            return "quarantine"
        return "acknowledged" if outcome.check.name in self.acknowledge else "fail"

    def as_json(self) -> dict[str, Any]:
        """The verdict as kept in `verdict.json`."""
        accepted = self.items[self.items["accepted"]]
        acknowledged = [each for each in self.outcomes if self.word(each) == "acknowledged"]
        return {
            "schema": SCHEMA,
            "passed": not self.failures,
            "items": len(self.items),
            "accepted": len(accepted),
            "quarantined": len(self.items) - len(accepted),
            "splits": {str(name): int(count) for name, count in accepted["split"].value_counts().sort_index().items()},
            "checks": [
                row | {"details": details} for row, details in zip(self.summary(), self._details(), strict=True)
            ],
            "acknowledged": [{"check": each.check.name, "failed": len(each.failed)} for each in acknowledged],
            "acknowledged_without_cause": self.without_cause,
        }

    @property
    def without_cause(self) -> list[str]:
        """Acknowledged checks that passed."""
        return sorted(each.check.name for each in self.outcomes if each.passed and each.check.name in self.acknowledge)

    @property
    def straddling(self) -> dict[str, list[str]]:
        """The splits of each group that lies in several, over the accepted items."""
        for each in self.judged:
            rows = each.table.rows
            if "other_splits" in rows:
                return {
                    str(group): sorted(set(splits))
                    for group, splits in rows[rows["other_splits"].notna()].groupby("group")["split"]
                }
        return {}

    def summary(self) -> list[dict[str, Any]]:
        """A row per check: check, level, failed, total, limit, verdict."""
        return [
            {
                "check": each.check.name,
                "level": each.check.level,
                "failed": len(each.failed) or int(not each.passed),
                "total": each.total,
                "limit": each.check.limit_words(),
                "verdict": self.word(each),
            }
            for each in self.outcomes
        ]

    def _details(self) -> list[list[str]]:
        return [list(each.details[:DETAILS_KEPT]) for each in self.outcomes]


def main(
    catalog: Annotated[Path, typer.Option(help="The catalogue of `catalog`.")],
    splits: Annotated[Path, typer.Option(help="The split ledger.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    taxonomy: Annotated[Path, typer.Option(help="The taxonomy.")] = Path("data/taxonomy.yaml"),
    params: Annotated[Path, typer.Option(help="The parameters.")] = Path("params.yaml"),
) -> None:
    """Judge the catalogue: a verdict, a quarantine with reasons, Data Docs.

    Example: segloop validate --catalog data/catalog.parquet --splits data/demo/splits.csv --out data/validation
    """
    settings = read_section(ValidateParams, "validate", params)
    check_acknowledged(settings)
    classes = load_taxonomy(taxonomy)
    rows = read_catalog(catalog, classes)
    if not splits.is_file():
        raise UserError(f"There is no ledger {splits}: run `segloop ingest`, which writes it, or name another file.")
    verdict = validate(rows, read_ledger(splits).splits, classes, settings)
    with atomic_dir(out) as folder:
        write_verdict(verdict, folder)
    show(verdict, out)
    if verdict.failures:
        reasons = "; ".join(f"{each.check.name}: {each.details[0]}" for each in verdict.failures)
        raise VerdictError(
            f"The dataset fails: {reasons}. Mend the data, or name a check in "
            f"`validate.acknowledge` if its failure is known and accepted. All of it: {out / 'docs' / 'index.html'}",
        )


def read_catalog(file: Path, taxonomy: Taxonomy) -> pd.DataFrame:
    """Reads the catalogue.

    Raises:
        UserError: It is missing, damaged, something else, or counts the classes of another taxonomy.
    """
    rows = read_table(file, CATALOG_COLUMNS, "run `dvc repro catalog`")
    classes = taxonomy.num_classes
    others = sorted(set(rows["class_px"].dropna().map(len)) - {classes})
    if others:
        raise UserError(f"{file} counts {others} classes, the taxonomy has {classes}: run `dvc repro catalog`.")
    return rows


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


def validate(
    catalog: pd.DataFrame,
    splits: dict[str, set[str]],
    taxonomy: Taxonomy,
    params: ValidateParams,
) -> Verdict:
    """Judges a catalogue: first each item, then, of those accepted, leaks between splits and the classes.

    Args:
        catalog: The catalogue.
        splits: The ledger: splits by group.
        taxonomy: The classes.
        params: Limits and acknowledgements.

    Raises:
        UserError: A check could not run.
    """
    evidence = item_evidence(catalog, splits, taxonomy.num_classes)
    [first] = judge([Table("items", evidence, "item_id", item_checks(params))])
    quarantine = _quarantine(first)
    accepted = evidence[~evidence["item_id"].isin(quarantine["item_id"])]
    leaks = leak_evidence(accepted)
    classes = class_evidence(accepted, taxonomy, params)
    if evidence.empty:  # there is one thing to say then, and the first table has said it
        classes = classes.head(0)
    further = [
        Table("accepted items", leaks, "item_id", leak_checks(params)),
        Table("classes", classes, "key", class_checks(params)),
    ]
    judged = (first, *judge(further))
    outcomes = tuple(outcome for each in judged for outcome in each.outcomes)
    return Verdict(outcomes, params.acknowledge, _items(evidence, quarantine), quarantine, judged)


def write_verdict(verdict: Verdict, out: Path) -> None:
    """Writes verdict.json, items.parquet, quarantine.csv and docs/."""
    from pipeline.data_docs import write_docs

    write_json(out / "verdict.json", verdict.as_json())
    verdict.items.to_parquet(out / "items.parquet", index=False)
    verdict.quarantine.to_csv(out / "quarantine.csv", index=False, lineterminator="\n")
    write_docs(verdict.judged, verdict.summary(), out / "docs")


def show(verdict: Verdict, out: Path) -> None:
    """Prints the verdict."""
    from rich.console import Console
    from rich.table import Table as Grid

    colours = {"pass": "green", "quarantine": "yellow", "acknowledged": "yellow", "fail": "red"}
    grid = Grid("check", "level", "failed", "of", "limit", "verdict", box=None, pad_edge=False)
    for row in verdict.summary():
        colour = colours[row["verdict"]]
        cells = [str(row[name]) for name in ("check", "level", "failed", "total", "limit")]
        grid.add_row(*cells, f"[{colour}]{row['verdict']}[/{colour}]")
    console = Console()
    console.print(grid)
    facts = verdict.as_json()
    console.print(
        f"{facts['accepted']} of {facts['items']} items accepted: {json.dumps(facts['splits'])}", markup=False
    )
    for line in straddling(verdict.straddling):
        console.print(f"groups_across_splits: a group {line}", style="yellow", markup=False, soft_wrap=True)
    for name in verdict.without_cause:
        console.print(f"'{name}' is acknowledged but passed: remove it from `validate.acknowledge`.", markup=False)
    console.print(f"{out / 'docs' / 'index.html'}", markup=False, soft_wrap=True)


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
