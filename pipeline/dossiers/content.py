"""Assembles what a dossier says, before it is laid out."""

from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from pipeline.dossiers.charts import Who, reliability_plot
from pipeline.dossiers.costs import Cost, cost
from pipeline.dossiers.decisions import DecisionRow, decision_rows
from pipeline.dossiers.facts import Fact
from pipeline.dossiers.history import Changes, changes, lineage
from pipeline.dossiers.inputs import DossierInputs, LogEntry
from pipeline.dossiers.matrices import Matrix, confusion_table, difference_table, shares, shown_classes
from pipeline.dossiers.score_rows import ScoreRow, class_rows, mean_row, slice_rows
from pipeline.dossiers.sides import Evidence
from pipeline.dossiers.wording import counted, listing, moment, service_level, value
from pipeline.evaluate import Holdout
from pipeline.gating.verdict import Decision, Outcome, Verdict
from pipeline.scores import calibration_error, number, reliability

MOST_NAMED = 4
ALONE = "judged alone, not against the champion: only an override promotes on this"


@dataclass(frozen=True)
class Card:
    """A figure at the top of the page.

    Attributes:
        name: What it is.
        value: Of the candidate.
        beside: The champion's and the change, or the limit.
        trend: `better`, `worse` or empty.
    """

    name: str
    value: str
    beside: str
    trend: str = ""


@dataclass(frozen=True)
class Calibration:
    """The reliability diagram, and the calibration errors in a sentence."""

    plot: Markup
    about: str


@dataclass(frozen=True)
class Dossier:
    """What the page says, without its pictures.

    Attributes:
        title: The version.
        version: Its number.
        against: What it was compared with.
        passed: The gate's verdict.
        sentence: The verdict in a sentence.
        reason: Why it is blocked: the first decision that blocks; empty where it passed.
        alarms: Entries of the log that no reader may overlook.
        log: All entries of the log that concern the version.
        notes: What to bear in mind.
        cards: Figures at the top.
        open_rows: Decisions that did not pass, blocking ones first.
        passed_rows: Decisions that passed.
        mean: Mean IoU.
        classes: IoU of each class.
        slices: The mIoU of each slice.
        slices_left_out: How many slices are not shown.
        matrices: Difference first, then candidate and champion.
        left_out: How many classes the matrices leave out.
        calibration: Of both.
        changes: Since the champion; None at a first promotion.
        lineage: Where both come from.
        cost: What both trainings took.
        compared: Whether there is a champion.
        decided_at: When the gate decided.
    """

    title: str
    version: int
    against: str
    passed: bool
    sentence: str
    reason: str
    alarms: list[LogEntry]
    log: list[LogEntry]
    notes: list[str]
    cards: list[Card]
    open_rows: list[DecisionRow]
    passed_rows: list[DecisionRow]
    mean: ScoreRow
    classes: list[ScoreRow]
    slices: list[ScoreRow]
    slices_left_out: int
    matrices: list[Matrix]
    left_out: int
    calibration: Calibration
    changes: Changes | None
    lineage: list[Fact]
    cost: Cost
    compared: bool
    decided_at: str


def assemble(inputs: DossierInputs, holdout: Holdout, candidate: Evidence, champion: Evidence | None) -> Dossier:
    """Puts together everything but the pictures.

    Args:
        inputs: What the dossier is made from.
        holdout: The verdict's.
        candidate: The version judged.
        champion: The version it was compared with.
    """
    verdict = inputs.verdict
    rows = decision_rows(verdict)
    classes, mean = class_rows(verdict, candidate, champion), mean_row(verdict, candidate, champion)
    tables, left_out = matrices(candidate, champion)
    slices, slices_left_out = slice_rows(verdict, holdout.slices, candidate, champion)
    blocking = _blocking(verdict)
    return Dossier(
        title=candidate.title,
        version=candidate.subject.version,
        against=_against(verdict),
        passed=verdict.passed,
        sentence=_sentence(verdict),
        reason=blocking[0].why if blocking else "",
        alarms=[entry for entry in inputs.log if entry.alarm],
        log=list(inputs.log),
        notes=notes(verdict, holdout, candidate, champion),
        cards=[*(_score_card(row) for row in (mean, *classes) if row is mean or row.critical), *_figure_cards(verdict)],
        open_rows=[row for row in rows if row.state != "passed"],
        passed_rows=[row for row in rows if row.state == "passed"],
        mean=mean,
        classes=classes,
        slices=slices,
        slices_left_out=slices_left_out,
        matrices=tables,
        left_out=left_out,
        calibration=calibration(candidate, champion),
        changes=changes(inputs.repository, candidate, champion) if champion else None,
        lineage=lineage(verdict, candidate, champion),
        cost=cost(candidate, champion),
        compared=champion is not None,
        decided_at=moment(verdict.decided_at),
    )


