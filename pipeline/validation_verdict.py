"""What validation decided, as it is kept and as it is shown."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.files import write_json
from pipeline.splits import straddling
from pipeline.spreadsheets import as_text
from pipeline.suite import Judged, Outcome

SCHEMA = 1
DETAILS_KEPT = 20


@dataclass(frozen=True)
class Verdict:
    """What validation decided.

    Attributes:
        outcomes: Every check's, in order.
        acknowledge: The names that a setting acknowledges.
        items: All items: item_id, revision, split, accepted, reasons.
        quarantine: A row per item and failed check: item_id, check, detail.
        judged: The suites' results, for Data Docs.
        pages: What writes further pages beside Data Docs, by file name.
    """

    outcomes: tuple[Outcome, ...]
    acknowledge: tuple[str, ...]
    items: pd.DataFrame
    quarantine: pd.DataFrame
    judged: tuple[Judged, ...]
    pages: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)

    @property
    def failures(self) -> list[Outcome]:
        """Dataset-level checks that failed and are not acknowledged."""
        return [each for each in self.outcomes if self.word(each) == "fail"]

    @property
    def warnings(self) -> list[Outcome]:
        """Checks that are told and fail nothing."""
        return [each for each in self.outcomes if self.word(each) == "warning"]

    def word(self, outcome: Outcome) -> str:
        """A check's verdict: pass, quarantine, warning, acknowledged or fail."""
        if outcome.passed:
            return "pass"
        if outcome.check.level != "dataset":
            return {"item": "quarantine", "warning": "warning"}[outcome.check.level]
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
            "warnings": [{"check": each.check.name, "failed": len(each.failed)} for each in self.warnings],
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


def write_verdict(verdict: Verdict, out: Path) -> None:
    """Writes verdict.json, items.parquet, quarantine.csv and docs/."""
    from pipeline.data_docs import write_docs

    write_json(out / "verdict.json", verdict.as_json())
    verdict.items.to_parquet(out / "items.parquet", index=False)
    verdict.quarantine.map(as_text).to_csv(out / "quarantine.csv", index=False, lineterminator="\n")
    for name, write in verdict.pages.items():
        write(out / "docs" / name)
    write_docs(verdict.judged, verdict.summary(), out / "docs", sorted(verdict.pages))


def show(verdict: Verdict, out: Path) -> None:
    """Prints the verdict."""
    from rich.console import Console
    from rich.table import Table as Grid

    colours = {"pass": "green", "quarantine": "yellow", "warning": "yellow", "acknowledged": "yellow", "fail": "red"}
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
    for each in verdict.warnings:
        more = f" (and {len(each.failed) - 1} more)" if len(each.failed) > 1 else ""
        console.print(
            f"warning: {each.check.name}: {each.details[0]}{more}", style="yellow", markup=False, soft_wrap=True
        )
    for name in verdict.without_cause:
        console.print(f"'{name}' is acknowledged but passed: remove it from `validate.acknowledge`.", markup=False)
    console.print(f"{out / 'docs' / 'index.html'}", markup=False, soft_wrap=True)