def matrices(candidate: Evidence, champion: Evidence | None) -> tuple[list[Matrix], int]:
    """The confusion matrices, and how many classes they leave out."""
    names, critical = candidate.taxonomy.names, candidate.taxonomy.critical_ids
    ours = shares(candidate.confusion)
    theirs = shares(champion.confusion) if champion else None
    shown = shown_classes(ours, theirs, critical)
    tables = [confusion_table("Candidate", ours, names, shown)]
    if theirs is not None:
        tables = [
            difference_table(ours, theirs, names, shown), *tables, confusion_table("Champion", theirs, names, shown)
        ]  # fmt: skip
    return tables, len(names) - len(shown)


def calibration(candidate: Evidence, champion: Evidence | None) -> Calibration:
    """The reliability diagram of both."""
    sides: list[tuple[Who, Evidence]] = [("candidate", candidate)]
    if champion is not None:
        sides.append(("champion", champion))
    errors = [f"{who} {value(number(calibration_error(side.rows)))}" for who, side in sides]
    about = "Calibration error (ECE): " + ", ".join(errors)
    tables: list[tuple[Who, pd.DataFrame]] = [(who, reliability(side.rows)) for who, side in sides]
    return Calibration(reliability_plot(tables, f"Reliability diagram. {about}."), about)


def notes(verdict: Verdict, holdout: Holdout, candidate: Evidence, champion: Evidence | None) -> list[str]:
    """What to bear in mind when reading the verdict."""
    found = [verdict.resampled.holds_for]
    if missing := len(holdout.index) - len(candidate.rows):
        found.append(f"{missing:,} of the holdout's {counted(len(holdout.index), 'image')} could not be measured.")
    found += [f"Known and accepted flaw of the holdout: {_flaw(each)}." for each in verdict.acknowledged]
    found += [
        f"{side.title} had not been measured on this holdout and was measured by the gate."
        for side in (candidate, champion)
        if side and side.subject.measured
    ]
    doubts = verdict.label_noise.doubts
    if doubts:
        verb = "is" if len(doubts) == 1 else "are"
        found.append(f"{counted(len(doubts), 'mask')} of the holdout {verb} in doubt{_without(verdict)}.")
    return found


def _without(verdict: Verdict) -> str:
    noise = verdict.label_noise
    if noise.passed_without is None:
        return ""
    outcome = "pass" if noise.passed_without else "be blocked"
    changed = listing([service_level(each) for each in noise.changed_without], MOST_NAMED)
    beside = f"; it would change: {changed}" if changed else "; no service level would come out otherwise"
    still = "still " if noise.passed_without == verdict.passed else ""
    return f"; judged without, the version would {still}{outcome}{beside}"


def _flaw(each: object) -> str:
    if isinstance(each, dict):
        return ", ".join(f"{key} {content}" for key, content in each.items())
    return str(each)


def _sentence(verdict: Verdict) -> str:
    unsure = sum(each.outcome is Outcome.INSUFFICIENT and not each.blocks for each in verdict.decisions)
    count = len(verdict.decisions)
    also = f" Evidence is insufficient for {counted(unsure, 'other')}, which does not block." if unsure else ""
    if verdict.passed:
        return f"Passes every required one of {count} service levels.{also}"
    blocking = [service_level(each.slo) for each in _blocking(verdict)]
    return f"Blocked by {len(blocking)} of {count} service levels: {listing(blocking, MOST_NAMED)}.{also}"


def _against(verdict: Verdict) -> str:
    if verdict.champion:
        return f"compared with champion version {verdict.champion.version}"
    return ALONE if verdict.alone else "a first promotion: there is no champion"


def _blocking(verdict: Verdict) -> list[Decision]:
    """What blocks, critical classes first."""
    return sorted((each for each in verdict.decisions if each.blocks), key=lambda each: not each.critical)


def _score_card(row: ScoreRow) -> Card:
    name = row.name + (" (critical)" if row.critical else "")
    beside = f"champion {row.champion} ({row.change})" if row.champion and row.change else ""
    return Card(name, row.candidate, beside, row.trend)


def _figure_cards(verdict: Verdict) -> list[Card]:
    return [
        Card(service_level(each.slo), value(each.value, each.slo), f"limit {value(each.threshold, each.slo)}")
        for each in verdict.decisions
        if each.slo in {"ece", "latency_p95_ms", "size_mib"}
    ]
